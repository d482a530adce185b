"""A connection to SQLite on a thread of its own, which commits what is asked for in groups."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from orthanc_async._durable.store import StoreDamagedError, StoreError, StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

GROUP = 256  # operations in one transaction at most


@dataclass(slots=True, eq=False)
class _Operation(Generic[T]):
    """What the loop asks of the thread."""

    run: Callable[[sqlite3.Connection], T]
    future: asyncio.Future[T]
    writes: bool
    give_back: Callable[[T], None] | None  # on the loop, when nobody waits for the result
    result: T | None = None
    error: Exception | None = None


class SQLiteThread:
    """Runs operations one after the other, those that came meanwhile in one transaction.

    Each is in a savepoint, so one that fails leaves no trace and does not disturb the others; all
    get their results after the common commit. Only the thread touches the connection.

    Args:
        path: The file.
        stamp: Called in each transaction that has changed something, before its commit.
    """

    def __init__(self, path: Path, stamp: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._stamp = stamp
        self._inbox: queue.SimpleQueue[_Operation[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None

    async def start(
        self,
        connect: Callable[[], sqlite3.Connection],
        disconnect: Callable[[sqlite3.Connection | None], None],
    ) -> None:
        """Start the thread; return when `connect` has.

        Args:
            connect: Opens the connection, on the thread.
            disconnect: Closes it, on the thread; it gets None if `connect` failed.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._inbox = queue.SimpleQueue()
        self._ended = loop.create_future()
        # A daemon: nothing is lost by its sudden end, and a loop that was left without `stop`
        # must not keep the process.
        self._thread = threading.Thread(
            target=self._main,
            args=(loop, self._inbox, (opened, self._ended), (connect, disconnect)),
            name="orthanc-async store",
            daemon=True,
        )
        self._thread.start()
        try:
            await asyncio.shield(opened)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the thread after what was asked before; return when the connection is closed."""
        ended = self._ended
        if ended is None:
            return
        if self._thread is not None:
            self._thread = None
            self._inbox.put(None)
        await asyncio.shield(ended)
        if self._ended is ended:
            self._ended = None

    async def run(
        self,
        operation: Callable[[sqlite3.Connection], T],
        *,
        writes: bool = True,
        give_back: Callable[[T], None] | None = None,
    ) -> T:
        """Run an operation on the thread, in a transaction.

        A caller that is cancelled leaves its operation to be carried out, unless it only reads,
        or can be given back.

        Args:
            operation: Called on the thread; may be called again after a transaction that failed.
            writes: Whether it may change something.
            give_back: Called on the loop with the result, if the caller was cancelled meanwhile.
        """
        future = self._submit(operation, writes=writes, give_back=give_back)
        try:
            return await future
        except asyncio.CancelledError:
            # The result was there already when the caller was cancelled.
            if give_back and not future.cancelled() and not future.exception():
                give_back(future.result())
            raise

    def spawn(self, operation: Callable[[sqlite3.Connection], object]) -> None:
        """Run an operation of which nobody waits for the end; errors are dropped."""
        if self._thread is not None:
            future = self._submit(operation, writes=True, give_back=None)
            future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _submit(
        self,
        operation: Callable[[sqlite3.Connection], T],
        *,
        writes: bool,
        give_back: Callable[[T], None] | None,
    ) -> asyncio.Future[T]:
        if self._thread is None:
            raise StoreError(f"{self._path} is not open")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._inbox.put(_Operation(operation, future, writes, give_back))
        return future

    # --- on the thread

    def _main(
        self,
        loop: asyncio.AbstractEventLoop,
        inbox: queue.SimpleQueue[_Operation[Any] | None],
        opened_ended: tuple[asyncio.Future[None], asyncio.Future[None]],
        connect_disconnect: tuple[
            Callable[[], sqlite3.Connection], Callable[[sqlite3.Connection | None], None]
        ],
    ) -> None:
        opened, ended = opened_ended
        connect, disconnect = connect_disconnect
        # RuntimeError: the loop was closed; nobody is left who waits.
        with contextlib.suppress(RuntimeError):
            try:
                connection = connect()
            except Exception as error:  # noqa: BLE001 - handed to who waits
                disconnect(None)
                loop.call_soon_threadsafe(_settle, opened, None, self._explain(error))
            else:
                try:
                    loop.call_soon_threadsafe(_settle, opened, None, None)
                    self._serve(loop, inbox, connection)
                finally:
                    disconnect(connection)
            loop.call_soon_threadsafe(_settle, ended, None, None)

    def _serve(
        self,
        loop: asyncio.AbstractEventLoop,
        inbox: queue.SimpleQueue[_Operation[Any] | None],
        connection: sqlite3.Connection,
    ) -> None:
        going = True
        while going:
            group: list[_Operation[Any]] = []
            try:
                while len(group) < GROUP:
                    operation = inbox.get(block=not group)
                    if operation is None:
                        going = False
                        break
                    group.append(operation)
            except queue.Empty:
                pass
            group = [operation for operation in group if not _dropped(operation)]
            if group:
                self._commit(connection, group)
                loop.call_soon_threadsafe(_deliver, group)

    def _commit(self, connection: sqlite3.Connection, group: list[_Operation[Any]]) -> None:
        """Run a group in one transaction; if that fails, each in its own."""
        try:
            self._transact(connection, group)
        except Exception as error:  # noqa: BLE001 - handed to who waits
            if len(group) == 1:
                group[0].error = self._explain(error)
                return
            for operation in group:
                self._commit(connection, [operation])

    def _transact(self, connection: sqlite3.Connection, group: list[_Operation[Any]]) -> None:
        writes = any(operation.writes for operation in group)
        before = connection.total_changes
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            for operation in group:
                operation.result = operation.error = None
                connection.execute("SAVEPOINT operation")
                try:
                    operation.result = operation.run(connection)
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - handed to who waits
                    operation.error = error
                    connection.execute("ROLLBACK TO operation")
                connection.execute("RELEASE operation")
            if connection.total_changes != before:
                self._stamp(connection)
            connection.execute("COMMIT")
        except BaseException:
            # Some errors, such as a full disk, have rolled back already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _explain(self, error: Exception) -> Exception:
        """Return an error that names the file and what helps."""
        if isinstance(error, OSError):
            explained = StoreError(f"{error.filename or self._path}: {error.strerror or error}")
        elif not isinstance(error, sqlite3.Error):
            return error
        else:
            explained = explain(self._path, error)
        explained.__cause__ = error
        return explained


def explain(path: Path, error: sqlite3.Error) -> StoreError:
    """Turn SQLite's error into one that names the file and what helps."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    # The module itself finds text that is no UTF-8; it has no code for that.
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode" in str(error):
        return damaged(path, str(error))
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            f"{path}: the disk is full ({error}): nothing was written; make room, and it goes on"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLockedError(f"{path} is in use by another program ({error})")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(
            f"{path} cannot be opened for writing ({error}): check the folder's owner and rights"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(
            f"{path} cannot be read or written ({error}): check the disk, its room and its limits"
        )
    return StoreError(f"{path}: {error}")


def damaged(path: Path, what: str) -> StoreDamagedError:
    """Return the error about a file that cannot be relied on."""
    return StoreDamagedError(
        f"{path} is damaged ({what}). Stop Orthanc and restore it from a backup; or move it away, "
        f'together with "{path.name}-wal", also while Orthanc runs: a new one is then begun. What '
        "it held is lost by that: tasks, and deliveries of before this start of Orthanc that had "
        "not ended; subscriptions begin anew, with this start or their since= if they have one, "
        f'and deliver again what is newer. `sqlite3 {path.name} ".recover"` may save the rest'
    )


def _dropped(operation: _Operation[Any]) -> bool:
    return operation.future.cancelled() and not (operation.writes and not operation.give_back)


def _deliver(group: list[_Operation[Any]]) -> None:
    """Hand results to who waits. Thread: the loop's."""
    for operation in group:
        if operation.future.cancelled() and operation.give_back and not operation.error:
            operation.give_back(operation.result)
        _settle(operation.future, operation.result, operation.error)


def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
