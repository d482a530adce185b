"""Opening the store: what waits for it, what goes wrong, and a stop in the middle."""

from __future__ import annotations

import asyncio

import pytest
from orthanc_async._durable import engine
from orthanc_async._durable.engine import Engine
from orthanc_async._durable.store import State, StoreError
from unit.durable.engines import add, add_queue, running_engine, state, until
from unit.durable.memory_store import MemoryStore

pytestmark = pytest.mark.usefixtures("fresh_registry")


class SlowToOpen(MemoryStore):
    """Opens once `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def open(self) -> None:
        """Wait, then open."""
        self.calls.append("asked to open")
        await self.go.wait()
        await super().open()


async def work(_: int) -> None:
    pass


async def test_a_store_that_opens_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start goes on without it after a while; what is enqueued meanwhile waits for it."""
    monkeypatch.setattr(engine, "START_WAITS", 0.05)
    add_queue(work)
    store = SlowToOpen()
    async with asyncio.timeout(10), running_engine(store) as running:
        assert not running.is_open
        waiting = asyncio.create_task(add(running))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        store.go.set()
        await waiting
        await until(lambda: state(store) is State.DONE)


async def test_stop_while_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing begins once Orthanc stops, and nothing of the opening is left over."""
    monkeypatch.setattr(engine, "START_WAITS", 0.01)
    add_queue(work)
    for late in (False, True):
        store = SlowToOpen()
        running = Engine(lambda store=store: store)  # type: ignore[misc]
        await running.start()
        assert engine.engine() is running
        await running.stop(asyncio.get_running_loop().time() + 5)
        if late:
            store.go.set()
            await until(lambda store=store: "open" in store.calls)  # type: ignore[misc]
            assert not running.is_open
        await running.close()
        assert engine.engine() is None
        assert "claim" not in store.calls
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("durable")]


async def test_halted_before_its_start() -> None:
    """An Orthanc that stops before it has started opens nothing."""
    add_queue(work)
    store = MemoryStore()
    running = Engine(lambda: store)
    running.halt()
    await running.start()
    assert engine.engine() is None
    await running.close()
    assert "open" not in store.calls


async def test_opened_again_and_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the error is, it is told once, and the time until the next try has a limit."""
    monkeypatch.setattr(engine, "REOPEN_FIRST", 0.01)
    monkeypatch.setattr(engine, "REOPEN_LONGEST", 0.02)
    add_queue(work)
    store = MemoryStore()
    store.fail["open"] = [ValueError("odd"), *(StoreError("disk full") for _ in range(14))]
    async with running_engine(store) as running:
        with pytest.raises(StoreError, match="the memory: ValueError: odd"):
            _ = running.store
        await until(lambda: running.is_open)
        await add(running)
        await until(lambda: state(store) is State.DONE)
    told = [record.message for record in caplog.records if "cannot be opened" in record.message]
    assert len(told) == 1
    assert "the memory is open now: work goes on" in caplog.text


async def test_a_preparation_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What comes before the opening cannot keep the store closed."""

    async def prepare() -> None:
        raise ValueError("not prepared")

    async def companion(_running: Engine) -> None:
        await asyncio.sleep(60)

    add_queue(work)
    engine.beside(companion, before=prepare)
    async with running_engine(MemoryStore()) as running:
        assert running.is_open
    assert "not prepared" in caplog.text
