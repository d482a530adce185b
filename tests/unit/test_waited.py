"""Decorators whose handlers an Orthanc thread waits for: what is registered in Orthanc."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import _registry, metrics, storage, webdav

if TYPE_CHECKING:
    from collections.abc import Callable

Registered = list[tuple[Any, ...]]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Registered:
    """What has been registered: the arguments of each call."""
    calls: Registered = []
    for name in (
        "RegisterStorageArea2",
        "RegisterStorageArea3",
        "RegisterRefreshMetricsCallback",
        "RegisterWebDavCollection",
    ):
        monkeypatch.setattr(orthanc, name, lambda *values: calls.append(values), raising=False)
    return calls


class Area:
    """A storage area that returns its arguments."""

    result: Any = None

    async def create(self, *arguments: Any) -> Any:
        """Return what the test wants."""
        self.seen = arguments
        return self.result

    def read(self, *arguments: Any) -> Any:
        """Return the arguments."""
        return arguments

    def read_range(self, *arguments: Any) -> Any:
        """Return the arguments."""
        return arguments

    def remove(self, *arguments: Any) -> None:
        """Note the arguments."""
        self.seen = arguments


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a `def` or an `async def`."""
    result = function(*arguments)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def test_storage_area(registered: Registered) -> None:
    """The methods are registered as they are: `async def` stays so, with timeout, name, place."""
    area = Area()
    assert storage.area(timeout=7)(area) is area
    ((create, read, read_range, remove),) = registered
    assert [_registry.is_async(item) for item in registered[0]] == [True, False, False, False]
    assert {item.__orthanc_timeout__ for item in registered[0]} == {7.0}
    assert create.__orthanc_handler__.endswith("Area.create (@storage.area)")
    assert "test_waited.py" in _registry.place(create)
    assert call(create, "u", 1, b"x") is None
    assert area.seen == ("u", 1, b"x")
    assert call(read, "u", 1) == ("u", 1)
    assert call(read_range, "u", 1, 2, 3) == ("u", 1, 2, 3)
    assert call(remove, "u", 1) is None
    area.result = False
    with pytest.raises(TypeError, match="returned False, where nothing is expected"):
        call(create, "u", 1, b"x")


def test_storage_area_with_custom_data(registered: Registered) -> None:
    """Results get the error code that Orthanc wants, and arguments come in the usual order."""
    area = Area()
    storage.area(custom_data=True)(area)
    ((create, read_range, remove),) = registered
    area.result = b"key"
    assert call(create, "u", 1, 4, b"x", "dicom") == (0, b"key")
    assert area.seen == ("u", 1, b"x", 4, "dicom")
    assert call(read_range, "u", 1, 2, 3, b"key") == (0, ("u", 1, 2, 3, b"key"))
    assert call(remove, "u", 1, b"key") == 0


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_wrong_timeouts(registered: Registered, timeout: float) -> None:
    """A timeout that would have Orthanc wait for ever, or not at all, is refused."""
    with pytest.raises(ValueError, match="above 0 and finite"):
        storage.area(timeout=timeout)
    with pytest.raises(ValueError, match="above 0 and finite"):
        metrics.refresh(timeout=timeout)
    with pytest.raises(ValueError, match="above 0 and finite"):
        webdav.collection("/a", timeout=timeout)
    with pytest.raises(TypeError, match="a number of seconds"):
        storage.area(timeout=True)
    assert registered == []


def test_a_class_is_made_and_returned(registered: Registered) -> None:
    """A decorated class stays a class, and one without a method names it."""
    assert storage.area(Area) is Area
    assert len(registered) == 1
    with pytest.raises(TypeError, match=r"Empty needs a method create\(self, uuid"):

        @storage.area
        class Empty:
            pass


def test_webdav_values(registered: Registered) -> None:
    """Times are told in UTC, whatever their zone; entries and contents become tuples."""
    west = datetime(2024, 1, 31, 23, 59, 58, tzinfo=timezone(timedelta(hours=-2)))

    class Folder:
        def list(self, path: tuple[str, ...]) -> Any:
            return None if path else [webdav.Folder("f", west), webdav.File("a", 3, "x/y", west)]

        async def read(self, path: tuple[str, ...]) -> Any:
            return b"abc" if path == ("a",) else None

        def delete(self, path: tuple[str, ...]) -> None:
            assert isinstance(path, tuple)

    webdav.collection("/d")(Folder)
    ((uri, is_folder, listed, read, write, create, delete),) = registered
    assert (uri, write, create) == ("/d", None, None)
    assert (call(is_folder, []), call(is_folder, ["a"])) == (True, False)
    assert call(listed, []) == [("f", "20240201T015958"), ("a", 3, "x/y", "20240201T015958")]
    assert call(listed, ["a"]) is None
    data, media_type, time = call(read, ["a"])
    assert (data, media_type) == (b"abc", "")
    assert abs(datetime.strptime(time + "Z", "%Y%m%dT%H%M%S%z") - datetime.now(UTC)) < (
        timedelta(minutes=5)
    )
    assert call(read, ["b"]) is None
    assert call(delete, ["a"]) is True


def test_metrics_values(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dict is set as metrics, None sets nothing, and anything else is an error."""
    known: dict[str, float] = {}
    monkeypatch.setattr(
        orthanc, "SetMetricsValue", lambda name, value, _type: known.update({name: value})
    )
    answers: list[Any] = [{"a": 1, "b": 2.5}, None, 3, {"a": "many"}, {1: 2}]
    metrics.refresh(lambda: answers.pop(0))
    ((refresh,),) = registered
    for _ in range(2):
        call(refresh)
    assert known == {"a": 1.0, "b": 2.5}
    for _ in range(3):
        with pytest.raises(TypeError, match="a dict of names and numbers"):
            call(refresh)
