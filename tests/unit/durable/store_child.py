"""A process that works on a store until it is killed, and tells what it was promised.

    python store_child.py sqlite FOLDER | postgresql URL SCHEMA   add and work, for ever
    python store_child.py hold FOLDER                             open, say so, and wait
    python store_child.py fork FOLDER                             the same, with a child of its own
    python store_child.py full FOLDER                             add until a file is too large

Each line on its standard output is one thing that a method has returned.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orthanc_async._durable.sqlite import SQLiteStore
from orthanc_async._durable.store import Done, LeaseLost, NewEntry, Progress, StoreError

if TYPE_CHECKING:
    from orthanc_async._durable.store import Store

LEASE = 2.0  # seconds


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def add(store: Store, name: str) -> None:
    for number in range(1_000_000):
        [added] = await store.add([NewEntry("q", f"{name}-{number}", number)])
        tell("added", added.id)
        await asyncio.sleep(0.001)


async def work(store: Store) -> None:
    while True:
        for claim in await store.claim({"q": 2}, LEASE):
            tell("claimed", claim.entry.id, claim.token)
            try:
                for step in range(3):
                    await store.save(claim.token, step, Progress(step))
                    tell("saved", claim.entry.id, step)
                await store.finish(claim.token, Done())
                tell("done", claim.entry.id)
            except LeaseLost:
                tell("lost", claim.entry.id)
        await asyncio.sleep(0.001)


async def main(kind: str, place: str, *more: str) -> None:
    store: Store
    if kind == "postgresql":
        from orthanc_async._durable.postgres import PostgresStore

        store = PostgresStore(place, server=str(os.getpid()), schema=more[0])
    else:
        store = SQLiteStore(Path(place), server="child")
    await store.open()
    tell("open", os.getpid())
    if kind == "fork" and os.fork() == 0:
        os.close(1)  # or the parent of its parent would wait for it
        time.sleep(30)  # noqa: ASYNC251 - it has no loop
        os._exit(0)
    if kind in ("hold", "fork"):
        await asyncio.sleep(1000)
    elif kind == "full":
        await fill(store, Path(store.description))
    else:
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(add(store, f"{os.getpid()}-{number}"))
                group.create_task(work(store))


async def fill(store: Store, path: Path) -> None:
    """Let no file grow beyond a limit, until that hurts; then lift it and go on."""
    most = path.stat().st_size + 200_000  # noqa: ASYNC240
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    for number in range(1000):
        entries = [NewEntry("q", f"{number}-{part}", "x" * 1000) for part in range(3)]
        try:
            added = await store.add(entries)
        except StoreError as error:
            tell("failed", error)
            break
        for one in added:
            tell("added", one.id)
    assert await store.add([NewEntry("q", "0-0", 0)])  # known: nothing to write
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for one in await store.add(entries):
        assert one.new, "something of what has failed was written"
        tell("added", one.id)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
