"""Connections to PostgreSQL, and its errors as those of a store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from orthanc_async._durable import postgres_errors
from orthanc_async._durable.store import StoreError
from psycopg import conninfo, errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

T = TypeVar("T")


class Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection.

    Attributes:
        is_pooled: Whether a pooler such as pgbouncer stands between: each transaction may then be
            in another session, which others use afterwards.
    """

    is_pooled = False


CONNECTIONS = 4  # for operations, of each server; opened as they are needed
DEADLOCKS = 5  # how often an operation is begun again that PostgreSQL has ended for another's sake

# Nothing may wait for ever: neither for a server that is gone, nor for a lock, nor for a server
# that hangs. Its own limits come first; the last is that of one that says nothing any more, though
# its system still answers for it, so no keepalive of TCP notices.
CONNECT_TIMEOUT = 10  # seconds
OPERATION_TIMEOUT = 45.0  # seconds
_CONNECTION_DEFAULTS = {
    "connect_timeout": str(CONNECT_TIMEOUT),
    "keepalives_idle": "30",  # seconds
    "keepalives_interval": "10",  # seconds
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",  # milliseconds
    "target_session_attrs": "read-write",  # of several hosts, and after a fail-over
    "application_name": "orthanc-async",
}
# No compiler: a statement that it takes 100 ms for runs in one.
_SETTINGS = """
    set_config('statement_timeout', '30s', {local}),
    set_config('jit', 'off', {local}),
    set_config('lock_timeout', '20s', {local}),
    set_config('idle_in_transaction_session_timeout', '60s', {local}),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, {local})
"""
# One row if the session is the caller's own; none, and nothing set, if a pooler such as pgbouncer
# stands between: it has made up the number of the process, and lends the session to others too.
SESSION = f"""
    SELECT {_SETTINGS.format(local=False)},
        set_config('default_transaction_isolation', 'read committed', false)
    FROM (SELECT WHERE pg_backend_pid() = %s) AS own
"""  # noqa: S608 - no values
TRANSACTION = f"SELECT {_SETTINGS.format(local=True)}"


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
        timeout: float = OPERATION_TIMEOUT,  # noqa: ASYNC109 - that of both ends
    ) -> T:
        """Run an operation on a connection that commits each statement by itself.

        An operation of several statements opens a transaction; it may be called again, if
        PostgreSQL has ended it because of a deadlock.

        Args:
            operation: Called with the connection.
            timeout: Seconds for a connection, and then for the operation.

        Raises:
            StoreError: The database cannot be reached, or refuses.
        """
        with self.explained():
            for _ in range(DEADLOCKS):
                try:
                    async with self._connection(timeout) as connection:
                        return await self._run_on(connection, operation)
                except (errors.DeadlockDetected, errors.SerializationFailure) as error:
                    last = error
                await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - not a secret
            raise last

    async def _run_on(
        self, connection: Connection, operation: Callable[[Connection], Awaitable[T]]
    ) -> T:
        if not connection.is_pooled:
            return await operation(connection)
        async with connection.transaction():
            await connection.execute(TRANSACTION)
            return await operation(connection)

    async def connect(self) -> Connection:
        """Open one more connection, which is the caller's."""
        if not self._is_open:
            raise StoreError(f"{self.description} is not open")
        with self.explained():
            connection = await Connection.connect(**self._parameters, autocommit=True)
            try:
                own = await connection.execute(SESSION, [connection.info.backend_pid])
                connection.is_pooled = await own.fetchone() is None
                if connection.is_pooled:
                    connection.prepare_threshold = None
                    await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
            except BaseException:
                await connection.close()
                raise
            return connection

    @contextlib.asynccontextmanager
    async def _connection(self, limit: float) -> AsyncIterator[Connection]:
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(limit):
                await stack.enter_async_context(self._slots)
                connection = await self._take()
            try:
                with _limited(connection, limit):
                    yield connection
            except errors.ReadOnlySqlTransaction:
                # Of several hosts another one may take writes by now.
                await connection.close()
                raise
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

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if _is_alive(connection):
                return connection
            await connection.close()
        return await self.connect()

    async def _forget_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    def explained(self) -> contextlib.AbstractContextManager[None]:
        """Turn errors of PostgreSQL and of the network into those of a store."""
        return postgres_errors.explained(self.description)


def _is_alive(connection: Connection) -> bool:
    """Tell whether a connection that was idle is not known to be lost, without asking anybody."""
    try:
        # What the server said before it closed comes first.
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except psycopg.Error:
        return False
    return not connection.closed


@contextlib.contextmanager
def _limited(connection: Connection, seconds: float) -> Iterator[None]:
    """Cut the connection off when its server has not answered for so many seconds.

    A cancellation would not do: psycopg then asks the server to cancel, and waits for its answer.
    """
    hung = False

    def cut() -> None:
        nonlocal hung
        hung = True
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(connection.fileno())) as duplicate,
        ):
            duplicate.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        yield
    except psycopg.Error as error:
        if hung:
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
