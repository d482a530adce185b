"""The engine over its life: stops, leases, a store that fails, what runs beside."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from typing import Any

import pytest
from orthanc_async._durable import attempt, engine, worker
from orthanc_async._durable.engine import Engine
from orthanc_async._durable.store import (
    State,
    StoreError,
    StoreLockedError,
)
from unit.durable.engines import add, add_queue, running_engine, state, until
from unit.durable.memory_store import MemoryStore

pytestmark = pytest.mark.usefixtures("fresh_registry")


async def test_stop_gives_back() -> None:
    """At the stop an attempt is cancelled and given back without being counted."""
    began = asyncio.Event()

    async def handler(_: int) -> None:
        attempt.current().keep({"at": 3})
        began.set()
        await asyncio.sleep(60)

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
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

    add_queue(handler)
    store = MemoryStore()
    running = Engine(lambda: store)
    await running.start()
    await add(running)
    await until(lambda: seen)
    await running.stop(asyncio.get_running_loop().time() + 0.1)
    await running.close()
    assert state(store) is State.RUNNING
    async with running_engine(store):
        await until(lambda: state(store) is State.DONE)
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

    add_queue(handler)
    store = Slow()
    running = Engine(lambda: store)
    await running.start()
    await add(running)
    await asked.wait()
    stopping = asyncio.create_task(running.stop(asyncio.get_running_loop().time() + 5))
    await asyncio.sleep(0.01)
    answer.set()
    await stopping
    await running.close()
    assert state(store) is State.WAITING
    assert ran == []


async def test_finish_is_written_again(caplog: pytest.LogCaptureFixture) -> None:
    """An attempt that has succeeded is not repeated because its end could not be written."""
    ran = []

    async def handler(_: int) -> None:
        ran.append(1)

    add_queue(handler)
    store = MemoryStore()
    store.fail["finish"] = [StoreError("disk full"), StoreError("disk full")]
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DONE)
    assert ran == [1]
    logged = [record for record in caplog.records if "fails" in record.message]
    assert len(logged) == 1
    assert "the memory: disk full" in logged[0].message


async def test_claim_is_tried_again() -> None:
    """A store that fails when asked for work is asked again."""

    async def handler(_: int) -> None:
        pass

    add_queue(handler)
    store = MemoryStore()
    store.fail["claim"] = [StoreError("gone"), OSError("bad")]
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: state(store) is State.DONE)


async def test_lost_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt whose lease is lost is cancelled, and what it would write is not written."""
    monkeypatch.setattr(worker, "RENEW", 0.02)
    ended = []

    async def handler(_: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(running.running)
        store.tokens.clear()
        await until(lambda: ended)
        await until(lambda: not running.running())
    assert store.rows[1].attempts == 0


async def test_expired_lease_is_adopted() -> None:
    """An entry whose lease ran out while it runs here goes on, and does not run twice."""
    ran = []
    go = asyncio.Event()

    async def handler(_: int) -> None:
        ran.append(1)
        await go.wait()

    add_queue(handler, concurrency=2)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: ran)
        store.now += 60
        running.wake()
        await until(lambda: store.rows[1].interruptions == 1)
        go.set()
        await until(lambda: state(store) is State.DONE)
    assert ran == [1]


async def test_store_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A locked store is an error in the log, and is taken over once it is free."""
    monkeypatch.setattr(engine, "REOPEN_LOCKED", 0.05)
    monkeypatch.setattr(engine, "REOPEN_FIRST", 1000.0)

    async def handler(_: int) -> None:
        pass

    add_queue(handler)
    store = MemoryStore()
    store.fail["open"] = [StoreLockedError("/a/file is locked") for _ in range(3)]
    async with running_engine(store) as running:
        with pytest.raises(StoreError, match="/a/file is locked"):
            await add(running)
        await until(lambda: running.is_open)
        await add(running)
        await until(lambda: state(store) is State.DONE)
    levels = [record.levelno for record in caplog.records if "opened" in record.message]
    assert levels == [logging.ERROR]


async def test_store_that_is_moved(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that was moved away while it was open is opened again, with what runs beside."""
    monkeypatch.setattr(engine, "LOOK_AFTER", 0.02)
    began = []

    class Moved(MemoryStore):
        is_moved = False

        async def open(self) -> None:
            await super().open()
            self.is_moved = False

        async def moved(self) -> bool:
            return self.is_moved

    async def companion(_: Engine) -> None:
        began.append("beside")
        await asyncio.sleep(60)

    async def handler(_: int) -> None:
        began.append("attempt")
        if began.count("attempt") == 1:
            await asyncio.sleep(60)

    engine.beside(companion)
    add_queue(handler)
    store = Moved()
    async with running_engine(store) as running:
        await add(running)
        await until(lambda: "attempt" in began)
        store.is_moved = True
        await until(lambda: state(store) is State.DONE)
        await add(running, "b")
    assert sorted(began[:4]) == ["attempt", "attempt", "beside", "beside"]
    assert store.calls.count("open") == 2
    assert "the memory was moved away or replaced while it was open" in caplog.text


async def test_no_polling() -> None:
    """With nothing to do the store is left alone."""

    async def handler(_: int) -> None:
        pass

    add_queue(handler)
    store = MemoryStore()
    async with running_engine(store) as running:
        await add(running, delay=1000)
        await asyncio.sleep(0.05)
        before = len(store.calls)
        await asyncio.sleep(0.3)
        assert len(store.calls) == before
        store.now += 1000
        running.wake()
        await until(lambda: state(store) is State.DONE)


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

    add_queue(handler)
    engine.beside(companion, before=prepare)
    store = MemoryStore()
    async with running_engine(store):
        await until(lambda: len(order) == 3)
    assert order == ["prepared", "open True", "open True", "cancelled"]
    assert "it failed" in caplog.text


async def test_too_late() -> None:
    """What is declared once Orthanc has started is refused."""

    async def handler(_: int) -> None:
        pass

    add_queue(handler)
    async with running_engine(MemoryStore()):
        with pytest.raises(RuntimeError, match="top level of a script"):
            add_queue(handler, "late")


async def test_not_open_yet() -> None:
    """Until the store has been opened it is said to be on its way; afterwards, to be closed."""
    store = MemoryStore()
    running = Engine(lambda: store)
    with pytest.raises(StoreError, match="is being opened"):
        _ = running.store
    await running.start()
    assert running.store is store
    await running.stop(asyncio.get_running_loop().time() + 5)
    await running.close()
    with pytest.raises(StoreError, match="is closed: Orthanc stops"):
        _ = running.store
