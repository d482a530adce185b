"""The worker and its attempts, on a store in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import _registry
from orthanc_async._durable import attempt, engine, runner, worker
from orthanc_async._durable.attempt import Backoff, GiveUp, Policy, Retry, RetryLater
from orthanc_async._durable.engine import Engine, Kind, Queue
from orthanc_async._durable.store import (
    NewEntry,
    State,
    StoreError,
    StoreLockedError,
)
from unit.durable.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    _registry.clear()
    yield
    _registry.clear()


SOON = Backoff(0.0, 0.0)


def _queue(function: Callable[..., Any], name: str = "work", **policy: Any) -> None:
    policy.setdefault("retry", Retry(3, SOON))
    queue = Queue(
        name,
        lambda entry: runner.invoke(function, entry.payload),
        Policy(**policy),
        f"script.py:{name}",
        Kind.TASK,
    )
    engine.register(queue)


@contextlib.asynccontextmanager
async def _running(store: MemoryStore) -> AsyncIterator[Engine]:
    running = Engine(lambda: store)
    await running.start()
    try:
        yield running
    finally:
        await running.stop(asyncio.get_running_loop().time() + 5)
        await running.close()


async def _until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _state(store: MemoryStore, id_: int = 1) -> State:
    return store.rows[id_].state


async def _add(running: Engine, key: str = "a", **more: Any) -> int:
    return (await running.enqueue(more.pop("queue", "work"), 1, key=key, **more)).id


async def test_done() -> None:
    """An entry is worked on once, with its attempt at hand, and is done."""
    seen = []

    async def handler(payload: int) -> None:
        current = attempt.current()
        seen.append((payload, current.key, current.full_key, current.number))

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: _state(store) is State.DONE)
    assert seen == [(1, "a", "work/a", 1)]
    with pytest.raises(LookupError):
        attempt.current()
    assert not store.is_open


async def test_attempts_until_dead() -> None:
    """Failures are counted, the backoff is waited for, and the last one makes a dead letter."""

    async def handler(_: int) -> None:
        raise ValueError(f"attempt {attempt.current().number}")

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: _state(store) is State.DEAD)
    row = store.rows[1]
    assert (row.attempts, row.reason, row.error) == (3, "exhausted", "ValueError: attempt 3")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (GiveUp("no such patient"), "refused"),
        (GiveUp("no", reason="policy"), "policy"),
        (orthanc.OrthancException(orthanc.ErrorCode.UNKNOWN_RESOURCE, "Unknown"), "gone"),
    ],
)
async def test_dead_at_once(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    """GiveUp ends it with its reason; a resource that is not there any more with "gone"."""

    async def rest_api_get(_: str) -> bytes:
        raise orthanc.OrthancException(orthanc.ErrorCode.UNKNOWN_RESOURCE, "Unknown resource")

    monkeypatch.setattr(orthanc, "rest_api_get", rest_api_get)

    async def handler(_: int) -> None:
        if reason == "gone":
            raise OSError("the transfer failed") from error
        raise error

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running, resource="/studies/a")
        await _until(lambda: _state(store) is State.DEAD)
    assert store.rows[1].reason == reason
    assert store.rows[1].attempts == 1


async def test_unknown_resource_of_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resource that is still there is tried again, whatever else was not found."""

    async def rest_api_get(_: str) -> bytes:
        return b"{}"

    monkeypatch.setattr(orthanc, "rest_api_get", rest_api_get)

    async def handler(_: int) -> None:
        if attempt.current().number == 1:
            raise orthanc.OrthancException(orthanc.ErrorCode.UNKNOWN_RESOURCE, "a modality")

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running, resource="/studies/a")
        await _until(lambda: _state(store) is State.DONE)


async def test_retry_later() -> None:
    """The time that the handler gives is the time until the next attempt."""

    async def handler(_: int) -> None:
        raise RetryLater("busy", after=77)

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: store.rows[1].attempts == 1)
    assert (store.due[1], store.rows[1].error) == (store.now + 77, "busy")


async def test_concurrency() -> None:
    """No more attempts run at once than the queue allows, and each queue has its own places."""
    now = {"one": 0, "two": 0}
    most = {"one": 0, "two": 0}

    async def handler(_: int) -> None:
        name = attempt.current().queue
        now[name] += 1
        most[name] = max(most[name], now[name])
        await asyncio.sleep(0.005)
        now[name] -= 1

    _queue(handler, "one", concurrency=1)
    _queue(handler, "two", concurrency=3)
    store = MemoryStore()
    async with _running(store) as running:
        for number in range(8):
            await _add(running, str(number), queue="one")
            await _add(running, str(number), queue="two")
        await _until(lambda: all(row.state is State.DONE for row in store.rows.values()))
    assert most == {"one": 1, "two": 3}


async def test_gate() -> None:
    """A closed gate holds attempts back for the time it names, then they begin."""

    class Gate:
        asked = 0

        def free(self, wanted: int) -> int:
            self.asked += 1
            return wanted if self.asked > 3 else 0

        def wait(self) -> float:
            return 0.01

    async def handler(_: int) -> None:
        pass

    gate = Gate()
    _queue(handler, gate=gate)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: _state(store) is State.DONE)
    assert gate.asked >= 4


async def test_timeout() -> None:
    """An attempt that takes too long is cancelled, cleans up, and counts as failed."""
    cleaned = []

    async def handler(_: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    _queue(handler, timeout=0.02, retry=Retry(2, SOON))
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: _state(store) is State.DEAD)
    assert cleaned == [True, True]
    assert store.rows[1].error == "it took longer than its timeout, 0.02 s"


async def test_swallowed_cancellation() -> None:
    """A handler that returns because it was cancelled has not succeeded."""

    async def handler(_: int) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    _queue(handler, timeout=0.02, retry=Retry(1))
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: _state(store) is State.DEAD)


async def test_thread() -> None:
    """A `def` handler runs in a thread with its attempt, and no timeout runs it twice."""
    release = threading.Event()
    seen: list[tuple[bool, str]] = []

    def handler(_: int) -> None:
        seen.append((threading.current_thread() is threading.main_thread(), attempt.current().key))
        release.wait(10)

    _queue(handler, timeout=0.02)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: seen)
        await asyncio.sleep(0.1)
        assert _state(store) is State.RUNNING
        release.set()
        await _until(lambda: _state(store) is State.DONE)
    assert seen == [(False, "a")]


async def test_stop_gives_back() -> None:
    """At the stop an attempt is cancelled and given back without being counted."""
    began = asyncio.Event()

    async def handler(_: int) -> None:
        attempt.current().keep({"at": 3})
        began.set()
        await asyncio.sleep(60)

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await began.wait()
    row = store.rows[1]
    assert (row.state, row.attempts, row.interruptions) == (State.WAITING, 0, 1)
    assert row.resume == {"at": 3}
    assert store.due[1] == store.now


async def test_stop_in_time() -> None:
    """An attempt that ignores the stop is left behind, named, and begun again at the next."""
    seen = []

    async def handler(_: int) -> None:
        seen.append(attempt.current().number)
        if len(seen) == 1:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(0.5)

    _queue(handler)
    store = MemoryStore()
    running = Engine(lambda: store)
    await running.start()
    await _add(running)
    await _until(lambda: seen)
    await running.stop(asyncio.get_running_loop().time() + 0.1)
    await running.close()
    assert _state(store) is State.RUNNING
    async with _running(store):
        await _until(lambda: _state(store) is State.DONE)
    assert seen == [1, 2]


async def test_no_claim_is_lost_at_the_stop() -> None:
    """What a claim gives while Orthanc stops is given back, not left running."""
    asked, answer = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStore):
        async def claim(self, *arguments: Any) -> Any:
            claims = await super().claim(*arguments)
            if claims:
                asked.set()
                await answer.wait()
            return claims

    ran = []

    async def handler(_: int) -> None:
        ran.append(1)

    _queue(handler)
    store = Slow()
    running = Engine(lambda: store)
    await running.start()
    await _add(running)
    await asked.wait()
    stopping = asyncio.create_task(running.stop(asyncio.get_running_loop().time() + 5))
    await asyncio.sleep(0.01)
    answer.set()
    await stopping
    await running.close()
    assert _state(store) is State.WAITING
    assert ran == []


async def test_finish_is_written_again(caplog: pytest.LogCaptureFixture) -> None:
    """An attempt that has succeeded is not repeated because its end could not be written."""
    ran = []

    async def handler(_: int) -> None:
        ran.append(1)

    _queue(handler)
    store = MemoryStore()
    store.fail["finish"] = [StoreError("disk full"), StoreError("disk full")]
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: _state(store) is State.DONE)
    assert ran == [1]
    logged = [record for record in caplog.records if "fails" in record.message]
    assert len(logged) == 1
    assert "the memory: disk full" in logged[0].message


async def test_claim_is_tried_again() -> None:
    """A store that fails when asked for work is asked again."""

    async def handler(_: int) -> None:
        pass

    _queue(handler)
    store = MemoryStore()
    store.fail["claim"] = [StoreError("gone"), OSError("bad")]
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: _state(store) is State.DONE)


async def test_lost_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt whose lease is lost is cancelled, and what it would write is not written."""
    monkeypatch.setattr(worker, "RENEW", 0.02)
    ended = []

    async def handler(_: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(running.running)
        store.tokens.clear()
        await _until(lambda: ended)
        await _until(lambda: not running.running())
    assert store.rows[1].attempts == 0


async def test_expired_lease_is_adopted() -> None:
    """An entry whose lease ran out while it runs here goes on, and does not run twice."""
    ran = []
    go = asyncio.Event()

    async def handler(_: int) -> None:
        ran.append(1)
        await go.wait()

    _queue(handler, concurrency=2)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: ran)
        store.now += 60
        running.wake()
        await _until(lambda: store.rows[1].interruptions == 1)
        go.set()
        await _until(lambda: _state(store) is State.DONE)
    assert ran == [1]


async def test_cancel_and_retry() -> None:
    """A running entry that is cancelled ends; retried, it runs only after that."""
    order = []
    cleaning = asyncio.Event()

    async def handler(_: int) -> None:
        order.append("begin")
        if len(order) == 1:
            try:
                await asyncio.sleep(60)
            finally:
                await cleaning.wait()
                order.append("end")

    _queue(handler, concurrency=2)
    store = MemoryStore()
    async with _running(store) as running:
        id_ = await _add(running)
        await _until(lambda: order)
        assert await running.cancel([id_]) == 1
        assert _state(store) is State.CANCELLED
        assert await running.retry([id_]) == 1
        await _until(lambda: _state(store) is State.RUNNING)
        cleaning.set()
        await _until(lambda: _state(store) is State.DONE)
    assert order == ["begin", "end", "begin"]


async def test_poison() -> None:
    """An entry that was interrupted a hundred times is not tried again."""
    ran = []

    async def handler(_: int) -> None:
        ran.append(1)

    _queue(handler)
    store = MemoryStore()
    await store.add([NewEntry("work", "a", 1)])
    store._set(1, interruptions=100)
    async with _running(store):
        await _until(lambda: _state(store) is State.DEAD)
    assert store.rows[1].reason == "poison"
    assert ran == []


async def test_progress_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an attempt keeps reaches the store while it runs, and only when it has changed."""
    monkeypatch.setattr(worker, "SAVE", 0.01)
    go = asyncio.Event()

    async def handler(_: int) -> None:
        attempt.current().keep([1])
        attempt.current().advance(done=2, total=4, bytes=10)
        await go.wait()

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running)
        await _until(lambda: store.rows[1].resume == [1])
        assert store.rows[1].progress.done == 2
        assert running.running()[0].attempt.progress.bytes == 10
        await asyncio.sleep(0.1)
        assert store.calls.count("save") == 1
        go.set()
        await _until(lambda: _state(store) is State.DONE)


async def test_store_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A locked store is an error in the log, and is taken over once it is free."""
    monkeypatch.setattr(engine, "REOPEN_LOCKED", 0.05)

    async def handler(_: int) -> None:
        pass

    _queue(handler)
    store = MemoryStore()
    store.fail["open"] = [StoreLockedError("/a/file is locked") for _ in range(3)]
    async with _running(store) as running:
        with pytest.raises(StoreError, match="/a/file is locked"):
            await _add(running)
        await _until(lambda: running.is_open)
        await _add(running)
        await _until(lambda: _state(store) is State.DONE)
    levels = [record.levelno for record in caplog.records if "opened" in record.message]
    assert levels == [logging.ERROR]


async def test_no_polling() -> None:
    """With nothing to do the store is left alone."""

    async def handler(_: int) -> None:
        pass

    _queue(handler)
    store = MemoryStore()
    async with _running(store) as running:
        await _add(running, delay=1000)
        await asyncio.sleep(0.05)
        before = len(store.calls)
        await asyncio.sleep(0.3)
        assert len(store.calls) == before
        store.now += 1000
        running.wake()
        await _until(lambda: _state(store) is State.DONE)


def test_two_alike() -> None:
    """Two things of one name are refused, naming both places."""
    _queue(print, "a")
    with pytest.raises(ValueError, match=r"'a'.*script\.py:a.*script\.py:a"):
        _queue(print, "a")
    _registry.clear()
    _queue(print, "a")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 101])
def test_names(name: str) -> None:
    """A name has characters that a URL and a log line can have."""
    with pytest.raises(ValueError, match="letters"):
        _queue(print, name)


def test_only_who_uses_it_pays() -> None:
    """Events, tasks in the background and hooks import nothing of this."""
    code = """
import sys, orthanc, orthanc_async as oa
from orthanc_async import _lifespan
orthanc.RegisterOnChangeCallback = lambda handler: None
oa.on_stable_study(lambda study: None)
assert not [name for name in sys.modules if "_durable" in name or "sqlite" in name]
oa.on_stable_study(lambda study: None, durable="a")
assert "orthanc_async._durable.engine" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_beside(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What runs beside the worker is prepared first, begun again when it fails, and cancelled."""
    monkeypatch.setattr(engine, "BESIDE_AGAIN", 0.0)
    order = []

    async def prepare() -> None:
        order.append("prepared")

    async def companion(running: Engine) -> None:
        order.append(f"open {running.is_open}")
        if len(order) == 2:
            raise StoreError("it failed")
        try:
            await asyncio.sleep(60)
        finally:
            order.append("cancelled")

    async def handler(_: int) -> None:
        pass

    _queue(handler)
    engine.beside(companion, before=prepare)
    store = MemoryStore()
    async with _running(store):
        await _until(lambda: len(order) == 3)
    assert order == ["prepared", "open True", "open True", "cancelled"]
    assert "it failed" in caplog.text


async def test_too_late() -> None:
    """What is declared once Orthanc has started is refused."""

    async def handler(_: int) -> None:
        pass

    _queue(handler)
    async with _running(MemoryStore()):
        with pytest.raises(RuntimeError, match="top level of a script"):
            _queue(handler, "late")
