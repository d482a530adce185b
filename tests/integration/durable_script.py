"""What the tests of durable subscriptions share: deliveries go to a file, one a line."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import orthanc
from orthanc_async import on_startup, rest, tasks
from orthanc_async._durable import engine, reader


def note(kind: str, **more: Any) -> None:
    current = tasks.current()
    line = {"kind": kind, "key": current.key, "number": current.number, **more}
    with open("deliveries.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")


async def hold() -> None:
    # Held while the file is there, so that a test can kill Orthanc meanwhile.
    while os.path.exists("hold"):
        await asyncio.sleep(0.02)
    if os.path.exists("fail"):
        raise OSError("the file is there")


@on_startup
async def started() -> None:
    pass  # so that a route is served only once the store is open


def running() -> engine.Engine:
    one = engine.engine()
    assert one is not None
    return one


@rest.get("/entries")
async def entries(_request: rest.Request) -> list[dict[str, Any]]:
    store = running().store
    return [
        {
            "id": entry.id,
            "queue": entry.queue,
            "key": entry.key,
            "state": entry.state,
            "reason": entry.reason,
            "error": entry.error,
            "attempts": entry.attempts,
            "interruptions": entry.interruptions,
            "resource": entry.resource,
            "payload": entry.payload,
            "due_in": entry.due_in,
        }
        for entry in await store.entries(limit=1000)
    ]


@rest.get("/subscribed")
async def subscribed(_request: rest.Request) -> dict[str, Any]:
    # Answers once the subscriptions of the scripts have begun.
    while engine.engine() and reader._readers and not all(r._positions for r in reader._readers):
        await asyncio.sleep(0.02)
    return {}


@rest.get("/subscriptions")
async def subscriptions(_request: rest.Request) -> dict[str, int]:
    store = running().store
    return {known.name: known.cursor for known in await store.subscriptions()}


@rest.post("/retry/{id}")
async def retry(request: rest.Request) -> dict[str, bool]:
    return {"done": await tasks.retry(int(request.path["id"]))}


@rest.post("/cancel/{id}")
async def cancel(request: rest.Request) -> dict[str, bool]:
    return {"done": await tasks.cancel(int(request.path["id"]))}
