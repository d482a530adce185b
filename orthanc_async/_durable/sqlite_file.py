"""The SQLite file: its lock, its schema, its state at opening, and its time."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

from orthanc_async._durable import records, schema
from orthanc_async._durable.file_lock import FileLock, identify
from orthanc_async._durable.sqlite_thread import damaged, explain
from orthanc_async._durable.store import StoreDamagedError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orthanc_async._durable.store import Entry

APPLICATION = 0x4F724173  # in the file's header: whose file it is
CHECKED = 64 << 20  # bytes; a larger file is not read through at opening: that takes seconds
WAL_KEPT = 16 << 20  # bytes
TAKE_BACK = (
    "UPDATE entry SET state = 'waiting', due = ?, token = NULL, "
    "interruptions = interruptions + 1, changed_at = ? WHERE state = 'running'"
)


class SQLiteFile:
    """Opens the file, and knows the time in it. Thread: the store's, but for `now` and `read`.

    It is locked twice: by a lock file beside it, which tells the holder's name, and by SQLite
    itself, which needs no second file. Both locks end with the process, and no forked child
    inherits them.
    """

    def __init__(self, path: Path, *, server: str, clock: Callable[[], float]) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), path, server)
        self._clock = clock
        self._base = 0.0
        self._identity = (0, 0)

    def now(self) -> float:
        """Return the store's time. Thread: any."""
        return self._base + time.monotonic()

    def stamp(self, connection: sqlite3.Connection) -> None:
        """Note the time in the file: it goes on from there, whatever the clock says then."""
        connection.execute("UPDATE clock SET latest = ?", (self.now(),))

    def read(self, row: Sequence[object]) -> Entry:
        """Make an entry of a row. Thread: any."""
        try:
            return records.read(row, self.now())
        except (ValueError, TypeError) as error:
            raise damaged(self.path, f"entry {row[0]}: {error}") from error

    def connect(self) -> sqlite3.Connection:
        """Lock the file and open it, or make it."""
        if sqlite3.sqlite_version_info < (3, 35):
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 is needed")
        self._make_folder()
        self._lock.take()
        # Before SQLite makes it: what it holds is not for everybody.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._identity = identify(self.path.stat())
        connection = sqlite3.connect(
            self.path, timeout=2, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            busy = code == sqlite3.SQLITE_BUSY
            raise (self._lock.refused() if busy else explain(self.path, error)) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_folder(self) -> None:
        folder = self.path.parent
        other = 'or set "Python.Store" to another folder'
        try:
            folder.mkdir()
        except FileExistsError:
            if not folder.is_dir():
                raise StoreError(f"{folder} is no folder: take it away, {other}") from None
        except FileNotFoundError:
            # Not made too: where a disk is not mounted, an empty store would take its place.
            above = next(one for one in folder.parents if one.exists())
            missing = folder.relative_to(above).parts[0]
            raise StoreError(
                f"{folder} cannot be made, as {above} has no {missing}: make it, {other}"
            ) from None

    def disconnect(self, connection: sqlite3.Connection | None) -> None:
        """Close the connection, then unlock the file."""
        try:
            if connection is not None:
                connection.close()
        finally:
            self._lock.release()

    def is_moved(self) -> bool:
        """Tell whether another file, or none, is where this one was opened."""
        try:
            return identify(self.path.stat()) != self._identity
        except FileNotFoundError:
            return True

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Exclusive before the first access: then there is no shared memory beside the file, and
        # no second program can have it open.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if application != APPLICATION and (application or tables):
            raise StoreDamagedError(f"{self.path} is another program's database: move it away")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(schema.SQLITE):
            raise StoreDamagedError(
                f"{self.path} was written by a newer version of orthanc-async (schema {version}; "
                f"this one knows {len(schema.SQLITE)}): install that, or move the file away"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT}")
        if self.path.stat().st_size <= CHECKED:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise damaged(self.path, found)
        connection.execute("BEGIN IMMEDIATE")
        for step in schema.SQLITE[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(schema.SQLITE)}")
        latest = connection.execute("SELECT max(latest) FROM clock").fetchone()[0]
        self._base = max(self._clock(), latest) - time.monotonic()
        now = self.now()
        connection.execute(TAKE_BACK, (now, now))
        self.stamp(connection)
        connection.execute("COMMIT")
