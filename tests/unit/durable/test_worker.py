# ruff: noqa: D102 - the interface has the words
"""The worker with other servers beside it, leases at odd moments, and a store that fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async._durable import attempt, figures, worker
from orthanc_async._durable.engine import Engine
from orthanc_async._durable.store import NewEntry, State, StoreError
from unit.durable.engines import add, add_queue, running_engine, state, until
from unit.durable.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection

    from orthanc_async._durable.store import Outcome


pytestmark = pytest.mark.usefixtures("fresh_registry")


class Shared(MemoryStore):
    """One that other servers use too; `told` wakes who waits for their changes."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()

    async def changed(self) -> None:
        self._called("changed")
        await self.told.wait()
        self.told.clear()


async def work(_: int) -> None:
    pass


async def test_what_another_server_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found without anybody telling this one."""
    monkeypatch.setattr(worker, "SHARED_POLL", 0.02)
    add_queue(work)
    store = Shared()
    async with running_engine(store):
        await store.add([NewEntry("work", "a", 1)])
        await until(lambda: state(store) is State.DONE)


async def test_told_by_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of it, this one looks at once; also after not having been told for a while."""
    monkeypatch.setattr(worker, "SHARED_POLL", 1000.0)
    monkeypatch.setattr(worker, "RETRY_LONGEST", 0.01)
    add_queue(work)
    store = Shared()
    store.fail["changed"] = [StoreError("no connection")]
    async with running_engine(store):
        await until(lambda: "next_due" in store.calls)
        await store.add([NewEntry("work", "a", 1)])
        store.told.set()
        await until(lambda: state(store) is State.DONE)


async def test_the_loop_stood_still() -> None:
    """Leases that may have run out are renewed before anything is claimed."""
    go = asyncio.Event()

    async def handler(_: int) -> None:
        await go.wait()

    add_queue(handler, concurrency=2)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(running.running)
        store.now += 60
        assert running._worker is not None
        running._worker._renewed -= 60
        running.wake()
        await until(lambda: "renew" in store.calls and store.calls[-1] != "renew")
        assert store.rows[1].interruptions == 0
        go.set()
        await until(lambda: state(store) is State.DONE)


async def test_adopted_while_leases_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the old lease is lost says nothing once there is a new one."""
    monkeypatch.setattr(worker, "RENEW", 0.02)
    asked, answer, go = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ran = []

    class Slow(MemoryStore):
        async def renew(self, tokens: Collection[str], lease: float) -> set[str]:
            asked.set()
            await answer.wait()
            return await super().renew(tokens, lease)

    async def handler(_: int) -> None:
        ran.append(1)
        await go.wait()

    add_queue(handler, concurrency=2)
    store = Slow()
    async with running_engine(store) as running:
        await add(running)
        await asked.wait()
        store.now += 60
        running.wake()
        await until(lambda: store.rows[1].interruptions == 1)
        answer.set()
        await until(lambda: "renew" in store.calls)
        await asyncio.sleep(0)
        go.set()
        await until(lambda: state(store) is State.DONE)
    assert ran == [1]


async def test_adopted_while_the_end_is_written() -> None:
    """The end is written with the new lease, and the handler does not run again."""
    asked, answer = asyncio.Event(), asyncio.Event()
    ran = []

    class Slow(MemoryStore):
        async def finish(self, token: str, outcome: Outcome) -> None:
            asked.set()
            await answer.wait()
            await super().finish(token, outcome)

    async def handler(_: int) -> None:
        ran.append(1)

    add_queue(handler, concurrency=2)
    store = Slow()
    async with running_engine(store) as running:
        await add(running)
        await asked.wait()
        assert running.running() == [], "its handler has ended"
        store.now += 60
        running.wake()
        await until(lambda: store.rows[1].interruptions == 1)
        answer.set()
        await until(lambda: state(store) is State.DONE)
    assert ran == [1]


async def test_a_gate_that_gives_more_than_was_asked() -> None:
    """A queue's own limit holds too, and a gate that says "now" without giving does not spin."""

    class Gate:
        given = 100
        asked = 0

        def free(self, _wanted: int) -> int:
            self.asked += 1
            return self.given

        def wait(self) -> float:
            return 0.0

    go = asyncio.Event()

    async def handler(_: int) -> None:
        await go.wait()

    gate = Gate()
    add_queue(handler, concurrency=2, gate=gate)
    store = MemoryStore()
    async with running_engine(store) as running:
        for number in range(9):
            await add(running, str(number))
        await until(lambda: len(running.running()) == 2)
        await asyncio.sleep(0.05)
        ids = [one.entry_id for one in running.running()]
        assert ids == sorted(ids)
        gate.given = 0
        go.set()
        await until(lambda: not running.running())
        gate.asked = 0
        await asyncio.sleep(0.2)
        assert gate.asked < 50


async def test_what_is_left_at_the_stop_writes_nothing_later() -> None:
    """An attempt that ends after the stop does not reach a store that is closed."""
    over = asyncio.Event()
    seen = []

    async def handler(_: int) -> None:
        seen.append(1)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(0.2)
        over.set()

    add_queue(handler)
    store = MemoryStore()
    running = Engine(lambda: store)
    await running.start()
    await add(running)
    await until(lambda: seen)
    await running.stop(asyncio.get_running_loop().time() + 0.05)
    await running.close()
    await over.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert "finish" not in store.calls


async def test_a_renewal_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again at once, well before the lease ends, however often it fails."""
    monkeypatch.setattr(worker, "RENEW", 0.02)
    go = asyncio.Event()

    async def handler(_: int) -> None:
        await go.wait()

    add_queue(handler)
    store = MemoryStore()
    store.fail["renew"] = [StoreError("disk full") for _ in range(8)]
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: store.calls.count("renew") > 9)
        go.set()
        await until(lambda: state(store) is State.DONE)


async def test_saving_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a store that fails once nor another attempt's lost lease ends the saving."""
    monkeypatch.setattr(worker, "SAVE", 0.01)
    monkeypatch.setattr(worker, "RETRY_FIRST", 0.01)
    go = asyncio.Event()

    async def handler(_: int) -> None:
        while not go.is_set():
            current = attempt.current()
            current.keep((current.resume or 0) + 1)
            await asyncio.sleep(0.005)

    add_queue(handler)
    store = MemoryStore()
    store.fail["save"] = [StoreError("disk full"), StoreError("disk full")]
    async with running_engine(store) as running:
        for key in "abc":
            await add(running, key)
        await until(lambda: all(row.resume for row in store.rows.values()))
        first, id_, last = store.rows
        store._drop(first)
        store._drop(last)
        before = store.rows[id_].resume
        assert isinstance(before, int)
        await until(lambda: store.rows[id_].resume > before + 2)
        go.set()
        await until(lambda: state(store, id_) is State.DONE)


async def test_attempts_are_counted() -> None:
    """Metrics hear of each attempt that ends, and which of them have failed."""

    async def handler(_: int) -> None:
        attempt.current().advance(done=1, bytes=2_000_000)
        if attempt.current().number < 3:
            raise ValueError("no")

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DONE)
        counted = {name: counter.read() for name, counter in figures.of("work").items()}
    assert counted.pop("handler_seconds") >= 0
    assert counted == {"attempts": 3, "failures": 2, "megabytes": 6}


def test_what_the_log_says_of_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """It is told when it begins and when all of it is over; tries have a longest pause."""
    trouble = worker.Trouble(MemoryStore())
    delays: list[Any] = [trouble.failed("claim", StoreError("full")) for _ in range(6)]
    delays += [trouble.failed("finish", StoreError("full"))]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    trouble.works("claim")
    trouble.works("claim")
    assert "works again" not in caplog.text
    trouble.works("finish")
    assert "the store the memory works again" in caplog.text
    assert trouble.failed("claim", StoreError("full")) == 0.5
