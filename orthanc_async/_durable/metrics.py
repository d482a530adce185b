"""The durable part in Orthanc's metrics, at `/tools/metrics-prometheus`.

Orthanc's metrics have no labels, so the name of the queue ends the name of the metric. Orthanc
1.10 keeps 32-bit floats, which count up to 16 million and then stand still. So no counter here
goes beyond `_MOST`: it then begins anew, with what has come since it was last read. To Prometheus
that is a counter that was reset, and `rate` and `increase` miss nothing.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING

from orthanc_async import _registry, metrics
from orthanc_async._durable import surface
from orthanc_async._durable.store import Again, Dead, Progress, State, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection

    from orthanc_async._durable.store import Outcome

_PREFIX = "orthanc_async_"
_MOST = 100_000.0  # a 32-bit float of this size still has steps of 0.008
_BEAT = 0.25  # seconds
_TIMEOUT = 5.0
_MEGABYTE = 1e6


class Counter:
    """A sum that is exact inside and fits a 32-bit float outside."""

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
        if new + shown > _MOST and new < shown:
            self._base = self._read
        self._read = self._sum
        return self._sum - self._base


class _Queue:
    """What has happened in one queue since the start."""

    def __init__(self) -> None:
        self.counters = {
            name: Counter() for name in ("attempts", "failures", "megabytes", "handler_seconds")
        }


class _State:
    def __init__(self) -> None:
        self.queues: dict[str, _Queue] = {}
        self.seen: set[str] = set()
        self.lag = 0.0


_state = _State()


@_registry.on_clear
def _clear() -> None:
    global _state  # noqa: PLW0603 - one set of numbers a start
    _state = _State()


def register() -> None:
    """Have the metrics brought up to date when Orthanc is asked for them."""
    metrics.refresh(timeout=_TIMEOUT)(refresh)


def attempt_ended(
    queue: str, outcome: Outcome | None, seconds: float, before: Progress, after: Progress
) -> None:
    """Count an attempt. The engine calls it, on the loop, for each that has ended.

    Args:
        queue: The name of its queue.
        outcome: How it has ended; None: it was cancelled.
        seconds: How long it took.
        before: The progress that an earlier attempt had saved.
        after: The progress at its end.
    """
    counters = _state.queues.setdefault(queue, _Queue()).counters
    counters["attempts"].add(1)
    counters["handler_seconds"].add(seconds)
    failed = isinstance(outcome, (Again, Dead)) and getattr(outcome, "counted", True)
    counters["failures"].add(1 if failed else 0)
    # One that has begun anew has less than the one before.
    sent = after.bytes - before.bytes if after.bytes >= before.bytes else after.bytes
    counters["megabytes"].add(sent / _MEGABYTE)


async def refresh() -> dict[str, float]:
    """Return all metrics."""
    values: dict[str, float] = {f"{_PREFIX}loop_lag_seconds": _state.lag}
    _state.lag = 0.0
    engine = surface.engine()
    if engine is None:
        return values
    running = engine.running()
    values[f"{_PREFIX}active"] = len(running)
    try:
        counts = await surface.counts().get(engine.store)
    except StoreError:  # those of the queues keep their last values
        return {**values, f"{_PREFIX}store_answers": 0.0}
    values[f"{_PREFIX}store_answers"] = 1.0
    # A queue that was purged is empty: Orthanc would keep its last numbers.
    _state.seen |= {*engine.queues, *counts, *_state.queues}
    suffixes = suffixes_of(_state.seen)
    for name in _state.seen:
        queue = counts.get(name)
        numbers: dict[str, float] = {
            state.value: queue.states.get(state, 0) if queue is not None else 0 for state in State
        }
        numbers["oldest_seconds"] = (queue.oldest or 0.0) if queue is not None else 0.0
        numbers["active"] = sum(one.queue == name for one in running)
        counters = _state.queues.setdefault(name, _Queue()).counters
        numbers.update({one: counter.read() for one, counter in counters.items()})
        for what, value in numbers.items():
            values[f"{_PREFIX}queue_{what}_{suffixes[name]}"] = value
    return values


def suffixes_of(names: Collection[str]) -> dict[str, str]:
    """Return how the names of metrics end, by the names of queues; no two are alike."""
    suffixes = {name: re.sub(r"[^a-zA-Z0-9_]", "_", name) for name in names}
    alike: dict[str, list[str]] = {}
    for name, suffix in suffixes.items():
        alike.setdefault(suffix, []).append(name)
    for suffix, found in alike.items():
        if len(found) > 1:
            for name in found:
                if name != suffix:
                    suffixes[name] = f"{suffix}_{zlib.crc32(name.encode()):08x}"
    return suffixes


async def watch_loop() -> None:
    """Note how late the loop wakes its tasks; the longest since the last reading is shown."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _BEAT
        await asyncio.sleep(_BEAT)
        _state.lag = max(_state.lag, loop.time() - due)
