"""Numbers of what the worker does, counted on the loop and read by `metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orthanc_async import _registry
from orthanc_async._durable.store import Again, Dead

if TYPE_CHECKING:
    from orthanc_async._durable.store import Outcome

MOST = 100_000.0  # a 32-bit float of this size still has steps of 0.008
NAMES = ("attempts", "failures", "megabytes", "handler_seconds")
_MEGABYTE = 1e6


class Counter:
    """A sum that is exact inside and fits a 32-bit float outside.

    Orthanc 1.10 keeps metrics as such floats: they count up to 16 million and then stand still.
    So what is shown begins anew above `MOST`, with what has come since it was last read. To
    Prometheus that is a counter that was reset: its `rate` and `increase` miss nothing.
    """

    def __init__(self) -> None:
        self._sum = 0.0
        self._read = 0.0
        self._base = 0.0

    def add(self, value: float) -> None:
        """Count so much more."""
        self._sum += value

    def read(self) -> float:
        """Return what to show."""
        # Not when more has come than was shown last: that would not look like a reset.
        new, shown = self._sum - self._read, self._read - self._base
        if new + shown > MOST and new < shown:
            self._base = self._read
        self._read = self._sum
        return self._sum - self._base


_counters: dict[str, dict[str, Counter]] = {}


@_registry.on_clear
def _clear() -> None:
    _counters.clear()


def of(queue: str) -> dict[str, Counter]:
    """Return the counters of a queue, by `NAMES`."""
    found = _counters.get(queue)
    if found is None:
        found = _counters[queue] = {name: Counter() for name in NAMES}
    return found


def attempt_ended(queue: str, outcome: Outcome | None, seconds: float, sent: int) -> None:
    """Count an attempt that has ended.

    Args:
        queue: The name of its queue.
        outcome: How it has ended; None: it was cancelled.
        seconds: How long it took.
        sent: The bytes that it has told.
    """
    counters = of(queue)
    counters["attempts"].add(1)
    counters["failures"].add(isinstance(outcome, Again | Dead) and outcome.counted)
    counters["megabytes"].add(sent / _MEGABYTE)
    counters["handler_seconds"].add(seconds)
