"""What durable subscriptions and tasks keep on disk, as an interface.

SQLite and PostgreSQL implement it; everything else in this package and above it knows only this
module. Every method is a coroutine of the loop's thread, and every change that a method makes is
one transaction: when it returns, the change outlives `kill -9` and a loss of power.

Times are seconds by the store's own clock, which never goes back: PostgreSQL's is the database's,
SQLite's goes on from the latest time in the file. They are compared with each other only; what is
shown to people is `Entry.created_at` and `Entry.changed_at`, in seconds since 1970.
"""

from __future__ import annotations

import abc
import asyncio
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Json = Any  # what json.dumps writes and json.loads gives back


class StoreError(Exception):
    """The store cannot be used; its text names the file or the database, and what helps."""


class StoreLockedError(StoreError):
    """Another server uses the same SQLite file."""


class StoreDamagedError(StoreError):
    """The file or the schema is not one of this project's, or was damaged."""


class LeaseLost(Exception):  # noqa: N818 - a state, named as such
    """The entry is no longer the caller's: it was cancelled, or its lease has run out."""


class State(enum.StrEnum):
    """Where an entry stands."""

    WAITING = "waiting"  # also between two attempts
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"  # a dead letter
    CANCELLED = "cancelled"


FINISHED = frozenset({State.DONE, State.DEAD, State.CANCELLED})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come."""

    done: int = 0
    total: int = 0  # 0: not known
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What `add` writes.

    Attributes:
        queue: The stable name of the task queue or subscription.
        key: Unique in the queue: adding a known key changes nothing, whatever its state.
        payload: What the handler is called with.
        delay: Seconds until the first attempt.
        resource: Orthanc's path of what it is about, such as "/studies/…"; None: nothing there.
    """

    queue: str
    key: str
    payload: Json
    delay: float = 0.0
    resource: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one `NewEntry`: the identifier of the entry with its key."""

    id: int
    new: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is kept.

    Attributes:
        id: Its number in the store.
        queue, key, payload, resource: As it was added.
        state: Where it stands.
        attempts: Attempts that have ended by an error.
        interruptions: Attempts that ended with the server: a crash, or a stop.
        created_at: When it was added, in seconds since 1970.
        changed_at: When its state last changed, in seconds since 1970.
        due_in: For a waiting one: seconds until its next attempt; 0: now.
        reason: Why it is dead, in one word: "refused", "exhausted", "gone", "poison", or the word
            that the handler gave.
        error: The text of the last error.
        resume: What the last attempt saved for the next one.
        progress: Of the running or the last attempt.
        server: Which server runs it, or ran it last.
    """

    id: int
    queue: str
    key: str
    payload: Json
    resource: str | None
    state: State
    attempts: int
    interruptions: int
    created_at: float
    changed_at: float
    due_in: float
    reason: str | None
    error: str | None
    resume: Json
    progress: Progress
    server: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry that the caller may work on until its lease ends; `token` proves it."""

    entry: Entry
    token: str


@dataclass(frozen=True, slots=True)
class Done:
    """The attempt has succeeded."""

    progress: Progress = Progress()


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt follows.

    Attributes:
        delay: After so many seconds.
        error: Why; None for an attempt that the server's stop has interrupted.
        resume: Kept for the next attempt.
        counted: Whether it counts as an attempt; else as an interruption.
    """

    delay: float
    error: str | None
    resume: Json = None
    progress: Progress = Progress()
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Dead:
    """No further attempt: a dead letter, until somebody retries or purges it.

    Attributes:
        reason: Why, in one word.
        error: Why, as a text.
        resume: Kept for an attempt after a `Store.retry`.
        counted: Whether an attempt has failed; else the entry ends without one.
    """

    reason: str
    error: str
    resume: Json = None
    progress: Progress = Progress()
    counted: bool = True


Outcome = Done | Again | Dead


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the store knows of a durable subscription.

    Attributes:
        name: Its stable name, which is that of its queue too.
        cursor: The sequence number of the last change that was taken from `/changes`.
        since: Resources whose LastUpdate (Orthanc's text, "YYYYMMDDTHHMMSS") is older than this
            are none of its business.
        mark: What the reader of `/changes` has noted with the cursor; the store only keeps it.
        new: Whether this call has made it.
    """

    name: str
    cursor: int
    since: str
    mark: str = ""
    new: bool = False


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The numbers of one queue."""

    states: Mapping[State, int] = field(default_factory=dict)
    oldest: float | None = None  # age of the oldest unfinished entry, in seconds


class Store(abc.ABC):
    """One place where entries and cursors are kept.

    Attributes:
        shared: Whether other servers may add entries, so that the worker has to look for them.
    """

    shared: bool = False

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """What the store is, for errors and logs: the file, or the URL without its password."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Connect, bring the schema up to date, take back what a crash left running.

        Raises:
            StoreLockedError: Another server uses the file.
            StoreDamagedError: It is damaged, or a newer version of this project wrote it.
            StoreError: It cannot be opened or written.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Let go of it; what still runs is not touched. Does nothing when it is not open."""

    # --- entries

    @abc.abstractmethod
    async def add(self, entries: Sequence[NewEntry]) -> list[Added]:
        """Write entries whose keys are new; all or none. In the order given."""

    @abc.abstractmethod
    async def claim(self, free: Mapping[str, int], lease: float) -> list[Claim]:
        """Take entries that are due, and those whose lease has run out; oldest due first.

        One whose lease has run out gets one more interruption.

        Args:
            free: How many to take at most, by queue.
            lease: Seconds for which they are the caller's.
        """

    @abc.abstractmethod
    async def next_due(self, queues: Collection[str]) -> float | None:
        """Return the seconds until `claim` would find something; None: nothing is waiting."""

    async def changed(self) -> None:
        """Wait until another server has added something; for ever in a store that is not shared.

        A hint only: some may be missed, such as those before the first call.

        Raises:
            StoreError: The connection was lost.
        """
        await asyncio.Event().wait()

    async def moved(self) -> bool:
        """Tell whether what was opened is no longer where it was: it has to be opened again.

        Raises:
            StoreError: Nobody can tell.
        """
        return False

    @abc.abstractmethod
    async def renew(self, tokens: Collection[str], lease: float) -> set[str]:
        """Extend leases by so many seconds from now; return the tokens that are lost."""

    @abc.abstractmethod
    async def save(self, token: str, resume: Json, progress: Progress) -> None:
        """Keep what a later attempt needs to go on from here.

        Raises:
            LeaseLost: The entry is no longer the caller's; nothing was written.
        """

    @abc.abstractmethod
    async def finish(self, token: str, outcome: Outcome) -> None:
        """End an attempt.

        Raises:
            LeaseLost: The entry is no longer the caller's; nothing was written.
        """

    @abc.abstractmethod
    async def retry(self, ids: Collection[int]) -> int:
        """Make waiting, dead or cancelled entries due now, with no attempts; return how many."""

    @abc.abstractmethod
    async def cancel(self, ids: Collection[int]) -> int:
        """Cancel entries that are not finished; a running one loses its lease; return how many."""

    @abc.abstractmethod
    async def purge(
        self, *, queue: str | None, states: Collection[State], older: float, keep_keys: bool
    ) -> int:
        """Remove finished entries; return how many.

        Args:
            queue: Only this one; None: all.
            states: Which finished states.
            older: Only those finished for at least so many seconds.
            keep_keys: Whether their keys stay known, so that `add` still refuses them.
        """

    @abc.abstractmethod
    async def entry(self, id: int) -> Entry | None:  # noqa: A002
        """Return one entry."""

    @abc.abstractmethod
    async def entries(
        self,
        *,
        queue: str | None = None,
        states: Collection[State] | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """List entries, the newest first.

        Args:
            queue: Only this one; None: all.
            states: Only these; None: all.
            before: Only entries with smaller identifiers: the last one of the page before.
            limit: At most so many.
        """

    @abc.abstractmethod
    async def counts(self) -> dict[str, QueueCounts]:
        """Count the entries of every queue that has any."""

    # --- subscriptions

    @abc.abstractmethod
    async def subscribe(self, name: str, cursor: int, since: str, mark: str = "") -> Subscription:
        """Return the subscription of this name; make it with these values if there is none."""

    @abc.abstractmethod
    async def subscriptions(self) -> list[Subscription]:
        """List all subscriptions, also those that no script has any more."""

    @abc.abstractmethod
    async def lead(self, lease: float) -> bool:
        """Become, or stay, the one server that reads `/changes`, for so many seconds."""

    @abc.abstractmethod
    async def advance(
        self,
        cursors: Mapping[str, int],
        entries: Sequence[NewEntry],
        *,
        marks: Mapping[str, str] | None = None,
        back: bool = False,
    ) -> int:
        """Add entries whose keys are new and move cursors, in one transaction.

        Args:
            cursors: By the names of subscriptions. One that lies behind the known cursor changes
                nothing of that subscription, unless `back` is true.
            entries: As for `add`; there may be none, and there may be no cursors.
            marks: What to keep as `Subscription.mark` of those whose cursor is set, by name.
            back: Whether cursors may go back: Orthanc's index was replaced.

        Returns:
            How many entries were new.

        Raises:
            LeaseLost: Another server leads; nothing was written.
        """
