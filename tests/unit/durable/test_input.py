"""What scripts give and raise, however wrong: named at once, or the attempt's own failure."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from orthanc_async import forward, tasks
from orthanc_async._durable import attempt, options, subscriptions
from orthanc_async._durable.store import State
from unit.durable.engines import SOON, add, add_queue, running_engine, state, until
from unit.durable.memory_store import MemoryStore

pytestmark = pytest.mark.usefixtures("fresh_registry")


class Unusual(BaseException):
    """No Exception."""


class UnspeakableError(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def _deep() -> list[Any]:
    inner: list[Any] = []
    for _ in range(100_000):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unusual("odd"), "Unusual: odd"),
        (GeneratorExit(), "GeneratorExit"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "cancelled"),
        (UnspeakableError(), "Unspeakable"),
    ],
)
async def test_whatever_is_raised(error: BaseException, text: str) -> None:
    """Each kind of error is a failed attempt, and the last one makes a dead letter."""

    async def handler(_: int) -> None:
        raise error

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DEAD)
    assert store.rows[1].reason == "exhausted"
    assert text in (store.rows[1].error or "")


@pytest.mark.parametrize(
    "do",
    [
        lambda _: tasks.RetryLater("x", after=float("inf")),
        lambda _: tasks.RetryLater("x", after="5"),  # type: ignore[arg-type]
        lambda _: tasks.GiveUp("x", reason=5),  # type: ignore[arg-type]
        lambda now: now.advance(done=1.5),
        lambda now: now.advance(done=1, bytes=2**63),
    ],
)
async def test_wrong_in_a_handler(do: Any) -> None:
    """A wrong argument is the handler's failure; it never becomes one of the store."""

    async def handler(_: int) -> None:
        raised = do(attempt.current())
        if raised is not None:
            raise raised

    add_queue(handler, retry=tasks.Retry(1, SOON))
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DEAD)
    assert (store.rows[1].error or "").startswith(("TypeError", "ValueError"))


async def test_what_is_kept_is_too_deep() -> None:
    """What is kept but cannot be written does not keep the attempt from ending."""

    async def handler(_: int) -> None:
        attempt.current().keep(_deep())
        await asyncio.sleep(0)
        raise ValueError("ends")

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DEAD)
    assert store.rows[1].error == "ValueError: ends"


async def test_an_end_that_cannot_be_told() -> None:
    """An attempt always has an outcome, also when what it is cannot be found out."""

    async def handler(_: int) -> None:
        later = tasks.RetryLater("x")
        later.after = "soon"  # type: ignore[assignment]
        raise later

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DEAD)
    assert store.rows[1].error == "x"


@pytest.mark.parametrize(
    "given",
    [float("nan"), b"x", object(), {1}, {1: 2}, 10**5000, _deep(), [[{"a": [float("inf")]}]]],
    ids=["nan", "bytes", "object", "set", "number as key", "huge", "deep", "inf"],
)
async def test_arguments_that_are_no_json(given: Any) -> None:
    """They are a TypeError that names the task, and nothing is written."""
    task = tasks.task(queue="plain")(lambda _: None)
    store = MemoryStore()
    async with running_engine(store):
        with pytest.raises(TypeError, match="plain"):
            await task.enqueue(given)
    assert not store.rows


@pytest.mark.parametrize(
    "delay", [-1, float("nan"), float("inf"), 1e300, 10**400, "5", None, True]
)
async def test_delays(delay: Any) -> None:
    """A delay is a finite number of seconds that every database can add to a time."""
    task = tasks.task(queue="plain")(lambda: None)
    async with running_engine(MemoryStore()):
        with pytest.raises((TypeError, ValueError), match=r"plain.*delay"):
            await task.enqueue(delay=delay)
        assert (await task.enqueue(delay=366 * 86400)).new


@pytest.mark.parametrize("key", ["", 5, b"x", True, "\ud800", "a\0b", "x" * 501])
async def test_keys(key: Any) -> None:
    """A key is a text that every database can hold and find again."""
    task = tasks.task(queue="plain")(lambda: None)
    async with running_engine(MemoryStore()):
        with pytest.raises((TypeError, ValueError), match=r"plain.*key"):
            await task.enqueue(key=key)
        assert (await task.enqueue(key="ä" * 500)).new


async def test_large_arguments() -> None:
    """More than a megabyte of arguments is refused, and the text says what to do instead."""
    task = tasks.task(queue="plain")(lambda _: None)
    async with running_engine(MemoryStore()):
        with pytest.raises(ValueError, match=r"plain.*file"):
            await task.enqueue("x" * 2**20)
        assert (await task.enqueue("x" * 1_000_000)).new


@pytest.mark.parametrize("number", ["1", None, 1.5, True])
async def test_what_is_no_entry(number: Any) -> None:
    """Entries are known by their numbers."""
    tasks.task(queue="plain")(lambda: None)
    async with running_engine(MemoryStore()):
        for ask in (tasks.get, tasks.cancel, tasks.retry):
            with pytest.raises(TypeError, match="number"):
                await ask(number)


async def test_another_loop() -> None:
    """`asyncio.run` in a thread is told what to call: it would wait for ever."""
    task = tasks.task(queue="plain")(lambda: None)
    async with running_engine(MemoryStore()):
        for make in (task.enqueue(), tasks.get(1)):
            with pytest.raises(RuntimeError, match="enqueue_blocking"):
                await asyncio.to_thread(asyncio.run, make)


@pytest.mark.parametrize("since", ["today", "", 5, True, dt.time(), dt.timedelta(1), b"all"])
def test_what_is_no_since(since: Any) -> None:
    """It is "all", a date or a datetime."""
    with pytest.raises((TypeError, ValueError), match="@on_x: since"):
        options.since("@on_x", since)


def test_since_at_the_ends_of_time() -> None:
    """The first of all dates means all; times compare as texts, whatever the zone."""
    zone = dt.timezone(dt.timedelta(hours=5))
    for early in (dt.date(1, 1, 2), dt.datetime(900, 1, 1, tzinfo=zone)):
        assert options.since("@on_x", early) == ""
    with pytest.raises(ValueError, match="too far"):
        options.since("@on_x", dt.datetime(1, 1, 1, tzinfo=zone))
    assert options.since("@on_x", dt.datetime(2026, 1, 1, tzinfo=zone)) == "20251231T190000"


def test_the_place_of_a_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two subscriptions of one name are named by the lines of the script that made them."""
    monkeypatch.setattr(subscriptions, "_listen", lambda: None)
    from orthanc_async import on_stable_study

    archive = forward.to_http("http://x")
    on_stable_study(archive, durable="archive")
    with pytest.raises(ValueError, match=rf"at {__file__}:\d+ and .* at {__file__}:\d+"):
        on_stable_study(archive, durable="archive")
