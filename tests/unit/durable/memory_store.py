# ruff: noqa: D102, A002, ARG002 - the interface has the words
"""A store in memory, with a clock that tests set and errors that they order."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, Any

from orthanc_async._durable.store import (
    FINISHED,
    Added,
    Again,
    Claim,
    Dead,
    Done,
    Entry,
    LeaseLost,
    Progress,
    QueueCounts,
    State,
    Store,
    Subscription,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from orthanc_async._durable.store import Json, NewEntry, Outcome


class MemoryStore(Store):
    """Entries in a dict; `fail[name]` holds the errors that the next calls of a method raise."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rows: dict[int, Entry] = {}
        self.due: dict[int, float] = {}
        self.tokens: dict[str, int] = {}
        self.known: dict[str, Subscription] = {}
        self.fail: dict[str, list[Exception]] = {}
        self.calls: list[str] = []
        self.is_open = False
        self.leads = True
        self._numbers = itertools.count(1)

    @property
    def description(self) -> str:
        """What it is."""
        return "the memory"

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.fail.get(name):
            raise self.fail[name].pop(0)

    async def open(self) -> None:
        self._called("open")
        self.is_open = True
        for row in list(self.rows.values()):
            if row.state is State.RUNNING:
                self._interrupt(row)
        self.tokens.clear()

    def _interrupt(self, row: Entry) -> None:
        self._set(row.id, state=State.WAITING, interruptions=row.interruptions + 1)
        self.due[row.id] = self.now

    async def close(self) -> None:
        self._called("close")
        self.is_open = False

    def _set(self, id_: int, **values: Any) -> Entry:
        self.rows[id_] = dataclasses.replace(self.rows[id_], **values)
        return self.rows[id_]

    async def add(self, entries: Sequence[NewEntry]) -> list[Added]:
        self._called("add")
        return [self._add(entry) for entry in entries]

    def _add(self, new: NewEntry) -> Added:
        for row in self.rows.values():
            if (row.queue, row.key) == (new.queue, new.key):
                return Added(row.id, new=False)
        id_ = next(self._numbers)
        payload = json.loads(json.dumps(new.payload))
        self.rows[id_] = Entry(
            id_, new.queue, new.key, payload, new.resource, State.WAITING, 0, 0, self.now,
            self.now, 0.0, None, None, None, Progress(), None,
        )  # fmt: skip
        self.due[id_] = self.now + new.delay
        return Added(id_, new=True)

    async def claim(self, free: Mapping[str, int], lease: float) -> list[Claim]:
        self._called("claim")
        left = dict(free)
        claims = []
        for id_ in sorted(self.rows, key=lambda id_: (self.due[id_], id_)):
            row = self.rows[id_]
            if row.state in FINISHED or self.due[id_] > self.now or left.get(row.queue, 0) < 1:
                continue
            left[row.queue] -= 1
            if row.state is State.RUNNING:
                self._interrupt(row)
                self._drop(id_)
            token = f"{id_}.{next(self._numbers)}"
            self.tokens[token] = id_
            self.due[id_] = self.now + lease
            claims.append(Claim(self._set(id_, state=State.RUNNING), token))
        return claims

    def _drop(self, id_: int) -> None:
        self.tokens = {token: of for token, of in self.tokens.items() if of != id_}

    async def next_due(self, queues: Collection[str]) -> float | None:
        self._called("next_due")
        waiting = [
            self.due[row.id]
            for row in self.rows.values()
            if row.state not in FINISHED and row.queue in queues
        ]
        return max(0.0, min(waiting) - self.now) if waiting else None

    def _mine(self, token: str) -> int:
        if token not in self.tokens:
            raise LeaseLost(token)
        return self.tokens[token]

    async def renew(self, tokens: Collection[str], lease: float) -> set[str]:
        self._called("renew")
        for token in tokens:
            if token in self.tokens:
                self.due[self.tokens[token]] = self.now + lease
        return {token for token in tokens if token not in self.tokens}

    async def save(self, token: str, resume: Json, progress: Progress) -> None:
        self._called("save")
        self._set(self._mine(token), resume=resume, progress=progress)

    async def finish(self, token: str, outcome: Outcome) -> None:
        self._called("finish")
        row = self.rows[self._mine(token)]
        self._drop(row.id)
        progress = outcome.progress
        if isinstance(outcome, Done):
            self._set(row.id, state=State.DONE, progress=progress)
        elif isinstance(outcome, Dead):
            self._set(
                row.id, state=State.DEAD, reason=outcome.reason, error=outcome.error,
                resume=outcome.resume, attempts=row.attempts + outcome.counted, progress=progress,
            )  # fmt: skip
        else:
            assert isinstance(outcome, Again)
            self._set(
                row.id, state=State.WAITING, error=outcome.error, resume=outcome.resume,
                attempts=row.attempts + outcome.counted, progress=progress,
                interruptions=row.interruptions + (not outcome.counted),
            )  # fmt: skip
            self.due[row.id] = self.now + outcome.delay

    async def retry(self, ids: Collection[int]) -> int:
        self._called("retry")
        kinds = {State.WAITING, State.DEAD, State.CANCELLED}
        chosen = [id_ for id_ in ids if self.rows[id_].state in kinds]
        for id_ in chosen:
            self._set(id_, state=State.WAITING, attempts=0, interruptions=0)
            self.due[id_] = self.now
        return len(chosen)

    async def cancel(self, ids: Collection[int]) -> int:
        self._called("cancel")
        chosen = [id_ for id_ in ids if self.rows[id_].state not in FINISHED]
        for id_ in chosen:
            self._set(id_, state=State.CANCELLED)
            self._drop(id_)
        return len(chosen)

    async def purge(self, **_: Any) -> int:
        raise NotImplementedError

    async def entry(self, id: int) -> Entry | None:
        self._called("entry")
        return self.rows.get(id)

    async def entries(self, *, states: Collection[State] | None = None, **_: Any) -> list[Entry]:
        self._called("entries")
        rows = [row for row in self.rows.values() if states is None or row.state in states]
        return sorted(rows, key=lambda row: -row.id)

    async def counts(self) -> dict[str, QueueCounts]:
        raise NotImplementedError

    async def subscribe(self, name: str, cursor: int, since: str, mark: str = "") -> Subscription:
        self._called("subscribe")
        if name in self.known:
            return self.known[name]
        self.known[name] = Subscription(name, cursor, since, mark)
        return dataclasses.replace(self.known[name], new=True)

    async def subscriptions(self) -> list[Subscription]:
        return list(self.known.values())

    async def lead(self, lease: float) -> bool:
        self._called("lead")
        return self.leads

    async def advance(
        self,
        cursors: Mapping[str, int],
        entries: Sequence[NewEntry],
        *,
        marks: Mapping[str, str] | None = None,
        back: bool = False,
    ) -> int:
        self._called("advance")
        if not self.leads:
            raise LeaseLost("another server leads")
        for name, cursor in cursors.items():
            known = self.known[name]
            if cursor >= known.cursor or back:
                mark = (marks or {}).get(name, known.mark)
                self.known[name] = dataclasses.replace(known, cursor=cursor, mark=mark)
        return sum(self._add(entry).new for entry in entries)
