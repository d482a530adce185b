"""An engine on a store in memory, and waiting for what it does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from orthanc_async._durable import engine, runner
from orthanc_async._durable.attempt import Backoff, Policy, Retry
from orthanc_async._durable.engine import Engine, Kind, Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from orthanc_async._durable.store import (
        State,
    )
    from unit.durable.memory_store import MemoryStore


SOON = Backoff(0.0, 0.0)


def add_queue(function: Callable[..., Any], name: str = "work", **policy: Any) -> None:
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
async def running_engine(store: MemoryStore) -> AsyncIterator[Engine]:
    running = Engine(lambda: store)
    await running.start()
    try:
        yield running
    finally:
        await running.stop(asyncio.get_running_loop().time() + 5)
        await running.close()


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def state(store: MemoryStore, id_: int = 1) -> State:
    return store.rows[id_].state


async def add(running: Engine, key: str = "a", **more: Any) -> int:
    return (await running.enqueue(more.pop("queue", "work"), 1, key=key, **more)).id
