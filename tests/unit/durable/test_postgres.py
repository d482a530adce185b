"""What the PostgreSQL store does beyond what every store promises: several servers, one database.

The time is the database's throughout, so nothing here can set a clock back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from orthanc_async._durable import postgres_pool, postgres_sql
from orthanc_async._durable.postgres import PostgresStore
from orthanc_async._durable.store import (
    Done,
    LeaseLost,
    NewEntry,
    Progress,
    State,
    StoreDamagedError,
    StoreError,
    Subscription,
)
from store_children import child, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from postgresql import Database


def new(key: object, queue: str = "q", **fields: Any) -> NewEntry:
    return NewEntry(queue, str(key), fields.pop("payload", None), **fields)


@pytest.fixture
async def two(database: Database) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Open two stores on one schema."""
    stores = (database.store("one"), database.store("two"))
    await asyncio.gather(*(store.open() for store in stores))
    yield stores
    for store in stores:
        await store.close()


# --- several servers


async def test_no_double_claim(two: tuple[PostgresStore, PostgresStore]) -> None:
    """Many claimers of two servers get every entry once between them."""
    await two[0].add([new(number) for number in range(500)])
    taken: list[int] = []

    async def work(store: PostgresStore) -> None:
        while claims := await store.claim({"q": 3, "none": 9}, 60):
            taken.extend(claim.entry.id for claim in claims)
            await asyncio.gather(*(store.finish(claim.token, Done()) for claim in claims))

    await asyncio.gather(*(work(store) for store in two for _ in range(12)))
    assert len(taken) == len(set(taken)) == 500
    assert (await two[1].counts())["q"].states == {State.DONE: 500}


async def test_added_once(
    two: tuple[PostgresStore, PostgresStore], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that add the same keys at once, in any order, add them once and dead-lock not."""
    monkeypatch.setattr(postgres_pool, "DEADLOCKS", 1)
    keys = list(range(40))
    orders = [random.Random(number).sample(keys, 40) for number in range(8)]
    with psycopg.connect(database.url) as connection:
        # Until this is rolled back, each that comes to the key waits, with some keys in its hands.
        connection.execute(
            f"INSERT INTO {database.schema}.entry (queue, key, payload, state, due, created_at, "
            "changed_at) VALUES ('q', '20', '0', 'waiting', now(), now(), now())".encode()
        )
        adding = [
            asyncio.ensure_future(two[n % 2].add([new(key) for key in order]))
            for n, order in enumerate(orders)
        ]
        while database.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") < [(8,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        connection.rollback()
    results = await asyncio.gather(*adding)
    ids: dict[int, set[int]] = {}
    for order, added in zip(orders, results, strict=True):
        for key, one in zip(order, added, strict=True):
            ids.setdefault(key, set()).add(one.id)
    assert all(len(some) == 1 for some in ids.values())
    assert sum(one.new for added in results for one in added) == 40


async def test_killed(database: Database, long_form: bool) -> None:  # noqa: FBT001
    """One of two servers is killed in mid-flight, again and again: the other does its work."""
    seed = int(os.environ.get("ORTHANC_ASYNC_SEED", "0")) or random.randrange(1, 2**32)
    print(f"ORTHANC_ASYNC_SEED={seed}")
    moments = random.Random(seed)
    lines: list[list[str]] = []
    with child("postgresql", database.url, database.schema) as survivor:
        for _ in range(30 if long_form else 3):
            with child("postgresql", database.url, database.schema) as process:
                await asyncio.sleep(moments.uniform(0, 0.8))
                process.kill()
                lines += told(process)
        survivor.kill()
        lines += told(survivor)
    store = database.store()
    await store.open()
    # What the two have left running is free when its lease has run out.
    async with asyncio.timeout(60):
        while counts := (await store.counts()).get("q"):
            if not counts.states.keys() & {State.WAITING, State.RUNNING}:
                break
            for claim in await store.claim({"q": 500}, 60):
                assert claim.entry.payload is not None
                lines.append(["claimed", str(claim.entry.id), claim.token])
                await store.finish(claim.token, Done())
            await asyncio.sleep(0.05)
    entries = {entry.id: entry for entry in await store.entries(limit=1_000_000)}
    await store.close()
    said = {word: [line[1] for line in lines if line[0] == word] for word in ("added", "done")}
    assert {int(number) for number in said["added"]} <= entries.keys()
    assert len(said["done"]) == len(set(said["done"])), "done twice"
    assert all(entry.state is State.DONE for entry in entries.values())
    claims: dict[int, int] = {}
    for line in lines:
        if line[0] == "claimed":
            claims[int(line[1])] = claims.get(int(line[1]), 0) + 1
    # A claim whose line was cut off by the kill is not counted; each other one is explained.
    assert all(count <= 1 + entries[number].interruptions for number, count in claims.items())


async def test_lease_by_database(two: tuple[PostgresStore, PostgresStore]) -> None:
    """A lease ends by the database's clock, for both servers in the same moment."""
    await two[0].add([new("a")])
    [claim] = await two[0].claim({"q": 1}, 1.0)
    assert await two[1].claim({"q": 1}, 60) == []
    due = await two[1].next_due(["q"])
    assert due is not None
    assert 0 <= due <= 1
    async with asyncio.timeout(30):
        while not (taken := await two[1].claim({"q": 1}, 60)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert taken[0].entry.interruptions == 1
    assert taken[0].entry.server == "two"
    assert await two[0].renew([claim.token], 60) == {claim.token}
    with pytest.raises(LeaseLost):
        await two[0].save(claim.token, 1, Progress())
    await two[1].finish(taken[0].token, Done())


async def test_lead(two: tuple[PostgresStore, PostgresStore]) -> None:
    """One server leads, until its lease ends or it closes; who does not lead writes nothing."""
    one, other = two
    await one.subscribe("s", 1, "")
    with pytest.raises(LeaseLost):
        await one.advance({"s": 2}, [new("a")])
    assert (await one.lead(60), await other.lead(60), await one.lead(0)) == (True, False, True)
    assert await other.lead(60)
    with pytest.raises(LeaseLost):
        await one.advance({"s": 2}, [new("a")])
    assert await one.subscriptions() == [Subscription("s", 1, "")]
    assert await one.entries() == []
    assert await other.advance({"s": 2}, [new("a")]) == 1
    assert not await one.lead(60)
    await other.close()
    assert await one.lead(60)


async def test_lead_is_held(two: tuple[PostgresStore, PostgresStore], database: Database) -> None:
    """Nobody can become the leader while the changes of one that was are being written."""
    one, other = two
    await one.subscribe("s", 1, "")
    assert await one.lead(60)
    with psycopg.connect(database.url) as connection:
        connection.execute(f"SELECT 1 FROM {database.schema}.subscription FOR UPDATE".encode())
        advancing = asyncio.ensure_future(one.advance({"s": 2}, [new("a")]))
        while not database.execute(  # noqa: ASYNC110 - it waits for that row
            "SELECT 1 FROM pg_locks WHERE NOT granted"
        ):
            await asyncio.sleep(0.01)
        leading = asyncio.ensure_future(other.lead(60))
        await asyncio.sleep(0.2)
        assert not leading.done()
        connection.rollback()
    assert await advancing == 1
    assert not await leading


async def test_changed(two: tuple[PostgresStore, PostgresStore], database: Database) -> None:
    """What another server adds wakes this one, what it adds itself does not."""
    one, other = two
    waiting = asyncio.ensure_future(other.changed())
    while not database.execute(  # noqa: ASYNC110
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%{schema}%' AND state = 'idle'"
    ):
        await asyncio.sleep(0.01)
    await other.add([new("own")])
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.3)
    assert not waiting.done()
    await one.add([new("own")])  # known
    await one.add([new("other's")])
    await asyncio.wait_for(waiting, 20)
    [claim] = await one.claim({"q": 1}, 60)
    await one.cancel([claim.entry.id])
    await one.retry([claim.entry.id])
    await asyncio.wait_for(other.changed(), 20)  # one that came while nobody waited
    waiting = asyncio.ensure_future(other.changed())
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    terminate(database)
    with pytest.raises(StoreError):
        await asyncio.wait_for(other.changed(), 20)


# --- the connection


def terminate(database: Database) -> None:
    """End all sessions of stores."""
    database.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'orthanc-async'"
    )


async def test_connection_lost(database: Database) -> None:
    """A connection lost while idle is replaced; one lost in use is an error with its name."""
    store = database.store()
    await store.open()
    await asyncio.gather(*(store.add([new(number)]) for number in range(20)))
    terminate(database)
    assert (await store.add([new("a")]))[0].new
    with psycopg.connect(database.url) as connection:
        connection.execute(f"LOCK TABLE {database.schema}.entry".encode())
        adding = asyncio.ensure_future(store.add([new("b")]))
        while not database.execute(  # noqa: ASYNC110
            "SELECT 1 FROM pg_locks WHERE NOT granted"
        ):
            await asyncio.sleep(0.01)
        terminate(database)
        with pytest.raises(StoreError) as caught:
            await adding
    assert str(caught.value).startswith(store._pool.description)
    results = await asyncio.gather(*(store.add([new(f"b{n}")]) for n in range(20)))
    assert all(added.new for [added] in results)
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.counts()
    await store.open()
    assert len(await store.entries()) == 41
    await store.close()


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
async def test_no_database(answers: bool) -> None:  # noqa: FBT001
    """A server that refuses, or says nothing, is an error in time, without the password."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if not answers:
            listening.close()
        store = PostgresStore(
            f"postgresql://me:geheim@127.0.0.1:{port}/images?connect_timeout=2", server="one"
        )
        shown = f"postgresql://me@127.0.0.1:{port}/images"
        assert store.description == f"{shown} (schema orthanc_async)"
        with pytest.raises(StoreError) as caught:
            await store.open()
        await store.close()
    assert shown in str(caught.value)
    assert "geheim" not in str(caught.value)


async def test_lock_is_not_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that somebody keeps is an error in time, and the store works again after it."""
    session = postgres_pool.SESSION.replace("'20s'", "'200ms'")
    monkeypatch.setattr(postgres_pool, "SESSION", session)
    store = database.store()
    await store.open()
    with psycopg.connect(database.url) as connection:
        connection.execute(f"LOCK TABLE {database.schema}.entry".encode())
        with pytest.raises(StoreError, match="lock timeout"):
            await store.add([new("a")])
    assert (await store.add([new("a")]))[0].new
    await store.close()


async def test_cancelled_anywhere(database: Database) -> None:
    """Operations that are cancelled at any moment leave connections that are in order."""
    store = database.store()
    await store.open()
    for turn in range(60):
        task = asyncio.ensure_future(store.add([new(turn), new("common")]))
        await asyncio.sleep(turn * 0.0002)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    added = await store.add([new("common"), new("last")])
    assert added[1].new
    assert not database.execute(
        "SELECT 1 FROM pg_stat_activity "
        "WHERE application_name = 'orthanc-async' AND state LIKE 'idle in transaction%'"
    )
    await store.close()


async def test_durable_although_not_by_default(database: Database) -> None:
    """A commit waits for the disk, even where the database's default says otherwise."""
    pool = postgres_pool.PostgresPool(f"{database.url}&options=-csynchronous_commit%3Doff")
    pool.open()

    async def look(connection: Any) -> Any:
        return await (await connection.execute("SHOW synchronous_commit")).fetchone()

    assert await pool.run(look) == ("on",)
    await pool.close()


# --- the schema


async def test_opened_at_once(database: Database) -> None:
    """Servers that start at the same time make the schema once."""
    stores = [database.store(f"{number}") for number in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.close()


async def test_older_schema(database: Database) -> None:
    """A schema of an older version is brought up to date with all that it holds."""
    database.execute(Path(__file__).with_name("postgresql_version_1.sql").read_text())
    store = database.store()
    await store.open()
    entries = {entry.key: entry for entry in await store.entries()}
    assert (entries["done"].payload, entries["done"].progress) == (7, Progress(3, 3, 99))
    assert await store.subscriptions() == [Subscription("p", 42, "20260101T000000")]
    [claim] = await store.claim({"q": 9}, 60)
    assert (claim.entry.key, claim.entry.interruptions, claim.entry.resume) == (
        "running", 3, "half",
    )  # fmt: skip
    await store.finish(claim.token, Done())
    await store.close()
    fresh = database.store(schema=f"{database.schema}_fresh")
    await fresh.open()
    await fresh.close()
    structures = [
        database.execute(
            "SELECT table_name, column_name, data_type, is_nullable FROM "
            f"information_schema.columns WHERE table_schema = '{name}' ORDER BY 1, 2"
        )
        + database.execute(
            f"SELECT indexname, NULL FROM pg_indexes WHERE schemaname = '{name}' ORDER BY 1"
        )
        for name in (database.schema, f"{database.schema}_fresh")
    ]
    database.execute("DROP SCHEMA {schema}_fresh CASCADE")
    assert structures[0] == structures[1]


async def test_newer_schema(database: Database) -> None:
    """A schema of a newer version is refused by name."""
    store = database.store()
    await store.open()
    await store.close()
    database.execute("UPDATE {schema}.version SET version = 99")
    with pytest.raises(StoreDamagedError, match=r"newer version .*99"):
        await store.open()
    assert database.execute("SELECT version FROM {schema}.version") == [(99,)]


async def test_damaged_schema(database: Database) -> None:
    """A table that is gone is an error that says what helps."""
    store = database.store()
    await store.open()
    database.execute("DROP TABLE {schema}.entry")
    with pytest.raises(StoreDamagedError, match="drop it"):
        await store.add([new("a")])
    await store.close()


async def test_rights(database: Database) -> None:
    """Who may not make the schema is told so; in one that is there no such right is needed."""
    user = f"{database.schema}_user"
    database.execute(f"CREATE ROLE {user} LOGIN")
    limited = PostgresStore(
        database.url.replace("postgres@", f"{user}@"), server="one", schema=database.schema
    )
    with pytest.raises(StoreError, match="GRANT CREATE"):
        await limited.open()
    store = database.store()
    await store.open()
    await store.close()
    database.execute(
        f"GRANT USAGE ON SCHEMA {{schema}} TO {user}; "
        f"GRANT ALL ON ALL TABLES IN SCHEMA {{schema}} TO {user}; "
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {{schema}} TO {user}"
    )
    await limited.open()
    assert (await limited.add([new("a")]))[0].new
    await limited.close()
    database.execute(f"DROP OWNED BY {user}; DROP ROLE {user}")


def test_schema_name() -> None:
    """Only plain names can be schemas: they stand in statements."""
    with pytest.raises(ValueError, match="plain"):
        PostgresStore("postgresql:///x", server="one", schema='a"; DROP')


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (
            postgres_sql.claim([2, 300]),
            {"queue0": "q", "queue1": "p", "lease": 1, "nonce": "x", "server": "y"},
            "entry_open",
        ),
        (postgres_sql.NEXT_DUE, {"queues": ["q", "p"]}, "entry_open"),
        (
            postgres_sql.REMOVE,
            {"queue": None, "state": "waiting", "until": "now", "limit": 5},
            "entry_changed",
        ),
    ],
    ids=["claim", "next due", "purge"],
)
async def test_indexes(
    database: Database, statement: str, values: dict[str, Any], index: str
) -> None:
    """Whatever runs often finds its rows by an index among 20 000."""
    store = database.store()
    await store.open()
    await store.add([new(number) for number in range(20_000)])
    database.execute("ANALYZE {schema}.entry")

    async def explain(connection: Any) -> str:
        async with connection.transaction(force_rollback=True):
            rows = await connection.execute(store._sql(f"EXPLAIN {statement}"), values)
            return "\n".join(row[0] for row in await rows.fetchall())

    plan = await store._pool.run(explain)
    await store.close()
    assert index in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (postgres_sql.COUNTS, {}),
        (postgres_sql.entries(by_queue=False), {"states": ["dead"], "before": 9**18, "limit": 9}),
        (postgres_sql.entries(by_queue=True), {"queue": "q", "states": ["done"], "before": 7000}),
    ],
    ids=["counts", "a state of all queues", "a page of one queue"],
)
async def test_what_is_done_is_not_read(
    database: Database, statement: str, values: dict[str, Any]
) -> None:
    """Neither counting nor listing reads through the entries that are done, which are most."""
    store = database.store()
    await store.open()
    database.execute(
        "INSERT INTO {schema}.entry (queue, key, payload, state, due, created_at, changed_at) "
        "SELECT 'q', n, '0', CASE WHEN n % 1000 = 0 THEN 'waiting' ELSE 'done' END, "
        "now(), now(), now() FROM generate_series(1, 20000) AS n"
    )
    database.execute("VACUUM ANALYZE {schema}.entry")

    async def explain(connection: Any) -> str:
        rows = await connection.execute(
            store._sql(f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) {statement}"),
            {"limit": 9, **values},
        )
        return "\n".join(row[0] for row in await rows.fetchall())

    plan = await store._pool.run(explain)
    assert (await store.counts())["q"].states == {State.DONE: 19_980, State.WAITING: 20}
    await store.close()
    assert "using entry_listed" in plan
    assert "Seq Scan" not in plan
    read = [line for line in plan.splitlines() if "Index Only" not in line and " on entry" in line]
    assert all(int(rows) <= 20 for line in read for rows in re.findall(r"rows=(\d+)", line)), plan
