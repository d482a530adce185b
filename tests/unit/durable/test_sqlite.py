"""What the SQLite store does beyond what every store promises: its file, its lock, its time."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async._durable import schema, sqlite, sqlite_file, sqlite_thread
from orthanc_async._durable.sqlite import SQLiteStore
from orthanc_async._durable.store import (
    FINISHED,
    Claim,
    Done,
    Progress,
    State,
    StoreDamagedError,
    StoreError,
    StoreLockedError,
    Subscription,
)
from store_children import child, told
from unit.durable.sqlite_files import NAME, filled, new

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """Open a store."""
    store = SQLiteStore(tmp_path, server="one")
    await store.open()
    yield store
    await store.close()


async def refused(folder: Path) -> str:
    """Return the error of opening a second store."""
    second = SQLiteStore(folder, server="two")
    with pytest.raises(StoreLockedError) as caught:
        await second.open()
    await second.close()
    return str(caught.value)


# --- the lock


async def test_second_server(tmp_path: Path) -> None:
    """A second server is refused by a text that names the first; its kill ends the lock."""
    with child("hold", tmp_path) as process:
        text = await refused(tmp_path)
        assert str(tmp_path / NAME) in text
        assert f"process {process.pid} on {socket.gethostname()} (child)" in text
        process.kill()
        process.wait()
        store = SQLiteStore(tmp_path, server="two")
        await store.open()
        await store.close()


async def test_lock_file_removed(tmp_path: Path) -> None:
    """Somebody removes the lock file: the database itself is locked too."""
    with child("hold", tmp_path):
        (tmp_path / f"{NAME}.lock").unlink()
        assert str(tmp_path / NAME) in await refused(tmp_path)


async def test_second_store_of_a_process(opened: SQLiteStore, tmp_path: Path) -> None:
    """Two stores of one process exclude each other, and trying does not end the first's lock."""
    assert f"process {os.getpid()}" in await refused(tmp_path)
    with pytest.raises(AssertionError), child("hold", tmp_path):
        pass
    await opened.add([new(1)])
    await opened.close()
    await opened.open()
    assert len(await opened.entries()) == 1


async def test_forked_child_has_no_lock(tmp_path: Path) -> None:
    """A forked child that outlives the server does not keep others out."""
    with child("fork", tmp_path) as process:
        assert "process" in await refused(tmp_path)
        process.kill()
        process.wait()
        store = SQLiteStore(tmp_path, server="two")
        await store.open()
        await store.close()


async def test_open_cancelled(tmp_path: Path) -> None:
    """Who is cancelled while it opens leaves nothing locked."""
    store = SQLiteStore(tmp_path, server="one")
    for _ in range(5):
        task = asyncio.ensure_future(store.open())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(StoreError, match="not open"):
            await store.add([])
    other = SQLiteStore(tmp_path, server="two")
    await other.open()
    await other.close()


async def test_closed(opened: SQLiteStore) -> None:
    """Closing lets what was asked for before end; afterwards nothing goes; opening helps."""
    adding = [asyncio.ensure_future(opened.add([new(number)])) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(opened.close(), opened.close())
    assert all(added[0].new for added in await asyncio.gather(*adding))
    with pytest.raises(StoreError, match=NAME):
        await opened.entries()
    await opened.close()
    await opened.open()
    await opened.open()
    assert len(await opened.entries()) == 20


async def test_folder_rights(tmp_path: Path) -> None:
    """A folder that cannot be made is an error that names it; what is made is for the owner."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "none" / "none"):
        with pytest.raises(StoreError, match=str(folder)):
            await SQLiteStore(folder, server="one").open()
    store = SQLiteStore(tmp_path / "new", server="one")
    await store.open()
    assert {file.stat().st_mode & 0o077 for file in (tmp_path / "new").iterdir()} == {0}
    await store.close()


async def test_written_through(opened: SQLiteStore) -> None:
    """Every commit waits for the disk."""

    def look(connection: sqlite3.Connection) -> list[object]:
        names = ("synchronous", "journal_mode", "locking_mode")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await opened._thread.run(look) == [2, "wal", "exclusive"]


# --- the time


async def test_clock_set_back(tmp_path: Path) -> None:
    """The time goes on from the latest in the file: delays are not waited for again."""
    store = SQLiteStore(tmp_path, server="one", clock=lambda: 2e9)
    await store.open()
    [first, _] = await store.add([new("first"), new("later", delay=100)])
    [claim] = await store.claim({"q": 9}, 60)
    await store.close()
    store = SQLiteStore(tmp_path, server="one", clock=lambda: 1e9)
    await store.open()
    entry = await store.entry(first.id)
    assert entry is not None
    assert (entry.state, entry.interruptions) == (State.WAITING, 1)
    assert entry.changed_at >= claim.entry.changed_at >= entry.created_at >= 2e9
    later = (await store.entries())[0]
    assert 0 < later.due_in <= 100
    assert [claim.entry.id for claim in await store.claim({"q": 9}, 60)] == [first.id]
    await store.close()
    store = SQLiteStore(tmp_path, server="one", clock=lambda: 2e9 + 1000)
    await store.open()
    assert [entry.due_in for entry in await store.entries()] == [0, 0]
    await store.close()


async def test_clock_set_back_after_purge(tmp_path: Path) -> None:
    """The latest time is known even if nothing is left that has it."""
    store = SQLiteStore(tmp_path, server="one", clock=lambda: 2e9)
    await store.open()
    [added] = await store.add([new("a")])
    await asyncio.sleep(0.05)
    await store.cancel([added.id])
    cancelled = await store.entry(added.id)
    assert await store.purge(queue=None, states=FINISHED, older=0, keep_keys=False) == 1
    await store.close()
    store = SQLiteStore(tmp_path, server="one", clock=lambda: 1e9)
    await store.open()
    await store.add([new("b")])
    assert cancelled is not None
    assert (await store.entries())[0].created_at >= cancelled.changed_at >= 2e9
    await store.close()


# --- the schema


async def test_newer_schema(tmp_path: Path) -> None:
    """A file of a newer version is refused, and not touched."""
    path = await filled(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreDamagedError, match=r"newer version .*99") as caught:
        await SQLiteStore(tmp_path, server="one").open()
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def version_1(folder: Path) -> Path:
    path = folder / NAME
    connection = sqlite3.connect(path)
    connection.executescript(Path(__file__).with_name("sqlite_version_1.sql").read_text())
    connection.close()
    return path


def structure(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(
        'SELECT tables.name, columns.name, columns.type, columns."notnull" FROM sqlite_schema '
        "AS tables JOIN pragma_table_info(tables.name) AS columns ORDER BY 1, 2"
    ).fetchall()
    rows += connection.execute("SELECT type, name FROM sqlite_schema ORDER BY 1, 2").fetchall()
    connection.close()
    return rows


async def test_older_schema(tmp_path: Path) -> None:
    """A file of an older version is brought up to date with all that it holds."""
    path = version_1(tmp_path)
    store = SQLiteStore(tmp_path, server="one")
    await store.open()
    entries = {entry.key: entry for entry in await store.entries()}
    assert {key: entry.state for key, entry in entries.items()} == {
        "done": State.DONE,
        "dead": State.DEAD,
        "running": State.WAITING,
        "waiting": State.WAITING,
    }
    assert entries["done"].payload == {"n": 1}
    assert entries["dead"].resume == {"at": 1}
    running = entries["running"]
    assert (running.interruptions, running.resume) == (3, "half")
    assert (running.progress, running.server) == (Progress(1, 2, 5), None)
    assert await store.subscriptions() == [Subscription("p", 42, "20260101T000000")]
    claims = await store.claim({"q": 9, "p": 9}, 60)
    assert [claim.entry.key for claim in claims] == ["waiting", "running"]
    for claim in claims:
        await store.finish(claim.token, Done())
    await store.close()
    new_folder = tmp_path / "new"
    fresh = SQLiteStore(new_folder, server="one")
    await fresh.open()
    await fresh.close()
    assert structure(path) == structure(new_folder / NAME)


async def test_upgrade_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade that fails half-way leaves the older version, which can be upgraded later."""
    path = version_1(tmp_path)
    before = structure(path)
    with monkeypatch.context() as context:
        context.setattr(schema, "SQLITE", (*schema.SQLITE, ("CREATE TABLE entry (id)",)))
        with pytest.raises(StoreError, match=str(path)):
            await SQLiteStore(tmp_path, server="one").open()
    assert structure(path) == before
    store = SQLiteStore(tmp_path, server="one")
    await store.open()
    assert len(await store.entries()) == 4
    await store.close()


# --- crashes


async def test_killed(tmp_path: Path, long_form: bool) -> None:  # noqa: FBT001
    """What was promised before a `kill -9` is there after it, again and again."""
    seed = int(os.environ.get("ORTHANC_ASYNC_SEED", "0")) or random.randrange(1, 2**32)
    print(f"ORTHANC_ASYNC_SEED={seed}")
    moments = random.Random(seed)
    added: set[int] = set()
    done: set[int] = set()
    saved: dict[int, int] = {}
    for _ in range(50 if long_form else 6):
        with child("sqlite", tmp_path) as process:
            await asyncio.sleep(moments.uniform(0, 0.6))
            process.kill()
            for word, number, *rest in told(process):
                if word == "added":
                    added.add(int(number))
                elif word == "done":
                    done.add(int(number))
                elif word == "saved":
                    saved[int(number)] = int(rest[0])
        store = SQLiteStore(tmp_path, server="one")
        await store.open()
        entries = {entry.id: entry for entry in await store.entries(limit=1_000_000)}
        await store.close()
        assert added <= entries.keys()
        assert all(entries[number].state is State.DONE for number in done)
        assert all(
            entry.resume >= saved[number]
            for number, entry in entries.items()
            if entry.state is State.WAITING and number in saved
        )
        assert not any(entry.state is State.RUNNING for entry in entries.values())
    assert added
    assert done


# --- many at once


async def test_group_commit(opened: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for while a commit runs shares the next one; errors stay with their own."""
    await opened.add([new(number) for number in range(65)])
    claims: list[Claim] = await opened.claim({"q": 65}, 60)
    groups: list[int] = []
    transact = sqlite_thread.SQLiteThread._transact

    def counting(self: Any, connection: Any, group: list[Any]) -> None:
        groups.append(len(group))
        transact(self, connection, group)

    monkeypatch.setattr(sqlite_thread.SQLiteThread, "_transact", counting)
    going = threading.Event()
    busy = threading.Event()

    def wait(_: object) -> None:
        busy.set()
        assert going.wait(20)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE entry SET queue = 'x'")
        raise ValueError("own")

    first = asyncio.ensure_future(opened._thread.run(wait))
    await asyncio.to_thread(busy.wait, 20)
    calls = [
        *(opened.save(claim.token, 1, Progress(1)) for claim in claims),
        opened._thread.run(fail),
    ]
    together = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    going.set()
    await first
    results = await asyncio.gather(*together, return_exceptions=True)
    assert groups == [1, 66]
    assert results[:-1] == [None] * 65
    assert isinstance(results[-1], ValueError)
    assert {(entry.queue, entry.resume) for entry in await opened.entries()} == {("q", 1)}


async def test_group_that_fails(opened: SQLiteStore) -> None:
    """A transaction that fails is done again one by one: only who is to blame has the error."""

    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE entry SET queue = 'x'")
        connection.execute("INSERT INTO entry (id) VALUES (1)")

    going = threading.Event()
    first = asyncio.ensure_future(opened._thread.run(lambda _: going.wait(20)))
    await asyncio.sleep(0.01)
    calls: list[Any] = [opened.add([new(1)]), opened._thread.run(wrong), opened.add([new(2)])]
    together = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    going.set()
    await first
    results = await asyncio.gather(*together, return_exceptions=True)
    assert [isinstance(result, StoreError) for result in results] == [False, True, False]
    assert {(entry.queue, entry.key) for entry in await opened.entries()} == {
        ("q", "1"), ("q", "2"),
    }  # fmt: skip


async def test_cancelled_write_is_done(opened: SQLiteStore) -> None:
    """A change whose caller is cancelled is made nevertheless; the caller knows neither."""
    task = asyncio.ensure_future(opened.add([new("a")]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [entry.key for entry in await opened.entries()] == ["a"]


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (sqlite.CLAIM, ("q", 2e9, 5), "entry_open"),
        (sqlite.NEXT_DUE, ("q",), "entry_open"),
        (sqlite.PAGE, ("q", "done", 9, 5), "entry_listed"),
        (sqlite.OLDEST, ("q", "waiting"), "entry_listed"),
        (sqlite.QUEUE_AFTER, ("",), "entry_listed"),
        (sqlite.COUNT, (), "entry_listed"),
        (sqlite_file.TAKE_BACK, (1, 1), "entry_changed"),
        (sqlite.purged(by_queue=True), {}, "entry_changed"),
        (sqlite.purged(by_queue=False), {}, "entry_changed"),
    ],
)
async def test_indexes(tmp_path: Path, statement: str, values: Any, index: str) -> None:
    """Whatever runs often finds its rows by an index, and in order: no sorting of all."""
    path = await filled(tmp_path)
    if isinstance(values, dict):
        values = {"state": "done", "until": 2e9, "queue": "q", "limit": 9}
    connection = sqlite3.connect(path)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    connection.close()
    assert any(index in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
    if statement != sqlite.COUNT:
        assert all(step.startswith("SEARCH") for step in plan), plan
