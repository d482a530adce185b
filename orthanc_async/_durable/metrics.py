"""The durable part in Orthanc's metrics, at `/tools/metrics-prometheus`.

Orthanc's metrics have no labels: the name of the queue ends the name of the metric.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING

from orthanc_async import _registry, metrics
from orthanc_async._durable import figures, surface
from orthanc_async._durable.store import QueueCounts, State, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection

_PREFIX = "orthanc_async_"
_BEAT = 0.25  # seconds
_TIMEOUT = 5.0


class _State:
    def __init__(self) -> None:
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


async def refresh() -> dict[str, float]:
    """Return all metrics."""
    values: dict[str, float] = {f"{_PREFIX}loop_lag_seconds": _state.lag}
    _state.lag = 0.0
    engine = surface.engine()
    if engine is None:
        return values
    running = [one.queue for one in engine.running()]
    values[f"{_PREFIX}active"] = len(running)
    try:
        counts = await surface.counts().get(engine)
    except StoreError:  # those of the queues keep their last values
        return {**values, f"{_PREFIX}store_answers": 0.0}
    values[f"{_PREFIX}store_answers"] = 1.0
    # A queue that was purged is empty: Orthanc would keep its last numbers.
    _state.seen |= {*engine.queues, *counts}
    suffixes = suffixes_of(_state.seen)
    for name, suffix in suffixes.items():
        queue = counts.get(name) or QueueCounts()
        numbers: dict[str, float] = {state.value: queue.states.get(state, 0) for state in State}
        numbers["oldest_seconds"] = queue.oldest or 0.0
        numbers["active"] = running.count(name)
        for what, counter in figures.of(name).items():
            numbers[what] = counter.read()
        for what, value in numbers.items():
            values[f"{_PREFIX}queue_{what}_{suffix}"] = value
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
