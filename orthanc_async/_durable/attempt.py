"""One attempt at an entry, as handlers and destinations get it, and what they may raise."""

from __future__ import annotations

import contextvars
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from orthanc_async import _checks
from orthanc_async._durable.store import Json, Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class GiveUp(Exception):  # noqa: N818 - an instruction to the worker
    """Make this a dead letter now: no further attempt can succeed.

    Args:
        message: Why, for whoever looks at the dead letter.
        reason: One word for it.

    Raises:
        TypeError, ValueError: The reason is no text, or empty.
    """

    def __init__(self, message: str, *, reason: str = "refused") -> None:
        _checks.text("GiveUp", "reason", reason)
        super().__init__(message)
        self.reason = reason


class RetryLater(Exception):  # noqa: N818 - an instruction to the worker
    """Try again after a time that is known, such as that of an HTTP `Retry-After`.

    Args:
        message: Why.
        after: Seconds until the next attempt; None: as the backoff says.

    Raises:
        TypeError, ValueError: `after` is no number of seconds from 0 on.
    """

    def __init__(self, message: str, *, after: float | None = None) -> None:
        if after is not None:
            _checks.duration("RetryLater", "after", after)
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between two attempts: exponential, with jitter.

    Attributes:
        first: Seconds after the first failed attempt.
        longest: Seconds at most.
        factor: By what it grows from attempt to attempt.
        jitter: The share of the time that is random: 0.5 gives 50 % to 100 % of it.
    """

    first: float = 5.0
    longest: float = 3600.0
    factor: float = 2.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        _checks.duration("Backoff", "first", self.first)
        _checks.duration("Backoff", "longest", self.longest)
        _checks.number("Backoff", "factor", self.factor, 1, 1000)
        _checks.number("Backoff", "jitter", self.jitter, 0, 1)

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failed attempts."""
        exponent = min(failures - 1, 64)
        whole = min(self.longest, self.first * self.factor**exponent)
        return whole * (1 - self.jitter * random.random())  # noqa: S311 - not a secret


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after which times, a delivery or a task is tried.

    Attributes:
        attempts: Failed attempts until it becomes a dead letter.
        backoff: The time between them.
    """

    attempts: int = 10
    backoff: Backoff = Backoff()

    def __post_init__(self) -> None:
        _checks.whole("Retry", "attempts", self.attempts)
        given: object = self.backoff
        if not isinstance(given, Backoff):
            raise TypeError(f"Retry: backoff must be a Backoff, such as Backoff(5), not {given!r}")


class Gate(Protocol):
    """What holds attempts back while they would only fail, such as a circuit breaker."""

    def free(self, wanted: int) -> int:
        """Return how many attempts may begin now, of so many that could."""

    def wait(self) -> float:
        """Return the seconds after which `free` may give more."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How the entries of one queue are worked on.

    A handler that has an attribute `__durable_policy__`, as destinations have, is worked on by
    that, but for what the decorator was given.

    Attributes:
        retry: How often, and when again.
        timeout: Seconds for one attempt; None: no limit.
        concurrency: How many attempts at once.
        gate: Asked before attempts begin.
    """

    retry: Retry = Retry()
    timeout: float | None = None
    concurrency: int = 4
    gate: Gate | None = None


class Attempt:
    """The attempt that runs. Thread: the loop's.

    Attributes:
        id: The entry's number in the store.
        queue: The name of the queue or subscription.
        key: The idempotency key: the same in each attempt at the same thing. Receivers that
            remember it can leave out what comes twice.
        number: 1 for the first attempt; interrupted ones count too.
        payload: What the entry was added with: for a delivery, its event.
        resume: What an earlier attempt has saved, as JSON gives it back; None at first.
        progress: How far it has come; `advance` sets it.
    """

    def __init__(
        self,
        *,
        id: int,  # noqa: A002
        queue: str,
        key: str,
        number: int,
        resume: Json,
        save: Callable[[Json, Progress], Awaitable[None]],
        payload: Json = None,
    ) -> None:
        self.id = id
        self.queue = queue
        self.key = key
        self.number = number
        self.payload = payload
        self.resume = resume
        self.progress = Progress()
        self._save = save

    @property
    def full_key(self) -> str:
        """The key with the queue's name before it: unique in the whole store."""
        return f"{self.queue}/{self.key}"

    def advance(self, *, done: int, total: int = 0, bytes: int = 0) -> None:  # noqa: A002
        """Tell how far it has come: shown at once, written with the next `save`.

        Raises:
            TypeError, ValueError: One is no whole number from 0 on.
        """
        for name, value in (("done", done), ("total", total), ("bytes", bytes)):
            _checks.count("Attempt.advance", name, value)
        self.progress = Progress(done, total, bytes)

    def keep(self, resume: Json) -> None:
        """Set what the next attempt gets; written soon, and when this attempt ends."""
        self.resume = resume

    async def save(self) -> None:
        """Write `resume` and `progress` now: once this returns they outlive a crash."""
        await self._save(self.resume, self.progress)


_current: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar(
    "orthanc_async_attempt", default=None
)


def current() -> Attempt:
    """Return the attempt that the calling task works on.

    Raises:
        LookupError: It is none: the caller is no durable handler or task.
    """
    attempt = _current.get()
    if attempt is None:
        raise LookupError("no attempt runs here: this is neither a durable handler nor a task")
    return attempt
