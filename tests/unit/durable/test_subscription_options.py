"""What the decorators of durable subscriptions accept."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import orthanc
import orthanc_async as oa
import pytest
from orthanc_async import _registry

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGE = orthanc.ChangeType


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(orthanc, "RegisterOnChangeCallback", lambda _: None)
    _registry.clear()
    yield
    _registry.clear()


def test_unlogged() -> None:
    """durable= for what Orthanc does not log is refused, saying what it does log."""
    for decorate in (
        lambda: oa.on_deleted_study(durable="a"),
        lambda: oa.on_deleted(durable="a"),
        lambda: oa.on_change(CHANGE.JOB_SUCCESS, durable="a"),
        lambda: oa.on_change(CHANGE.NEW_STUDY, CHANGE.ORTHANC_STARTED, durable="a"),
        lambda: oa.on_change(durable="a"),
    ):
        with pytest.raises(ValueError, match="STABLE_STUDY, STABLE_SERIES, COMPLETED_SERIES"):
            decorate()(lambda _: None)


def test_options() -> None:
    """Options are looked at when they are given, and none is taken without a name."""
    for options, error in (
        ({"since": "all"}, TypeError),
        ({"retry": 3, "durable": "a"}, TypeError),
        ({"timeout": 0, "durable": "a"}, ValueError),
        ({"concurrency": 0, "durable": "a"}, ValueError),
        ({"since": "yesterday", "durable": "a"}, ValueError),
        ({"since": 1, "durable": "a"}, TypeError),
        ({"durable": "a b"}, ValueError),
        ({"durable": 1}, TypeError),
        ({"durabel": "a"}, TypeError),
    ):
        with pytest.raises(error):
            oa.on_stable_study(lambda _: None, **options)
    oa.on_stable_study(lambda _: None, durable="a")
    oa.on_stable_series(lambda _: None, durable="b", since=dt.date(2026, 1, 1))
