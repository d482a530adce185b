"""The store in an SQLite file: for one server."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING

from orthanc_async._durable import records, schema
from orthanc_async._durable.sqlite_file import SQLiteFile
from orthanc_async._durable.sqlite_thread import SQLiteThread
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
    Subscription,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from orthanc_async._durable.store import Entry, Json, NewEntry, Outcome, Progress

NAME = "orthanc-async.db"
PURGED_AT_ONCE = 1000  # entries in one transaction: others are not to wait for millions

# The index entry_open holds just these; its condition must be repeated word for word.
OPEN = "state IN ('waiting', 'running')"
CLAIM = (
    f"SELECT {records.COLUMNS} FROM entry "  # noqa: S608 - names, no values
    f"WHERE queue = ? AND {OPEN} AND due <= ? ORDER BY due, id LIMIT ?"
)
TAKE = (
    "UPDATE entry SET interruptions = interruptions + (state = 'running'), "  # noqa: S608
    "state = 'running', due = ?, token = ?, changed_at = ?, server = ? "
    f"WHERE id = ? RETURNING {records.COLUMNS}"
)
NEXT_DUE = f"SELECT min(due) FROM entry WHERE queue = ? AND {OPEN}"  # noqa: S608
PAGE = (
    f"SELECT {records.COLUMNS} FROM entry "  # noqa: S608
    "WHERE queue = ? AND state = ? AND id < ? ORDER BY id DESC LIMIT ?"
)
COUNT = "SELECT queue, state, count(*) FROM entry GROUP BY queue, state"
QUEUE_AFTER = "SELECT queue FROM entry WHERE queue > ? ORDER BY queue LIMIT 1"
OLDEST = "SELECT created_at FROM entry WHERE queue = ? AND state = ? ORDER BY id LIMIT 1"


class SQLiteStore(Store):
    """Entries in the file `orthanc-async.db` of a folder.

    Args:
        folder: Made if only it is missing.
        server: The name of this server.
        clock: Seconds since 1970; asked when the store is opened only. From then on the time goes
            on by itself, from the latest time in the file if that is later.
    """

    def __init__(
        self, folder: Path, *, server: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._server = server
        self._file = SQLiteFile(folder / NAME, server=server, clock=clock)
        self._now = self._file.now
        self._read = self._file.read
        self._thread = SQLiteThread(self._file.path, self._file.stamp)
        self._is_open = False

    @property
    def description(self) -> str:
        """The file."""
        return str(self._file.path)

    async def open(self) -> None:
        """See `Store.open`."""
        if not self._is_open:
            await self._thread.start(self._file.connect, self._file.disconnect)
            self._is_open = True

    async def close(self) -> None:
        """See `Store.close`."""
        self._is_open = False
        await self._thread.stop()

    async def moved(self) -> bool:
        """See `Store.moved`."""
        return await self._thread.run(lambda _: self._file.is_moved(), writes=False)

    # --- entries

    async def add(self, entries: Sequence[NewEntry]) -> list[Added]:
        """See `Store.add`."""
        rows = [records.new_row(entry) for entry in entries]
        return await self._thread.run(lambda connection: self._insert(connection, rows))

    def _insert(
        self,
        connection: sqlite3.Connection,
        rows: Iterable[tuple[str, str, str, str | None, float]],
    ) -> list[Added]:
        now = self._now()
        added = []
        for queue, key, payload, resource, delay in rows:
            inserted = connection.execute(
                "INSERT INTO entry (queue, key, payload, resource, state, due, created_at, "
                "changed_at) VALUES (?, ?, ?, ?, 'waiting', ?, ?, ?) "
                "ON CONFLICT (queue, key) DO NOTHING RETURNING id",
                (queue, key, payload, resource, now + delay, now, now),
            ).fetchall()
            known = (
                inserted
                or connection.execute(
                    "SELECT id FROM entry WHERE queue = ? AND key = ?", (queue, key)
                ).fetchall()
            )
            added.append(Added(known[0][0], bool(inserted)))
        return added

    async def claim(self, free: Mapping[str, int], lease: float) -> list[Claim]:
        """See `Store.claim`."""

        def run(connection: sqlite3.Connection) -> list[Claim]:
            now = self._now()
            found = [
                row
                for queue, limit in free.items()
                if limit > 0
                for row in connection.execute(CLAIM, (queue, now, limit))
            ]
            found.sort(key=lambda row: (row[10], row[0]))  # by due, id
            claims = []
            for row in found:
                token = records.new_token(row[0])
                claimed = connection.execute(
                    TAKE,
                    (now + lease, token, now, self._server, row[0]),
                ).fetchall()
                claims.append(Claim(self._read(claimed[0]), token))
            return claims

        return await self._thread.run(run, give_back=self._give_back)

    def _give_back(self, claims: list[Claim]) -> None:
        """Undo a claim whose caller was cancelled before it got it."""
        tokens = [(self._now(), records.token_id(claim.token), claim.token) for claim in claims]
        self._thread.spawn(
            lambda connection: connection.executemany(
                "UPDATE entry SET state = 'waiting', due = ?, token = NULL "
                "WHERE id = ? AND token = ?",
                tokens,
            )
        )

    async def next_due(self, queues: Collection[str]) -> float | None:
        """See `Store.next_due`."""

        def run(connection: sqlite3.Connection) -> float | None:
            times = [connection.execute(NEXT_DUE, (queue,)).fetchone()[0] for queue in queues]
            known = [due for due in times if due is not None]
            return max(0.0, min(known) - self._now()) if known else None

        return await self._thread.run(run, writes=False)

    async def renew(self, tokens: Collection[str], lease: float) -> set[str]:
        """See `Store.renew`."""

        def run(connection: sqlite3.Connection) -> set[str]:
            end = self._now() + lease
            return {
                token
                for token in tokens
                if not connection.execute(
                    "UPDATE entry SET due = ? WHERE id = ? AND token = ?",
                    (end, records.token_id(token), token),
                ).rowcount
            }

        return await self._thread.run(run)

    async def save(self, token: str, resume: Json, progress: Progress) -> None:
        """See `Store.save`."""
        await self._update(
            token,
            "resume = ?, done = ?, total = ?, bytes = ?",
            (records.dump_optional(resume), *records.flat(progress)),
        )

    async def finish(self, token: str, outcome: Outcome) -> None:
        """See `Store.finish`."""
        common = "token = NULL, changed_at = ?, done = ?, total = ?, bytes = ?, state = ?"
        values = (*records.flat(outcome.progress),)
        if isinstance(outcome, Again):
            column = "attempts" if outcome.counted else "interruptions"
            await self._update(
                token,
                f"{common}, resume = ?, error = coalesce(?, error), {column} = {column} + 1",
                (
                    *values,
                    State.WAITING,
                    records.dump_optional(outcome.resume),
                    records.printable(outcome.error),
                ),
                delay=records.check_delay(outcome.delay),
            )
        elif isinstance(outcome, Dead):
            await self._update(
                token,
                f"{common}, resume = ?, error = ?, reason = ?, attempts = attempts + ?",
                (
                    *values,
                    State.DEAD,
                    records.dump_optional(outcome.resume),
                    records.printable(outcome.error),
                    records.printable(outcome.reason),
                    outcome.counted,
                ),
                delay=0.0,
            )
        else:
            await self._update(token, f"{common}, resume = NULL", (*values, State.DONE), delay=0.0)

    async def _update(
        self, token: str, columns: str, values: tuple[object, ...], *, delay: float | None = None
    ) -> None:
        """Change the entry of a token; with a delay, its `changed_at` and `due` too."""

        def run(connection: sqlite3.Connection) -> None:
            now = self._now()
            times, due = ((), "") if delay is None else ((now,), f", due = {now + delay!r}")
            changed = connection.execute(
                f"UPDATE entry SET {columns}{due} WHERE id = ? AND token = ?",  # noqa: S608
                (*times, *values, records.token_id(token), token),
            ).rowcount
            if not changed:
                raise LeaseLost(f"entry {records.token_id(token)} of {self._file.path}")

        await self._thread.run(run)

    async def retry(self, ids: Collection[int]) -> int:
        """See `Store.retry`."""
        return await self._change(
            ids,
            "state = 'waiting', due = :now, attempts = 0, interruptions = 0, reason = NULL",
            "state IN ('waiting', 'dead', 'cancelled')",
        )

    async def cancel(self, ids: Collection[int]) -> int:
        """See `Store.cancel`."""
        return await self._change(ids, "state = 'cancelled', token = NULL", OPEN)

    async def _change(self, ids: Collection[int], columns: str, condition: str) -> int:
        wanted = json.dumps(records.known_ids(ids))

        def run(connection: sqlite3.Connection) -> int:
            return connection.execute(
                f"UPDATE entry SET {columns}, changed_at = :now "  # noqa: S608 - no values
                f"WHERE id IN (SELECT value FROM json_each(:ids)) AND {condition}",
                {"now": self._now(), "ids": wanted},
            ).rowcount

        return await self._thread.run(run)

    async def purge(
        self, *, queue: str | None, states: Collection[State], older: float, keep_keys: bool
    ) -> int:
        """See `Store.purge`."""
        until = self._now() - older
        count = 0
        for state in FINISHED.intersection(states):
            while True:
                some = await self._thread.run(
                    lambda connection, state=state: _purge_some(  # type: ignore[misc]
                        connection, queue, state, until, keep_keys=keep_keys
                    )
                )
                count += some[0]
                if max(some) < PURGED_AT_ONCE:
                    break
        return count

    async def entry(self, id: int) -> Entry | None:  # noqa: A002
        """See `Store.entry`."""

        def run(connection: sqlite3.Connection) -> Entry | None:
            row = connection.execute(
                f"SELECT {records.COLUMNS} FROM entry WHERE id = ? AND state <> ?",  # noqa: S608
                (id, schema.PURGED),
            ).fetchone()
            return self._read(row) if row else None

        return await self._thread.run(run, writes=False) if records.known_ids([id]) else None

    async def entries(
        self,
        *,
        queue: str | None = None,
        states: Collection[State] | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """See `Store.entries`."""
        top = records.MAX_ID if before is None else max(min(before, records.MAX_ID), 0)
        limit = max(0, min(limit, records.MAX_ID))

        def run(connection: sqlite3.Connection) -> list[Entry]:
            queues = [queue] if queue is not None else _queues(connection)
            # A page of each queue and state is at most what the whole page needs of it.
            rows = [
                row
                for name in queues
                for state in State
                if states is None or state in states
                for row in connection.execute(PAGE, (name, state, top, limit))
            ]
            rows.sort(key=lambda row: -row[0])
            return [self._read(row) for row in rows[:limit]]

        return await self._thread.run(run, writes=False)

    async def counts(self) -> dict[str, QueueCounts]:
        """See `Store.counts`."""

        def run(connection: sqlite3.Connection) -> dict[str, QueueCounts]:
            states: dict[str, dict[State, int]] = {}
            for queue, state, number in connection.execute(COUNT):
                if state != schema.PURGED:
                    states.setdefault(queue, {})[State(state)] = number
            counts = {}
            for queue, numbers in states.items():
                created = [
                    connection.execute(OLDEST, (queue, state)).fetchone()[0]
                    for state in numbers
                    if state not in FINISHED
                ]
                age = max(0.0, self._now() - min(created)) if created else None
                counts[queue] = QueueCounts(numbers, age)
            return counts

        return await self._thread.run(run, writes=False)

    # --- subscriptions

    async def subscribe(self, name: str, cursor: int, since: str, mark: str = "") -> Subscription:
        """See `Store.subscribe`."""

        def run(connection: sqlite3.Connection) -> Subscription:
            new = connection.execute(
                "INSERT INTO subscription (name, cursor, since, mark) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO NOTHING",
                (name, cursor, since, mark),
            ).rowcount
            row = connection.execute(
                "SELECT name, cursor, since, mark FROM subscription WHERE name = ?", (name,)
            ).fetchone()
            return dataclasses.replace(Subscription(*row), new=bool(new))

        return await self._thread.run(run)

    async def subscriptions(self) -> list[Subscription]:
        """See `Store.subscriptions`."""

        def run(connection: sqlite3.Connection) -> list[Subscription]:
            rows = connection.execute("SELECT name, cursor, since, mark FROM subscription")
            return [Subscription(*row) for row in rows]

        return await self._thread.run(run, writes=False)

    async def lead(self, lease: float) -> bool:  # noqa: ARG002 - the file has one server only
        """See `Store.lead`."""
        return True

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
        moves = [
            (cursor, (marks or {}).get(name), name, back, cursor)
            for name, cursor in cursors.items()
        ]

        def run(connection: sqlite3.Connection) -> int:
            added = self._insert(connection, rows)
            connection.executemany(
                "UPDATE subscription SET cursor = ?, mark = coalesce(?, mark) "
                "WHERE name = ? AND (? OR cursor <= ?)",
                moves,
            )
            return sum(entry.new for entry in added)

        return await self._thread.run(run)


def purged(*, by_queue: bool) -> str:
    """Return the statement for the entries that a purge takes, the oldest first."""
    more = " AND queue = :queue" if by_queue else ""
    return (
        f"SELECT id FROM entry WHERE state = :state AND changed_at <= :until{more} "  # noqa: S608
        "ORDER BY changed_at LIMIT :limit"
    )


def _queues(connection: sqlite3.Connection) -> list[str]:
    """Return the names of all queues, by one look into the index for each."""
    names: list[str] = []
    while found := connection.execute(QUEUE_AFTER, (names[-1] if names else "",)).fetchone():
        names.append(found[0])
    return names


def _purge_some(
    connection: sqlite3.Connection,
    queue: str | None,
    state: State,
    until: float,
    *,
    keep_keys: bool,
) -> tuple[int, int]:
    """Return how many entries were purged, and how many keys of earlier purges forgotten."""
    chosen = purged(by_queue=queue is not None)
    values = {"state": state, "until": until, "queue": queue, "limit": PURGED_AT_ONCE}
    if keep_keys:
        stripped = connection.execute(
            f"UPDATE entry SET state = '{schema.PURGED}', reason = state, "  # noqa: S608
            "payload = '', resource = NULL, error = NULL, resume = NULL, server = NULL "
            f"WHERE id IN ({chosen})",
            values,
        ).rowcount
        return stripped, 0
    removed = connection.execute(f"DELETE FROM entry WHERE id IN ({chosen})", values).rowcount  # noqa: S608
    # Keys that an earlier purge has kept are forgotten with the others.
    kept = chosen.replace("state = :state", f"state = '{schema.PURGED}' AND reason = :state")
    forgotten = connection.execute(f"DELETE FROM entry WHERE id IN ({kept})", values).rowcount  # noqa: S608
    return removed, forgotten
