"""The worker and its attempts, on a store in memory."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import orthanc
import pytest
from orthanc_async import _registry
from orthanc_async._durable import abandoned, attempt, queues, worker
from orthanc_async._durable.attempt import Backoff, GiveUp, Retry, RetryLater
from orthanc_async._durable.store import (
    NewEntry,
    State,
    StoreError,
)
from unit.durable.engines import SOON, add, add_queue, running_engine, state, until
from unit.durable.memory_store import MemoryStore

pytestmark = pytest.mark.usefixtures("fresh_registry")


async def test_done() -> None:
    """An entry is worked on once, with its attempt at hand, and is done."""
    seen = []

    async def handler(payload: int) -> None:
        current = attempt.current()
        seen.append((payload, current.key, current.full_key, current.number))

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DONE)
    assert seen == [(1, "a", "work/a", 1)]
    with pytest.raises(LookupError):
        attempt.current()
    assert not store.is_open


async def test_attempts_until_dead() -> None:
    """Failures are counted, the backoff is waited for, and the last one makes a dead letter."""

    async def handler(_: int) -> None:
        raise ValueError(f"attempt {attempt.current().number}")

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DEAD)
    row = store.rows[1]
    assert (row.attempts, row.reason, row.error) == (3, "exhausted", "ValueError: attempt 3")


@pytest.mark.parametrize(
    "error",
    [
        StoreError("cannot be reached"),
        orthanc.OrthancException(orthanc.ErrorCode.DATABASE_UNAVAILABLE, "not available"),
        orthanc.OrthancException(orthanc.ErrorCode.DATABASE, "Error with the database engine"),
    ],
)
async def test_database_fails(error: Exception) -> None:
    """An attempt that ends since a database fails does not count; the next is not at once."""

    async def handler(_: int) -> None:
        raise RetryLater("the file cannot be read") from error

    add_queue(handler, retry=Retry(1, Backoff(60, 60, jitter=0)))
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: store.rows[1].interruptions)
        row = store.rows[1]
        assert (row.state, row.attempts, row.interruptions) == (State.WAITING, 0, 1)
        assert row.error == "the file cannot be read"
        assert 50 < (await store.next_due(["work"]) or 0) <= 60


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

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running, resource="/studies/a")
        await until(lambda: state(store) is State.DEAD)
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

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running, resource="/studies/a")
        await until(lambda: state(store) is State.DONE)


@pytest.mark.parametrize("index", [True, False], ids=["there", "index fails"])
async def test_unknown_for_a_moment(monkeypatch: pytest.MonkeyPatch, index: bool) -> None:  # noqa: FBT001
    """What Orthanc calls unknown while its index fails is not gone, and does not count at once."""

    async def rest_api_get(path: str) -> bytes:
        if not index and path == "/changes?last":
            raise orthanc.OrthancException(orthanc.ErrorCode.DATABASE_UNAVAILABLE, "Index")
        if not index:
            raise orthanc.OrthancException(orthanc.ErrorCode.UNKNOWN_RESOURCE, "Unknown")
        return b"{}"

    monkeypatch.setattr(orthanc, "rest_api_get", rest_api_get)

    async def handler(_: int) -> None:
        raise orthanc.OrthancException(orthanc.ErrorCode.UNKNOWN_RESOURCE, "Unknown")

    add_queue(handler, retry=Retry(1, SOON))
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running, resource="/studies/a")
        await until(lambda: state(store) is State.DEAD)
    row = store.rows[1]
    assert (row.reason, row.attempts, row.interruptions) == ("exhausted", 1, 3)


async def test_retry_later() -> None:
    """The time that the handler gives is the time until the next attempt."""

    async def handler(_: int) -> None:
        raise RetryLater("busy", after=77)

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: store.rows[1].attempts == 1)
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

    add_queue(handler, "one", concurrency=1)
    add_queue(handler, "two", concurrency=3)
    store = MemoryStore()
    async with running_engine(store) as running:
        for number in range(8):
            await add(running, str(number), queue="one")
            await add(running, str(number), queue="two")
        await until(lambda: all(row.state is State.DONE for row in store.rows.values()))
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
    add_queue(handler, gate=gate)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DONE)
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

    add_queue(handler, timeout=0.02, retry=Retry(2, SOON))
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DEAD)
    assert cleaned == [True, True]
    assert store.rows[1].error == "it took longer than its timeout, 0.02 s"


async def test_swallowed_cancellation() -> None:
    """A handler that returns because it was cancelled has not succeeded."""

    async def handler(_: int) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    add_queue(handler, timeout=0.02, retry=Retry(1))
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DEAD)


async def test_thread() -> None:
    """A `def` handler runs in a thread with its attempt, and no timeout runs it twice."""
    release = threading.Event()
    seen: list[tuple[bool, str]] = []

    def handler(_: int) -> None:
        seen.append((threading.current_thread() is threading.main_thread(), attempt.current().key))
        release.wait(10)

    add_queue(handler, timeout=0.02)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: seen)
        await asyncio.sleep(0.1)
        assert state(store) is State.RUNNING
        release.set()
        await until(lambda: state(store) is State.DONE)
    assert seen == [(False, "a")]


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

    add_queue(handler, concurrency=2)
    store = MemoryStore()
    async with running_engine(store) as running:
        id_ = await add(running)
        await until(lambda: order)
        assert await running.cancel([id_]) == 1
        assert state(store) is State.CANCELLED
        assert await running.retry([id_]) == 1
        await until(lambda: state(store) is State.RUNNING)
        cleaning.set()
        await until(lambda: state(store) is State.DONE)
    assert order == ["begin", "end", "begin"]


@pytest.mark.parametrize("when", ["before", "running", "between", "by another server"])
async def test_what_is_cancelled_is_abandoned(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """What an attempt has kept is told when nobody goes on from it, once, whenever that is."""
    monkeypatch.setattr(worker, "RENEW", 0.01)
    begun = asyncio.Event()
    told: list[object] = []

    async def handler(_: int) -> None:
        attempt.current().keep({"job": 1})
        await attempt.current().save()
        begun.set()
        if when == "between":
            raise RetryLater("later", after=60)
        await asyncio.sleep(60)

    async def tell(resume: object) -> None:
        told.append(resume)
        raise OSError("this is only logged")

    add_queue(handler)
    queues.when_abandoned(tell)
    store = MemoryStore()
    async with running_engine(store) as running:
        id_ = await add(running, delay=60 if when == "before" else 0)
        if when != "before":
            await begun.wait()
        if when == "between":
            await until(lambda: state(store) is State.WAITING)
        if when == "by another server":
            await store.cancel([id_])
        else:
            assert await running.cancel([id_]) == 1
        await until(lambda: told or when == "before")
        await until(lambda: not running.running())
    assert state(store) is State.CANCELLED
    assert told == ([] if when == "before" else [{"job": 1}])


@pytest.mark.parametrize("shared", [False, True])
async def test_cancelled_elsewhere(monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> None:
    """What another server cancels is told of too, once; at a start, what was cancelled before."""
    monkeypatch.setattr(abandoned, "EVERY", 0.01)
    monkeypatch.setattr(MemoryStore, "shared", shared)
    told: list[object] = []

    async def handler(payload: int) -> None:
        attempt.current().keep({"of": attempt.current().key})
        raise RetryLater("later", after=60)

    async def tell(resume: object) -> None:
        told.append(resume)

    add_queue(handler)
    queues.when_abandoned(tell)
    store = MemoryStore()
    async with running_engine(store) as running:
        for key in "ab":
            await add(running, key=key)
        await until(lambda: [row.attempts for row in store.rows.values()] == [1, 1])
        if shared:
            await store.cancel([1])
            await until(lambda: told)
        looks = store.calls.count("entries")
        await until(lambda: not shared or store.calls.count("entries") > looks + 1)
    assert told == [{"of": "a"}] * shared
    told.clear()
    await store.cancel([2])
    async with running_engine(store):
        await until(lambda: {"of": "b"} in told)
    assert not [resume for resume in told if resume not in ({"of": "a"}, {"of": "b"})]


async def test_the_end_of_an_attempt_is_not_abandoned() -> None:
    """Done, dead, or given back at the stop: somebody goes on, or nothing is left to do."""
    begun = asyncio.Event()
    told: list[object] = []

    async def handler(_: int) -> None:
        attempt.current().keep({"job": 1})
        if attempt.current().key == "dead":
            raise GiveUp("no")
        if attempt.current().key == "stop":
            begun.set()
            await asyncio.sleep(60)

    async def tell(resume: object) -> None:
        told.append(resume)

    add_queue(handler)
    queues.when_abandoned(tell)
    store = MemoryStore()
    async with running_engine(store) as running:
        for key in ("done", "dead", "stop"):
            await add(running, key=key)
        await begun.wait()
        await until(lambda: state(store, 2) is State.DEAD)
    assert [store.rows[id_].state for id_ in (1, 2, 3)] == ["done", "dead", "waiting"]
    assert not told


async def test_poison() -> None:
    """An entry that was interrupted a hundred times is not tried again."""
    ran = []

    async def handler(_: int) -> None:
        ran.append(1)

    add_queue(handler)
    store = MemoryStore()
    await store.add([NewEntry("work", "a", 1)])
    store._set(1, interruptions=100)
    async with running_engine(store):
        await until(lambda: state(store) is State.DEAD)
    assert (store.rows[1].reason, store.rows[1].attempts) == ("poison", 0)
    assert ran == []


async def test_progress_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an attempt keeps reaches the store while it runs, and only when it has changed."""
    monkeypatch.setattr(worker, "SAVE", 0.01)
    go = asyncio.Event()

    async def handler(_: int) -> None:
        attempt.current().keep([1])
        attempt.current().advance(done=2, total=4, bytes=10)
        await go.wait()

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: store.rows[1].resume == [1])
        assert store.rows[1].progress.done == 2
        assert running.running()[0].attempt.progress.bytes == 10
        await asyncio.sleep(0.1)
        assert store.calls.count("save") == 1
        go.set()
        await until(lambda: state(store) is State.DONE)


def test_two_alike() -> None:
    """Two things of one name are refused, naming both places."""
    add_queue(print, "a")
    with pytest.raises(ValueError, match=r"'a'.*script\.py:a.*script\.py:a"):
        add_queue(print, "a")
    _registry.clear()
    add_queue(print, "a")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 101])
def test_names(name: str) -> None:
    """A name has characters that a URL and a log line can have."""
    with pytest.raises(ValueError, match="letters"):
        add_queue(print, name)
