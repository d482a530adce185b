"""The store in a PostgreSQL database: for several servers that share their work."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import secrets
from typing import TYPE_CHECKING, Any, cast

import psycopg
from orthanc_async._durable import postgres_sql, records, schema
from orthanc_async._durable.grouped import Grouped
from orthanc_async._durable.postgres_pool import OPERATION_TIMEOUT, PostgresPool
from orthanc_async._durable.store import (
    FINISHED,
    Added,
    Again,
    Claim,
    Dead,
    LeaseLost,
    QueueCounts,
    State,
    Store,
    StoreDamagedError,
    StoreError,
    Subscription,
)
from psycopg import errors, sql

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from orthanc_async._durable.postgres_pool import Connection
    from orthanc_async._durable.store import Entry, Json, NewEntry, Outcome, Progress

PURGED_AT_ONCE = 1000  # entries in one transaction: others are not to wait for millions
MOST = 2**31 - 1
RESIGNING = 2.0  # seconds
MIGRATION_TIMEOUT = 3600.0  # seconds


class PostgresStore(Store):
    """Entries in a schema of a PostgreSQL database.

    What a server that crashed has left running is taken over, by itself or by another one, when
    its leases have run out by the database's clock.

    Args:
        url: As libpq takes it: `postgresql://user:password@host:5432/database`.
        server: The name of this server; it is shown only, and two may have the same.
        schema: Made if it is missing.

    Raises:
        StoreError: The URL cannot be read.
    """

    shared = True

    def __init__(self, url: str, *, server: str, schema: str = "orthanc_async") -> None:
        if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", schema):
            raise ValueError(f"the schema must be a plain lower-case name, not {schema!r}")
        self._server = records.printable(server)
        self._schema = schema
        self._holder = secrets.token_hex(12)  # of the leader's row, and of notifications
        self._pool = PostgresPool(url)
        self._listener: Connection | None = None
        self._leads = False
        self._given_back: set[asyncio.Task[None]] = set()
        self._saves = Grouped(self._save, _is_of_one_value)

    @property
    def description(self) -> str:
        """The URL, without its password, and the schema."""
        return f"{self._pool.description} (schema {self._schema})"

    def _sql(self, text: str) -> sql.Composed:
        # Nothing else is put into the text: values are parameters.
        return sql.SQL(cast("Any", text)).format(schema=sql.Identifier(self._schema))

    async def _all(
        self, text: str, *, seconds: float = OPERATION_TIMEOUT, **values: object
    ) -> list[tuple[Any, ...]]:
        """Run one statement, which is one transaction, and return its rows."""

        async def run(connection: Connection) -> list[tuple[Any, ...]]:
            return await (await connection.execute(self._sql(text), values)).fetchall()

        return await self._pool.run(run, timeout=seconds)

    async def _count(self, text: str, **values: object) -> int:
        """Run one statement, which is one transaction, and return how many rows it changed."""

        async def run(connection: Connection) -> int:
            return (await connection.execute(self._sql(text), values)).rowcount

        return await self._pool.run(run)

    def _read(self, row: Sequence[Any]) -> Entry:
        """Make an entry of `records.COLUMNS` and the time."""
        try:
            return records.read(row[:-1], row[-1])
        except (ValueError, TypeError) as error:
            raise StoreDamagedError(f"{self.description}: entry {row[0]}: {error}") from error

    # --- open and close

    async def open(self) -> None:
        """See `Store.open`."""
        self._pool.open()
        try:
            # Only looks, at first: a user without the right to make anything may go on.
            if await self._pool.run(self._version) != len(schema.POSTGRES):
                await self._pool.run(self._migrate, timeout=MIGRATION_TIMEOUT)
        except BaseException:
            await self._pool.close()
            raise

    async def _migrate(self, connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                [f"orthanc-async {self._schema}"],
            )
            version = await self._version(connection)
            if version > len(schema.POSTGRES):
                raise StoreDamagedError(
                    f"{self.description} was written by a newer version of orthanc-async (schema "
                    f"{version}; this one knows {len(schema.POSTGRES)}): install that, or name "
                    "another database"
                )
            if version == 0:
                await connection.execute(self._sql("CREATE SCHEMA IF NOT EXISTS {schema}"))
                await connection.execute(
                    self._sql("CREATE TABLE {schema}.version (version integer NOT NULL)")
                )
                await connection.execute(self._sql("INSERT INTO {schema}.version VALUES (0)"))
            for step in schema.POSTGRES[version:]:
                for statement in step:
                    await connection.execute(self._sql(statement))
            await connection.execute(
                self._sql("UPDATE {schema}.version SET version = %s"), [len(schema.POSTGRES)]
            )

    async def _version(self, connection: Connection) -> int:
        # From the table of tables: unlike to_regclass, that never answers from before a lock.
        found = await connection.execute(
            "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'version'",
            [self._schema],
        )
        if await found.fetchone() is None:
            return 0
        rows = await connection.execute(self._sql("SELECT max(version) FROM {schema}.version"))
        row = await rows.fetchone()
        if row is None or row[0] is None:
            raise StoreDamagedError(f"{self.description}: the table of its version is empty")
        return int(row[0])

    async def close(self) -> None:
        """See `Store.close`."""
        await asyncio.gather(*self._given_back, return_exceptions=True)
        if self._leads:
            self._leads = False
            # If it fails: the lease ends by itself.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(RESIGNING):
                    await self._count(postgres_sql.RESIGN, holder=self._holder)
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        await self._pool.close()

    async def changed(self) -> None:
        """See `Store.changed`."""
        with self._pool.explained():
            if self._listener is None or self._listener.closed:
                self._listener = await self._pool.connect()
                if self._listener.is_pooled:  # what it listens to, somebody else would get
                    await self._listener.close()
                    await asyncio.Event().wait()
                await self._listener.execute(
                    sql.SQL("LISTEN {}").format(sql.Identifier(self._schema))
                )
            async with contextlib.aclosing(self._listener.notifies()) as notifications:
                async for notification in notifications:
                    if notification.payload != self._holder:
                        return
            raise StoreError(f"{self.description}: the connection was lost")

    # --- entries

    async def add(self, entries: Sequence[NewEntry]) -> list[Added]:
        """See `Store.add`."""
        rows = [records.new_row(entry) for entry in entries]

        async def run(connection: Connection) -> list[Added]:
            async with connection.transaction():
                return await self._insert(connection, rows)

        return await self._pool.run(run) if rows else []

    async def _insert(
        self, connection: Connection, rows: Sequence[tuple[str, str, str, str | None, float]]
    ) -> list[Added]:
        """Add within a transaction."""
        names = ("queues", "keys", "payloads", "resources", "delays")
        columns: dict[str, object] = dict(
            zip(names, map(list, zip(*rows, strict=True)), strict=True)
        )
        columns["table"] = f"{self._schema}.entry"
        inserted = await connection.execute(self._sql(postgres_sql.ADD), columns)
        new = {(queue, key): id_ for id_, queue, key in await inserted.fetchall()}
        if new:
            await connection.execute(
                "SELECT pg_notify(%s, %s)", [self._schema, self._holder]
            )  # sent by the commit
        known: dict[tuple[str, str], int] = {}
        if len(new) < len(rows):
            selected = await connection.execute(self._sql(postgres_sql.KNOWN), columns)
            known = {(queue, key): id_ for id_, queue, key in await selected.fetchall()}
        added = []
        for queue, key, *_ in rows:
            id_ = new.pop((queue, key), None)
            known.setdefault((queue, key), id_ or 0)
            if not known[queue, key]:
                # Purged between the two statements: the whole operation is begun again.
                raise errors.SerializationFailure(f"the key {key!r} was purged meanwhile")
            added.append(Added(known[queue, key], id_ is not None))
        return added

    async def claim(self, free: Mapping[str, int], lease: float) -> list[Claim]:
        """See `Store.claim`."""
        wanted = {queue: min(limit, MOST) for queue, limit in free.items() if limit > 0}
        if not wanted:
            return []
        nonce = secrets.token_hex(12)
        claiming = asyncio.ensure_future(
            self._all(
                postgres_sql.claim(list(wanted.values())),
                lease=lease,
                nonce=nonce,
                server=self._server,
                **dict[str, Any]({f"queue{n}": queue for n, queue in enumerate(wanted)}),
            )
        )
        try:
            # Not cancelled with the caller: a statement that is interrupted may be committed
            # all the same, and even after it was given back.
            rows = await asyncio.shield(claiming)
        except (asyncio.CancelledError, StoreError):
            task = asyncio.ensure_future(self._give_back(claiming, list(wanted), nonce))
            self._given_back.add(task)
            task.add_done_callback(self._given_back.discard)
            raise
        return [Claim(self._read(row), f"{row[0]}-{nonce}") for row in rows]

    async def _give_back(
        self, claiming: asyncio.Future[list[tuple[Any, ...]]], queues: list[str], nonce: str
    ) -> None:
        with contextlib.suppress(StoreError):
            await claiming
        with contextlib.suppress(StoreError):  # the leases end by themselves
            await self._count(postgres_sql.GIVE_BACK, queues=queues, nonce=nonce)

    async def next_due(self, queues: Collection[str]) -> float | None:
        """See `Store.next_due`."""
        rows = await self._all(postgres_sql.NEXT_DUE, queues=list(queues))
        return None if rows[0][0] is None else max(0.0, rows[0][0])

    async def renew(self, tokens: Collection[str], lease: float) -> set[str]:
        """See `Store.renew`."""
        given = sorted(tokens, key=records.token_id)
        rows = await self._all(
            postgres_sql.RENEW,
            seconds=lease / 3,  # in a session that hangs: there is time for another one
            ids=[records.token_id(token) for token in given],
            tokens=[records.printable(token) for token in given],
            lease=lease,
        )
        return set(tokens) - {row[0] for row in rows}

    async def save(self, token: str, resume: Json, progress: Progress) -> None:
        """See `Store.save`."""
        if await self._saves.run((token, records.dump_optional(resume), progress)):
            raise LeaseLost(f"entry {records.token_id(token)} of {self.description}")

    async def _save(self, saves: Sequence[tuple[str, str | None, Progress]]) -> Sequence[bool]:
        """Write in one transaction; return which are no longer the caller's."""
        # The last of each. In this order, as in `renew`: none then waits for the other's rows.
        latest = sorted({save[0]: save for save in saves}.values(), key=_number)
        tokens = [records.printable(token) for token, _, _ in latest]
        rows = await self._all(
            postgres_sql.SAVE,
            ids=[records.token_id(token) for token, _, _ in latest],
            tokens=tokens,
            resumes=[resume for _, resume, _ in latest],
            done=[progress.done for _, _, progress in latest],
            totals=[progress.total for _, _, progress in latest],
            bytes=[progress.bytes for _, _, progress in latest],
        )
        kept = {row[0] for row in rows}
        return [token not in kept for token, _, _ in saves]

    async def finish(self, token: str, outcome: Outcome) -> None:
        """See `Store.finish`."""
        common = "token = NULL, changed_at = statement_timestamp(), state = %(state)s, "
        if isinstance(outcome, Again):
            column = "attempts" if outcome.counted else "interruptions"
            await self._update(
                token,
                f"{common} resume = %(resume)s, error = coalesce(%(error)s, error), "
                f"due = statement_timestamp() + %(delay)s * interval '1 s', "
                f"{column} = {column} + 1",
                outcome.progress,
                state=State.WAITING,
                resume=records.dump_optional(outcome.resume),
                error=records.printable(outcome.error),
                delay=records.check_delay(outcome.delay),
            )
        elif isinstance(outcome, Dead):
            await self._update(
                token,
                f"{common} resume = %(resume)s, error = %(error)s, reason = %(reason)s, "
                "attempts = attempts + %(counted)s",
                outcome.progress,
                state=State.DEAD,
                resume=records.dump_optional(outcome.resume),
                error=records.printable(outcome.error),
                reason=records.printable(outcome.reason),
                counted=int(outcome.counted),
            )
        else:
            await self._update(
                token, f"{common} resume = NULL", outcome.progress, state=State.DONE
            )

    async def _update(
        self, token: str, columns: str, progress: Progress, **values: object
    ) -> None:
        changed = await self._count(
            f"UPDATE {{schema}}.entry SET {columns}, done = %(done)s, total = %(total)s, "  # noqa: S608
            "bytes = %(bytes)s WHERE id = %(id)s AND token = %(token)s",
            id=records.token_id(token),
            token=records.printable(token),
            done=progress.done,
            total=progress.total,
            bytes=progress.bytes,
            **{name: f"{value}" if name == "state" else value for name, value in values.items()},
        )
        if not changed:
            raise LeaseLost(f"entry {records.token_id(token)} of {self.description}")

    async def retry(self, ids: Collection[int]) -> int:
        """See `Store.retry`."""
        changed = await self._count(postgres_sql.RETRY, ids=records.known_ids(ids))
        if changed:
            await self._all(
                "SELECT pg_notify(%(channel)s, %(holder)s)",
                channel=self._schema,
                holder=self._holder,
            )
        return changed

    async def cancel(self, ids: Collection[int]) -> int:
        """See `Store.cancel`."""
        return await self._count(postgres_sql.CANCEL, ids=records.known_ids(ids))

    async def purge(
        self, *, queue: str | None, states: Collection[State], older: float, keep_keys: bool
    ) -> int:
        """See `Store.purge`."""
        rows = await self._all(postgres_sql.BEFORE, older=older)
        values = {"queue": queue, "until": rows[0][0], "limit": PURGED_AT_ONCE}
        purged = 0
        for state in FINISHED.intersection(states):
            statement = postgres_sql.STRIP if keep_keys else postgres_sql.REMOVE
            while (some := await self._count(statement, state=f"{state}", **values)) > 0:
                purged += some
            if not keep_keys:
                await self._count(postgres_sql.FORGET, state=f"{state}", **values)
        return purged

    async def entry(self, id: int) -> Entry | None:  # noqa: A002
        """See `Store.entry`."""
        if not records.known_ids([id]):
            return None
        rows = await self._all(postgres_sql.ENTRY, id=id)
        return self._read(rows[0]) if rows else None

    async def entries(
        self,
        *,
        queue: str | None = None,
        states: Collection[State] | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """See `Store.entries`."""
        rows = await self._all(
            postgres_sql.entries(by_queue=queue is not None),
            queue=queue,
            states=[f"{state}" for state in (State if states is None else states)],
            before=records.MAX_ID if before is None else max(0, min(before, records.MAX_ID)),
            limit=max(0, min(limit, records.MAX_ID)),
        )
        return [self._read(row) for row in rows]

    async def counts(self) -> dict[str, QueueCounts]:
        """See `Store.counts`."""
        states: dict[str, dict[State, int]] = {}
        oldest: dict[str, float] = {}
        for queue, state, number, age in await self._all(postgres_sql.COUNTS):
            states.setdefault(queue, {})[State(state)] = number
            if age is not None:
                oldest[queue] = max(0.0, age, oldest.get(queue, 0.0))
        return {
            queue: QueueCounts(numbers, oldest.get(queue)) for queue, numbers in states.items()
        }

    # --- subscriptions

    async def subscribe(self, name: str, cursor: int, since: str, mark: str = "") -> Subscription:
        """See `Store.subscribe`."""
        made = await self._count(
            postgres_sql.SUBSCRIBE, name=name, cursor=cursor, since=since, mark=mark
        )
        rows = await self._all(f"{postgres_sql.SUBSCRIPTIONS} WHERE name = %(name)s", name=name)
        return dataclasses.replace(Subscription(*rows[0]), new=bool(made))

    async def subscriptions(self) -> list[Subscription]:
        """See `Store.subscriptions`."""
        return [Subscription(*row) for row in await self._all(postgres_sql.SUBSCRIPTIONS)]

    async def lead(self, lease: float) -> bool:
        """See `Store.lead`."""
        self._leads = bool(
            await self._count(
                postgres_sql.LEAD, holder=self._holder, server=self._server, lease=lease
            )
        )
        return self._leads

    async def advance(
        self,
        cursors: Mapping[str, int],
        entries: Sequence[NewEntry],
        *,
        marks: Mapping[str, str] | None = None,
        back: bool = False,
    ) -> int:
        """See `Store.advance`."""
        rows = [records.new_row(entry) for entry in entries]

        async def run(connection: Connection) -> int:
            async with connection.transaction():
                # Held until the commit, so no other server can lead before.
                leads = await connection.execute(
                    self._sql(postgres_sql.LEADS), {"holder": self._holder}
                )
                if await leads.fetchone() is None:
                    raise LeaseLost(f"another server reads the changes for {self.description}")
                added = await self._insert(connection, rows) if rows else []
                for name, cursor in cursors.items():
                    await connection.execute(
                        self._sql(postgres_sql.MOVE),
                        {
                            "name": name,
                            "cursor": cursor,
                            "back": back,
                            "mark": (marks or {}).get(name),
                        },
                    )
                return sum(entry.new for entry in added)

        return await self._pool.run(run)


def _number(save: tuple[str, str | None, Progress]) -> int:
    return records.token_id(save[0])


def _is_of_one_value(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, StoreError) else error
    return not isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, OSError))
