"""Entries that were cancelled where what they have begun could not be ended.

Another server may have cancelled an entry, and only this one can end what its last attempt has
begun; or a crash may have come between the cancellation and that. Thread: the loop's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orthanc_async._durable import queues
from orthanc_async._durable.store import State

if TYPE_CHECKING:
    from orthanc_async._durable.engine import Engine

EVERY = 10.0  # seconds
MOST = 1000  # entries that are looked at, the newest


async def watch(engine: Engine) -> None:
    """Tell of them: once at the start, and again and again where other servers cancel too."""
    store = engine.store
    told: set[tuple[int, float]] = set()
    while True:
        found = await store.entries(states={State.CANCELLED}, limit=MOST)
        cancelled = {(entry.id, entry.changed_at): entry.resume for entry in found}
        for one, resume in cancelled.items():
            if one not in told:
                await queues.abandon(resume)
        told = set(cancelled)
        if not store.shared:
            return
        await asyncio.sleep(EVERY)
