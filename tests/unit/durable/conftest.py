"""The stores that the tests run on, and what stands for Orthanc."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import postgresql
import pytest
from orthanc_async import _registry
from orthanc_async._durable.sqlite import SQLiteStore
from unit.durable.reader_fakes import FakeOrthanc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from orthanc_async._durable.store import Store

_numbers = itertools.count(1)


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """Let nothing that another test has declared be there, nor what this one does stay."""
    _registry.clear()
    yield
    _registry.clear()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """Put an Orthanc that is made up in the place of the real one."""
    return FakeOrthanc.put(monkeypatch)


@pytest.fixture(scope="session")
def postgresql_folder() -> Iterator[Path]:
    """Run PostgreSQL."""
    with postgresql.postgresql() as folder:
        yield folder


@pytest.fixture
def database(postgresql_folder: Path) -> Iterator[postgresql.Database]:
    """Name a schema that nobody else uses."""
    database = postgresql.Database(postgresql.url(postgresql_folder), f"test{next(_numbers)}")
    yield database
    database.execute("DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open an empty store of each kind."""
    store: Store
    if request.param == "sqlite":
        store = SQLiteStore(tmp_path, server="one")
    else:
        store = request.getfixturevalue("database").store()
    await store.open()
    yield store
    await store.close()
