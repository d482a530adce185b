"""Decorators of filters: what they refuse at decoration, and what answers they accept."""

from __future__ import annotations

from typing import Any

import orthanc
import pytest
from orthanc_async import (
    Discard,
    ReceivedInstance,
    _waited,
    c_store_filter,
    http_filter,
    incoming,
    instance_filter,
    on_received_instance,
)

DECORATORS = [c_store_filter, http_filter, instance_filter, on_received_instance]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Catch what is registered."""
    found: list[Any] = []
    for name in (
        "RegisterIncomingCStoreInstanceFilter",
        "RegisterIncomingDicomInstanceFilter",
        "RegisterIncomingHttpRequestFilter",
        "RegisterReceivedInstanceCallback",
    ):
        monkeypatch.setattr(orthanc, name, found.append)
    return found


@pytest.mark.parametrize("decorator", DECORATORS)
def test_forms(decorator: Any, registered: list[Any]) -> None:
    """A decorator works with and without parentheses, and returns the handler unchanged."""

    async def handler(subject: object) -> None: ...

    assert decorator(handler) is handler
    assert decorator()(handler) is handler
    assert decorator(timeout=2)(handler) is handler
    assert [getattr(call, "__orthanc_timeout__", None) for call in registered] == [None, None, 2.0]
    assert all(call.__wrapped__ is handler for call in registered)


@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_timeout_value(decorator: Any, timeout: float) -> None:
    """A timeout with which Orthanc might wait for ever is an error."""
    with pytest.raises(ValueError, match="timeout must be above 0 and finite"):
        decorator(timeout=timeout)(str)


@pytest.mark.parametrize("timeout", [True, "1"])
def test_timeout_type(timeout: Any) -> None:
    """A timeout is a number."""
    with pytest.raises(TypeError, match="timeout must be a number of seconds"):
        http_filter(timeout=timeout)(str)


@pytest.mark.parametrize("decorator", DECORATORS)
def test_arguments(decorator: Any) -> None:
    """A handler that does not take its one argument is refused at decoration."""
    with pytest.raises(TypeError, match="is called with"):
        decorator(lambda: None)


def test_answer_of_a_received_instance() -> None:
    """None keeps, bytes change, Discard drops, and everything else is an error."""
    action = orthanc.ReceivedInstanceAction

    def answer(result: Any) -> Any:
        call = _waited.wrap(
            lambda _: result, "x", None, ReceivedInstance, incoming._received_answer
        )
        return call(b"data", orthanc.InstanceOrigin.REST_API)

    assert answer(None) == (action.KEEP_AS_IS, None)
    assert answer(b"new") == (action.MODIFY, b"new")
    assert answer(Discard()) == (action.DISCARD, None)
    assert answer(Discard) == (action.DISCARD, None)
    for nonsense in (True, 0, "text", (action.KEEP_AS_IS, None)):
        with pytest.raises(TypeError, match="or Discard"):
            answer(nonsense)


@pytest.mark.parametrize("status", [0, 0x0105, 0x0110, 0x0124, 0x0213, 0xA700, 0xA9FF, 0xCFFF])
def test_c_store_status(status: int) -> None:
    """0 and the statuses of a failure may be returned."""
    assert incoming._status(status) == status
    assert incoming._status(None) == 0


@pytest.mark.parametrize("status", [1, 0x0107, 0x0116, 0xB000, 0xFE00, 0xFF00, -1, 0x10000])
def test_c_store_status_that_loses(status: int) -> None:
    """A status that no sender takes for a failure is refused."""
    with pytest.raises(ValueError, match="is no failure"):
        incoming._status(status)
