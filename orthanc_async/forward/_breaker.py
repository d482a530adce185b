"""The circuit breaker: a destination that is down is asked now and then, not by everybody."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from orthanc_async import _checks

if TYPE_CHECKING:
    from collections.abc import Callable

_CLAIM = 5.0  # seconds in which the attempt that may try must begin, else another may
_POLL = 1.0  # seconds between two looks while that attempt runs


class Breaker:
    """Holds attempts back while a destination is down. Thread: the loop's.

    After some failures in a row that say that it is down (no connection, a timeout, 5xx, 429), no
    attempt begins for a time; then one does, alone. If that fails, the time doubles; once one has
    an answer, all go on. What is held back does not count as an attempt. Several destinations on
    one server can share a breaker.

    Args:
        failures: How many in a row.
        first: Seconds that it is spared the first time.
        longest: Seconds at most.
        clock: Gives seconds that never go back.
    """

    def __init__(
        self,
        failures: int = 5,
        *,
        first: float = 10.0,
        longest: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one that lets everything through.

        Raises:
            TypeError, ValueError: A number makes no sense.
        """
        _checks.whole("Breaker", "failures", failures)
        _checks.seconds("Breaker", "first", first)
        if _checks.seconds("Breaker", "longest", longest) < first:
            raise ValueError(f"Breaker: longest must be at least first, {first:g} s")
        self._failures = failures
        self._first = first
        self._longest = longest
        self._clock = clock
        self._in_row = 0
        self._openings = 0  # in a row; 0: closed
        self._until = 0.0
        self._trying = 0  # attempts that run while it is half open
        self._offered: float | None = None  # since when one may begin

    def __repr__(self) -> str:
        return (
            f"Breaker({self._failures}, first={self._first:g}, longest={self._longest:g}, "
            f"state={self.state!r})"
        )

    @property
    def state(self) -> str:
        """`closed`, `open` (nothing gets through) or `half-open` (one does)."""
        if not self._openings:
            return "closed"
        return "open" if self._clock() < self._until else "half-open"

    def free(self, wanted: int) -> int:
        """Return how many attempts may begin now, of so many that could."""
        state = self.state
        if state == "closed":
            return wanted
        now = self._clock()
        offered = self._offered is not None and now < self._offered + _CLAIM
        if state == "open" or self._trying or offered or wanted < 1:
            return 0
        self._offered = now
        return 1

    def wait(self) -> float:
        """Return the seconds after which `free` may give more."""
        if not self._openings:
            return 0.0
        return max(self._until - self._clock(), 0.0) or _POLL

    def began(self) -> bool:
        """Note that an attempt begins; give the result to the method that notes its end."""
        tries = self.state == "half-open"
        if tries:
            self._trying += 1
            self._offered = None
        return tries

    def succeeded(self, tries: bool) -> None:  # noqa: FBT001
        """Note that the destination has answered, whatever it has said."""
        self.ended(tries)
        self._in_row = self._openings = 0
        self._offered = None

    def failed(self, tries: bool, after: float | None = None) -> None:  # noqa: FBT001
        """Note that it is down; `after`: the seconds for which it asks to be spared."""
        self.ended(tries)
        self._in_row += 1
        state = self.state
        if state == "closed" and self._in_row < self._failures:
            return
        if state == "open" and not tries:  # had begun before it was opened
            return
        whole = min(self._longest, self._first * 2.0**self._openings)
        self._openings = min(self._openings + 1, 64)
        # Less by chance: many servers that were cut off together do not come back together.
        spared = whole * (1 - 0.25 * random.random())  # noqa: S311 - not a secret
        self._until = self._clock() + max(spared, min(after or 0.0, self._longest))

    def ended(self, tries: bool) -> None:  # noqa: FBT001
        """Note the end of an attempt that says nothing about the destination."""
        if tries:
            self._trying -= 1
