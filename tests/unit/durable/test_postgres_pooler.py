"""The PostgreSQL store behind pgbouncer, which lends sessions for one transaction each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import postgresql
import psycopg
import pytest
from orthanc_async._durable.postgres import PostgresStore
from orthanc_async._durable.store import Done, NewEntry, Progress, State
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORT = 6432  # of a socket in a folder of the test's own
SESSIONS = 2


@pytest.fixture
def pooler(postgresql_folder: Path) -> Iterator[str]:
    """Run pgbouncer in front of a database of its own; give the URL."""
    direct = postgresql.Database(postgresql.url(postgresql_folder), "orthanc_async")
    direct.execute("CREATE DATABASE pooled")
    direct.execute("ALTER DATABASE pooled SET synchronous_commit = off")
    folder = postgresql.Server()  # not started: only its folder, and its user
    configuration = folder.folder / "pgbouncer.ini"
    configuration.write_text(
        f"""
        [databases]
        pooled = host={postgresql_folder} user={postgresql.USER}
        [pgbouncer]
        listen_addr =
        listen_port = {PORT}
        unix_socket_dir = {folder.folder}
        auth_type = any
        pool_mode = transaction
        default_pool_size = {SESSIONS}
        server_check_query = select 1
        """
    )
    process = folder.popen("/usr/sbin/pgbouncer", "-q", configuration)
    url = f"{postgresql.url(folder.folder, 'pooled')}&port={PORT}"
    try:
        wait_until(lambda: _answers(url), "pgbouncer to start")
        yield url
    finally:
        process.terminate()
        process.wait(10)
        folder.remove()
        direct.execute("DROP DATABASE pooled WITH (FORCE)")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


async def test_transactions(pooler: str, postgresql_folder: Path) -> None:
    """All works in sessions that change, with no setting left in them, and none listens."""
    stores = [PostgresStore(pooler, server=name) for name in ("one", "two")]
    await asyncio.gather(*(store.open() for store in stores))
    taken: list[int] = []

    async def work(store: PostgresStore) -> None:
        while claims := await store.claim({"q": 3}, 60):
            taken.extend(claim.entry.id for claim in claims)
            await store.renew([claim.token for claim in claims], 60)
            for claim in claims:
                await store.save(claim.token, 1, Progress(1))
                await store.finish(claim.token, Done())

    changes = asyncio.ensure_future(stores[1].changed())
    # More often than psycopg takes to prepare a statement.
    for number in range(30):
        await stores[0].add([NewEntry("q", str(number), number)])
    await asyncio.gather(*(work(store) for store in stores for _ in range(4)))
    assert len(taken) == len(set(taken)) == 30
    assert (await stores[1].counts())["q"].states == {State.DONE: 30}
    assert len(await stores[0].entries(limit=7)) == 7
    assert await stores[0].lead(60)
    await stores[0].subscribe("s", 1, "")
    assert await stores[0].advance({"s": 2}, [NewEntry("q", "x", 1)]) == 1
    assert not changes.done()
    changes.cancel()
    limits = "SHOW statement_timeout"
    with psycopg.connect(pooler, autocommit=True) as one, psycopg.connect(pooler) as other:
        # Two transactions at once: both sessions are seen.
        other.execute("SELECT 1")
        assert one.execute(limits).fetchone() == other.execute(limits).fetchone() == ("0",)
        assert one.execute("SELECT * FROM pg_prepared_statements").fetchall() == []
        assert one.execute("SELECT pg_listening_channels()").fetchall() == []
    for store in stores:
        await store.close()


async def test_durable(pooler: str) -> None:
    """Within a transaction the limits hold, and its commit waits for the disk."""
    store = PostgresStore(pooler, server="one")
    await store.open()
    rows = await store._all(
        "SELECT current_setting('synchronous_commit'), current_setting('statement_timeout'),"
        " current_setting('transaction_isolation')"
    )
    assert rows == [("on", "30s", "read committed")]
    await store.close()
