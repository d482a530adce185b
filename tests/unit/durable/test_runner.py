"""One attempt: the ways in which a handler may end, and what the next attempt gets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import _registry
from orthanc_async._durable import attempt, runner, worker
from orthanc_async._durable.attempt import Backoff, GiveUp, Retry, RetryLater
from orthanc_async._durable.engine import Engine
from orthanc_async._durable.store import State
from unit.durable.engines import SOON, add, add_queue, running_engine, state, until
from unit.durable.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("fresh_registry")


async def ended(handler: Callable[..., Any], **policy: Any) -> MemoryStore:
    """Work on one entry until it is finished."""
    add_queue(handler, **policy)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running, resource="/studies/a")
        await until(lambda: state(store) in {State.DONE, State.DEAD})
    return store


async def test_what_is_kept() -> None:
    """The next attempt, and whoever looks at a dead letter, has what the last one has kept."""
    seen: list[Any] = []

    async def handler(_: int) -> None:
        current = attempt.current()
        seen.append(current.resume)
        current.keep([current.number])
        raise OSError("no")

    store = await ended(handler)
    assert seen == [None, [1], [2]]
    assert store.rows[1].resume == [3]


async def test_what_is_no_json(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """What cannot be kept is named; the next attempt gets what was kept before, others go on."""
    monkeypatch.setattr(worker, "SAVE", 0.005)
    seen: list[Any] = []

    async def handler(_: int) -> None:
        current = attempt.current()
        seen.append(current.resume)
        if current.number == 1:
            current.keep(["kept"])
            await current.save()
            current.keep({1, 2})
            await asyncio.sleep(0.05)
            raise OSError("no")
        current.keep(["later"])
        await until(lambda: store.rows[1].resume == ["later"])

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DONE)
    assert seen == [None, ["kept"]]
    assert "cannot be written as JSON" in caplog.text


async def test_progress_alone_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far it has come is written too when nothing is kept."""
    monkeypatch.setattr(worker, "SAVE", 0.005)

    async def handler(_: int) -> None:
        attempt.current().advance(done=7)
        await until(lambda: store.rows[1].progress.done == 7)

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DONE)


async def test_the_backoff_grows() -> None:
    """Each failure doubles the time, and the error says at which attempt it is."""

    async def handler(_: int) -> None:
        raise ValueError("no")

    add_queue(handler, retry=Retry(9, Backoff(first=5, longest=60, jitter=0)))
    store = MemoryStore()
    waits = []
    async with running_engine(store) as running:
        await add(running)
        for number in range(1, 7):
            await until(lambda number=number: store.rows[1].attempts == number)  # type: ignore[misc]
            waits.append(store.due[1] - store.now)
            store.now = store.due[1]
            running.wake()
    assert waits == [5, 10, 20, 40, 60, 60]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_would_end_the_loop(error: BaseException) -> None:
    """A handler that exits, or cancels itself, has failed; nothing else ends with it."""

    async def handler(_: int) -> None:
        raise error

    store = await ended(handler, retry=Retry(2, SOON))
    assert (store.rows[1].reason, store.rows[1].attempts) == ("exhausted", 2)


async def test_a_long_error(caplog: pytest.LogCaptureFixture) -> None:
    """Only the beginning of an error is kept; a traceback is for what nobody has meant."""

    async def handler(_: int) -> None:
        raise [RetryLater("busy"), OSError("full"), ValueError("x" * 5000)][
            attempt.current().number - 1
        ]

    store = await ended(handler)
    error = store.rows[1].error
    assert error is not None
    assert error.startswith("ValueError: xxx")
    assert len(error) == runner.ERROR_LENGTH
    traced = [
        record.exc_info is not None
        for record in caplog.records
        if "work/a" in record.msg % record.args
    ]
    assert traced == [False, False, True]


async def test_a_look_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resource is gone only if Orthanc says so: not if Orthanc cannot be asked."""

    async def rest_api_get(_: str) -> bytes:
        raise orthanc.OrthancException(orthanc.ErrorCode.DATABASE, "busy")

    monkeypatch.setattr(orthanc, "rest_api_get", rest_api_get)

    async def handler(_: int) -> None:
        raise orthanc.OrthancException(orthanc.ErrorCode.UNKNOWN_RESOURCE, "Unknown")

    store = await ended(handler)
    assert store.rows[1].reason == "exhausted"


async def test_an_error_at_the_stop() -> None:
    """What a handler says while Orthanc stops is noted, and counts neither as failure nor end."""
    for error in (ValueError("the connection was cut"), GiveUp("refused")):
        began = asyncio.Event()

        async def handler(_: int, began: asyncio.Event = began, error: Exception = error) -> None:
            attempt.current().keep(["so far"])
            began.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise error from None

        _registry.clear()
        add_queue(handler)
        store = MemoryStore()
        async with running_engine(store) as running:
            await add(running)
            await began.wait()
        row = store.rows[1]
        assert (row.state, row.attempts, row.interruptions) == (State.WAITING, 0, 1)
        assert row.resume == ["so far"]
        assert str(error) in str(row.error)


async def test_cancelled_once() -> None:
    """A handler that cleans up after its timeout is not cut off by the stop."""
    cleaning, cleaned = asyncio.Event(), []

    async def handler(_: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaning.set()
            await asyncio.sleep(0.05)
            cleaned.append(True)

    add_queue(handler, timeout=0.01)
    store = MemoryStore()
    running = Engine(lambda: store)
    await running.start()
    await add(running)
    await cleaning.wait()
    await running.stop(asyncio.get_running_loop().time() + 5)
    await running.close()
    assert cleaned == [True]
    assert (store.rows[1].attempts, store.rows[1].interruptions) == (1, 0)


async def test_one_that_does_not_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, keeps its place until it ends, and runs no second time meanwhile."""
    monkeypatch.setattr(runner, "SLOW_TO_END", 0.02)
    go = asyncio.Event()
    ran = []

    async def handler(_: int) -> None:
        ran.append(1)
        with contextlib.suppress(asyncio.CancelledError):
            await go.wait()
        await go.wait()

    add_queue(handler, timeout=0.02, retry=Retry(1), concurrency=1)
    store = MemoryStore()
    async with running_engine(store) as running:
        try:
            await add(running)
            await until(lambda: "keeps its place" in caplog.text)
            other = await add(running, "b")
            await asyncio.sleep(0.05)
            assert (state(store), state(store, other)) == (State.RUNNING, State.WAITING)
            assert ran == [1]
        finally:
            go.set()
        await until(lambda: state(store) is State.DEAD)


async def test_a_def_that_gives_an_awaitable() -> None:
    """A `def` may return what is to be awaited: it is, on the loop."""
    done = []

    async def later() -> None:
        done.append(True)

    def handler(_: int) -> Any:
        return later()

    await ended(handler)
    assert done == [True]
