"""What the SQLite store does beyond what every store promises: its file, its lock, its time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import sqlite3
import subprocess
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
    NewEntry,
    Progress,
    State,
    StoreDamagedError,
    StoreError,
    StoreLockedError,
    Subscription,
)
from store_children import child, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NAME = "orthanc-async.db"


def new(key: object, queue: str = "q", **fields: Any) -> NewEntry:
    return NewEntry(queue, str(key), fields.pop("payload", None), **fields)


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


# --- damage


async def filled(folder: Path) -> Path:
    """Return a closed file with many entries in it."""
    store = SQLiteStore(folder, server="one")
    await store.open()
    await store.add([new(number, payload="x" * 1000) for number in range(500)])
    await store.close()
    return folder / NAME


def overwrite(path: Path, offset: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(1).randbytes(length))


@pytest.mark.parametrize("part", ["header", "middle", "end", "text"])
async def test_damaged(tmp_path: Path, part: str) -> None:
    """A damaged file is an error that names it and what helps, and is left as it is."""
    path = await filled(tmp_path)
    size = path.stat().st_size
    if part == "header":
        overwrite(path, 0, 100)
    elif part == "middle":
        overwrite(path, size // 2, 20_000)
    elif part == "end":
        os.truncate(path, size - 50_000)
    else:
        path.write_text("something else entirely\n" * 100)
    before = path.read_bytes()
    store = SQLiteStore(tmp_path, server="one")
    with pytest.raises(StoreDamagedError) as caught:
        await store.open()
    for word in (str(path), "move it away", "is lost"):
        assert word in str(caught.value)
    assert path.read_bytes() == before
    path.rename(path.with_name("away"))
    await store.open()
    assert await store.entries() == []
    await store.close()


async def test_damage_found_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not seen at opening, in a large file, is an error where it is met."""
    path = await filled(tmp_path)
    monkeypatch.setattr(sqlite_file, "CHECKED", 0)
    overwrite(path, path.stat().st_size // 2, 20_000)
    store = SQLiteStore(tmp_path, server="one")
    await store.open()
    with pytest.raises(StoreDamagedError, match=str(path)):
        await store.entries(limit=1000)
    assert await store.entry(1) is not None, "the rest is still there"
    await store.close()


@pytest.mark.parametrize(
    "change",
    ["state = 'x'", "payload = '{'", "payload = x'ff'", "error = cast(x'ff' AS text)"],
)
async def test_damaged_entry(tmp_path: Path, change: str) -> None:
    """An entry that says nonsense is named."""
    path = await filled(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE entry SET {change} WHERE id = 7")
    connection.close()
    store = SQLiteStore(tmp_path, server="one")
    await store.open()
    with pytest.raises(StoreDamagedError, match=str(path)):
        await store.entry(7)
    await store.close()


async def test_foreign_database(tmp_path: Path) -> None:
    """Another program's database is not touched."""
    path = tmp_path / NAME
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entry (id)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreDamagedError, match="another program"):
        await SQLiteStore(tmp_path, server="one").open()
    assert path.read_bytes() == before


# --- a full disk


async def test_file_too_large(tmp_path: Path) -> None:
    """What cannot be written is an error and leaves nothing; with room again, it goes on."""
    with child("full", tmp_path) as process:
        lines = told(process)
        assert process.wait() == 0
    failed = [" ".join(line) for line in lines if line[0] == "failed"]
    assert len(failed) == 1
    assert str(tmp_path / NAME) in failed[0]
    added = {int(line[1]) for line in lines if line[0] == "added"}
    assert len(added) > 3
    store = SQLiteStore(tmp_path, server="one")
    await store.open()
    assert {entry.id for entry in await store.entries(limit=10_000)} == added
    await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2M", "none", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no right to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


async def test_full_disk(small_disk: Path) -> None:
    """On a full disk every change fails, nothing is lost, and reading goes on."""
    store = SQLiteStore(small_disk, server="one")
    await store.open()
    await store.add([new("first"), new("second")])
    [claim] = await store.claim({"q": 1}, 60)
    ballast = small_disk / "ballast"
    fill_up(ballast)
    with pytest.raises(StoreError) as caught:
        await store.add([new("large", payload="x" * 500_000)])
    for word in (str(small_disk / NAME), "full", "make room"):
        assert word in str(caught.value)
    assert {entry.key for entry in await store.entries()} == {"first", "second"}
    # Many at once: those that find room are written, the others are not.
    results = await asyncio.gather(
        *(store.add([new(number, payload="x" * 20_000)]) for number in range(20)),
        return_exceptions=True,
    )
    assert any(isinstance(result, StoreError) for result in results)
    keys = {entry.key for entry in await store.entries()} - {"first", "second"}
    assert keys == {str(n) for n, result in enumerate(results) if isinstance(result, list)}
    ballast.unlink()
    await store.finish(claim.token, Done())
    assert (await store.add([new("large", payload="x" * 500_000)]))[0].new
    await store.close()
    await store.open()
    assert len(await store.entries()) == 3 + len(keys)
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
