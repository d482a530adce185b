"""Connections to PostgreSQL, and its errors as those of a store."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from orthanc_async._durable.store import StoreDamagedError, StoreError
from psycopg import conninfo, errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECTIONS = 4  # for operations, of each server; opened as they are needed
DEADLOCKS = 5  # how often an operation is begun again that PostgreSQL has ended for another's sake

# Nothing may wait for ever: neither for a server that is gone, nor for a lock, nor for a server
# that hangs; the last is what the client waits for at most.
CONNECT_TIMEOUT = 10  # seconds
OPERATION_TIMEOUT = 90.0  # seconds
_CONNECTION_DEFAULTS = {
    "connect_timeout": str(CONNECT_TIMEOUT),
    "keepalives_idle": "30",  # seconds
    "keepalives_interval": "10",  # seconds
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",  # milliseconds
    "target_session_attrs": "read-write",  # of several hosts, and after a fail-over
    "application_name": "orthanc-async",
}
SESSION = """
    SELECT set_config('statement_timeout', '60s', false),
           set_config('lock_timeout', '20s', false),
           set_config('idle_in_transaction_session_timeout', '60s', false),
           set_config('default_transaction_isolation', 'read committed', false),
           set_config('synchronous_commit', CASE current_setting('synchronous_commit')
               WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""


class PostgresPool:
    """A few connections, each used by one operation at a time. Thread: the loop's.

    Args:
        url: As libpq takes it. Its password is never shown.
    """

    def __init__(self, url: str) -> None:
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            # libpq's text may show parts of the password.
            raise StoreError(
                "the PostgreSQL URL of the store cannot be read: it must look like "
                "postgresql://user:password@host:5432/database, special characters as %XX"
            ) from None
        self._parameters: dict[str, Any] = _CONNECTION_DEFAULTS | given
        host = given.get("host") or given.get("hostaddr") or ""
        port = f":{given['port']}" if given.get("port") else ""
        user = f"{given['user']}@" if given.get("user") else ""
        self.description = f"postgresql://{user}{host}{port}/{given.get('dbname', '')}"
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._is_open = False

    def open(self) -> None:
        """Allow connections."""
        self._is_open = True

    async def close(self) -> None:
        """Close connections; those in use when their operation ends."""
        self._is_open = False
        await self._forget_idle()

    async def run(
        self,
        operation: Callable[[Connection], Awaitable[T]],
        *,
        timeout: float | None = OPERATION_TIMEOUT,  # noqa: ASYNC109 - that of both ends
    ) -> T:
        """Run an operation on a connection that commits each statement by itself.

        An operation of several statements opens a transaction; it may be called again, if
        PostgreSQL has ended it because of a deadlock.

        Raises:
            StoreError: The database cannot be reached, or refuses.
        """
        with self.explained():
            for _ in range(DEADLOCKS):
                try:
                    async with (
                        asyncio.timeout(timeout),
                        self._connection() as connection,
                    ):
                        return await operation(connection)
                except (errors.DeadlockDetected, errors.SerializationFailure) as error:
                    last = error
                await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - not a secret
            raise last

    async def connect(self) -> Connection:
        """Open one more connection, which is the caller's."""
        if not self._is_open:
            raise StoreError(f"{self.description} is not open")
        with self.explained():
            connection = await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True)
            try:
                await connection.execute(SESSION)
            except BaseException:
                await connection.close()
                raise
            return connection

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self._slots:
            connection = self._idle.pop() if self._idle else await self.connect()
            try:
                yield connection
            finally:
                idle = psycopg.pq.TransactionStatus.IDLE
                if self._is_open and not connection.closed:
                    if connection.info.transaction_status == idle:
                        self._idle.append(connection)
                    else:
                        await connection.close()
                else:
                    await connection.close()
                    await self._forget_idle()  # they have been lost by the same cause

    async def _forget_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    @contextlib.contextmanager
    def explained(self) -> Any:
        """Turn errors of PostgreSQL and of the network into those of a store."""
        try:
            yield
        except TimeoutError as error:
            raise StoreError(f"{self.description} does not answer") from error
        except (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName) as error:
            raise StoreDamagedError(
                f"{self.description}: the schema is not as it was made ({_text(error)}): restore "
                "it from a backup, or drop it, and it is made anew, empty"
            ) from error
        except errors.InsufficientPrivilege as error:
            raise StoreError(
                f"{self.description}: {_text(error)}: the user needs the right to create a schema "
                "in the database (GRANT CREATE ON DATABASE …), or to own the one that is there"
            ) from error
        except errors.DiskFull as error:
            raise StoreError(
                f"{self.description}: the disk of the database is full ({_text(error)}): nothing "
                "was written; make room, and it goes on"
            ) from error
        except (psycopg.Error, OSError) as error:
            raise StoreError(f"{self.description}: {_text(error)}") from error


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
