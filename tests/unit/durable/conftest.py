"""The stores that the tests run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from orthanc_async._durable.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orthanc_async._durable.store import Store


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open an empty store of each kind."""
    store: Store = SQLiteStore(tmp_path, server="one")
    await store.open()
    yield store
    await store.close()
