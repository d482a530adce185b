"""The PostgreSQL store when its server is restarted, hangs, or takes no writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import postgresql
import psycopg
import pytest
from orthanc_async._durable.postgres import PostgresStore
from orthanc_async._durable.store import (
    Done,
    NewEntry,
    Progress,
    State,
    StoreDamagedError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MOST = 12  # connections; three of them are kept for superusers
PASSWORD = "geheim"


def new(key: object, payload: object = None) -> NewEntry:
    return NewEntry("q", str(key), payload)


@pytest.fixture(scope="module")
def server() -> Iterator[postgresql.Server]:
    """Run a server whose users need a password."""
    with postgresql.server(f"max_connections={MOST}") as server:
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all archive scram-sha-256\n{rules.read_text()}")
        execute(
            server,
            f"CREATE ROLE archive LOGIN PASSWORD '{PASSWORD}'",
            "GRANT CREATE ON DATABASE postgres TO archive",
            "SELECT pg_reload_conf()",
        )
        yield server


def execute(server: postgresql.Server, *statements: str) -> None:
    """Run statements as the superuser."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        # How those say it that mend it, too.
        connection.execute("SET default_transaction_read_only = off")
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
async def store(server: postgresql.Server) -> AsyncIterator[PostgresStore]:
    """Open an empty store as a user with a password."""
    execute(server, "DROP SCHEMA IF EXISTS orthanc_async CASCADE")
    url = server.url.replace(f"{postgresql.USER}@", f"archive:{PASSWORD}@")
    store = PostgresStore(url, server="one")
    await store.open()
    yield store
    await store.close()


async def fails(store: PostgresStore, key: str, *words: str) -> None:
    """Wait until adding fails; check that its error says where, and each of these words."""
    async with asyncio.timeout(20):
        while True:
            try:
                await store.add([new(key)])
            except StoreError as error:
                text = str(error)
                break
            await asyncio.sleep(0.01)
    for word in (store._pool.description, *words):
        assert word in text
    assert PASSWORD not in text


async def works(store: PostgresStore, key: str) -> None:
    """Wait until adding does not fail any more."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(StoreError):
                await store.add([new(key)])
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("crash", [False, True], ids=["fast", "immediate"])
async def test_restarted(store: PostgresStore, server: postgresql.Server, crash: bool) -> None:  # noqa: FBT001
    """A restart is an error only while it lasts, and what was claimed is still ours after it."""
    await store.add([new(1), new(2)])
    claims = await store.claim({"q": 2}, 60)
    server.stop(crash=crash)
    try:
        await fails(store, "away")
    finally:
        server.start()
    assert await store.renew([claim.token for claim in claims], 60) == set()
    await asyncio.gather(*(store.save(claim.token, 1, Progress(1)) for claim in claims))
    await asyncio.gather(*(store.finish(claim.token, Done()) for claim in claims))
    # All connections are idle when they are lost: nobody notices.
    await asyncio.gather(*(store.counts() for _ in range(8)))
    server.stop(crash=crash)
    server.start()
    assert (await store.counts())["q"].states == {State.DONE: 2}


async def test_no_writes(store: PostgresStore, server: postgresql.Server) -> None:
    """A server that is read-only is named as such; reading goes on, and writing after it."""
    await store.add([new("a")])
    execute(
        server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
    )
    try:
        await fails(store, "b", "default_transaction_read_only")
        # Its connection was given up, for one to a server that takes writes.
        await fails(store, "b", "session is read-only", "default_transaction_read_only")
    finally:
        execute(
            server, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"
        )
    await works(store, "b")


async def test_no_connections(store: PostgresStore, server: postgresql.Server) -> None:
    """Without a free connection the error says what to raise."""
    await store._pool.close()
    store._pool.open()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):
            for _ in range(MOST):
                stack.enter_context(psycopg.connect(server.url))
        await fails(store, "a", "max_connections")
    await works(store, "a")


async def test_password_changed(store: PostgresStore, server: postgresql.Server) -> None:
    """A password that is right no longer is an error for new connections, and names its place."""
    execute(server, "ALTER ROLE archive PASSWORD 'another'")
    try:
        await store.add([new("a")])
        await store._pool._forget_idle()
        await fails(store, "b", "password", '"Python.Store"')
    finally:
        execute(server, f"ALTER ROLE archive PASSWORD '{PASSWORD}'")
    await works(store, "b")


async def test_schema_dropped(store: PostgresStore, server: postgresql.Server) -> None:
    """A schema that is gone is said to be damaged; restored, it is used; else opening makes it."""
    await store.add([new("a")])
    execute(server, "ALTER SCHEMA orthanc_async RENAME TO backup")
    with pytest.raises(StoreDamagedError, match=r"restore it .* start Orthanc anew"):
        await store.add([new("b")])
    execute(server, "ALTER SCHEMA backup RENAME TO orthanc_async")
    await store.add([new("b")])
    assert [entry.key for entry in await store.entries()] == ["b", "a"]
    execute(server, "DROP SCHEMA orthanc_async CASCADE")
    with pytest.raises(StoreDamagedError):
        await store.counts()
    await store.close()
    await store.open()
    assert await store.counts() == {}


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a disk of 4 MB."""
    folder = Path(tempfile.mkdtemp(prefix="orthanc-async-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=4M", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        if not mounted:
            pytest.skip("no right to mount")
        postgresql.give_away(folder)
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


async def test_full_disk(
    store: PostgresStore, server: postgresql.Server, small_disk: Path
) -> None:
    """On a full disk every large change fails, reading goes on, and nothing is lost."""
    await store.add([new("first")])
    [claim] = await store.claim({"q": 1}, 60)
    execute(
        server,
        f"CREATE TABLESPACE small LOCATION '{small_disk}'",
        "ALTER TABLE orthanc_async.entry SET TABLESPACE small",
    )
    try:
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        text, added = "", 0
        while not text:
            try:
                added += len(await store.add([new(added, "x" * 1000)]))
            except StoreError as error:
                text = str(error)
        for word in (store._pool.description, "No space left", "make room"):
            assert word in text
        assert len(await store.entries(limit=1000)) == added + 1
        ballast.unlink()
        await store.add([new(f"more{number}", "x" * 1000) for number in range(100)])
        await store.finish(claim.token, Done())
        assert len(await store.entries(limit=1000)) == added + 101
    finally:
        await store.close()
        execute(server, "DROP SCHEMA orthanc_async CASCADE", "DROP TABLESPACE small")


async def test_session_hangs(store: PostgresStore, server: postgresql.Server) -> None:
    """Sessions that say nothing any more are given up in time for a lease, for others."""
    await asyncio.gather(*(store.add([new(number)]) for number in range(8)))
    [claim] = await store.claim({"q": 1}, 60)
    with psycopg.connect(server.url) as connection:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'archive'")
        numbers = [row[0] for row in found.fetchall()]
    assert len(numbers) > 1
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    try:
        async with asyncio.timeout(15):
            with pytest.raises(StoreError, match="does not answer"):
                await store.renew([claim.token], 1.5)
            # All that were idle were given up with the one.
            assert await store.renew([claim.token], 60) == set()
            assert len(await store.claim({"q": 99}, 60)) == 7
    finally:
        for number in numbers:
            os.kill(number, signal.SIGCONT)
    await store.finish(claim.token, Done())
