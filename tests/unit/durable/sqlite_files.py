"""Files of the SQLite store for its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orthanc_async._durable.sqlite import SQLiteStore
from orthanc_async._durable.store import NewEntry

if TYPE_CHECKING:
    from pathlib import Path

NAME = "orthanc-async.db"


def new(key: object, queue: str = "q", **fields: Any) -> NewEntry:
    return NewEntry(queue, str(key), fields.pop("payload", None), **fields)


async def filled(folder: Path) -> Path:
    """Return a closed file with many entries in it."""
    store = SQLiteStore(folder, server="one")
    await store.open()
    await store.add([new(number, payload="x" * 1000) for number in range(500)])
    await store.close()
    return folder / NAME
