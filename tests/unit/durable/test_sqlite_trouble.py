"""The SQLite store with a file that is damaged, and on a disk that is full."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from typing import TYPE_CHECKING

import disks
import pytest
from orthanc_async._durable import sqlite_file
from orthanc_async._durable.sqlite import SQLiteStore
from orthanc_async._durable.store import Done, StoreDamagedError, StoreError
from store_children import child, told
from unit.durable.sqlite_files import NAME, filled, new

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# --- damage


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


async def test_moved_away(tmp_path: Path) -> None:
    """A file that was moved away, or replaced, is noticed, and another one can be begun."""
    path = await filled(tmp_path)
    store = SQLiteStore(tmp_path, server="one")
    await store.open()
    assert not await store.moved()
    path.rename(tmp_path / "away")
    assert await store.moved()
    path.touch()
    assert await store.moved()
    await store.close()
    await store.open()
    assert not await store.moved()
    assert await store.entries() == []
    await store.close()


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
def small_disk() -> Iterator[Path]:
    """A disk of 2 MB."""
    with disks.small_disk() as folder:
        yield folder


async def test_full_disk(small_disk: Path) -> None:
    """On a full disk every change fails, nothing is lost, and reading goes on."""
    store = SQLiteStore(small_disk, server="one")
    await store.open()
    await store.add([new("first"), new("second")])
    [claim] = await store.claim({"q": 1}, 60)
    ballast = small_disk / "ballast"
    disks.fill_up(ballast)
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


async def test_folders_that_cannot_be(tmp_path: Path) -> None:
    """A folder whose parent is not there, and a file in its place, are named with what helps."""
    (tmp_path / "file").touch()
    for folder, words in (
        (tmp_path / "none" / "store", r"none/store cannot be made.*has no none: make it.*Python"),
        (tmp_path / "file", r"file is no folder.*Python\.Store"),
    ):
        store = SQLiteStore(folder, server="a")
        with pytest.raises(StoreError, match=words):
            await store.open()
        await store.close()
