"""The sweep: finds stable resources whose stable event Orthanc has never logged.

That a resource is stable Orthanc keeps in memory only. What was being received when it crashed is
never called stable after the next start, unless more arrives.

A resource is taken when its LastUpdate is older than StableAge. Its delivery has the same key as
that of its event, so nothing is delivered twice. Thread: the loop's.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async._durable import deliveries
from orthanc_async._durable.deliveries import get, get_text
from orthanc_async._durable.options import TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orthanc_async._durable.engine import Engine
    from orthanc_async._durable.reader import Position
    from orthanc_async._durable.subscriptions import Source

logger = logging.getLogger("orthanc_async.durable")

EVERY = 3600.0  # seconds
LOOK_BACK = EVERY  # where the clock was set back: that was after the last sweep
PAGE = 50  # resources asked for at once
# Each page begins a little before the end of the last one: what is deleted meanwhile moves up.
OVERLAP = 5
LEAST_PAUSE = 0.01
MARGIN = 60  # seconds; in PostgreSQL a resource may become visible after a newer one

Info = dict[str, Any]


class Sweep:
    """Sweeps for some subscriptions."""

    def __init__(
        self, engine: Engine, sources: Mapping[str, Source], positions: Mapping[str, Position]
    ) -> None:
        self._engine = engine
        self._positions = positions
        self._levels = {
            level: [source for source in sources.values() if source.wants(f"Stable{level}", level)]
            for level in ("Patient", "Study", "Series")
        }
        # What had an older LastUpdate has been seen by an earlier sweep, by level.
        self._done: dict[str, str] = {}
        # Where the clock was set back, what is new may seem older than the subscription: from
        # when on things count nevertheless. The latest time seen tells.
        self._earliest = "9"
        self._latest = max(
            (positions[name].since for name, source in sources.items() if source.since is None),
            default="",
        )
        configuration = json.loads(orthanc.GetConfiguration())
        self._stable_age = max(0, int(configuration.get("StableAge", 60)))
        self._first = True

    async def step(self) -> None:
        """Sweep once; the first time, wait before for what was being received."""
        if not any(self._levels.values()):
            await asyncio.Event().wait()
        if self._first:
            await self._now()
            await asyncio.sleep(self._stable_age + 1)
            self._first = False
        for level, sources in self._levels.items():
            if sources:
                await self._sweep(level, sources)

    async def rest(self) -> None:
        """Wait until the next sweep."""
        await asyncio.sleep(EVERY)

    async def _sweep(self, level: str, sources: list[Source]) -> None:
        loop = asyncio.get_running_loop()
        now = await self._now()
        ripe = earlier(now, self._stable_age)
        done = self._done.get(level, "")
        # What is not ripe yet is looked at again by the next sweep.
        unripe = earlier(now, self._stable_age + MARGIN)
        found = start = 0
        while True:
            began = loop.time()
            path = f"/{deliveries.FOLDERS[level]}?expand&since={start}&limit={PAGE}"
            page: list[Info] = await get(path)
            entries = []
            for info in page:
                updated = str(info.get("LastUpdate", ""))
                if updated < done:
                    continue
                # One from the future is from before the clock was set back: it is old enough.
                if not info["IsStable"] or ripe < updated <= now:
                    unripe = min(unripe, updated)
                    continue
                entries += [
                    deliveries.entry(
                        source.name,
                        deliveries.stable_key(level, info["ID"], updated),
                        f"Stable{level}",
                        level,
                        info["ID"],
                        updated=updated,
                        seq=None,
                    )
                    for source in sources
                    if updated >= self._since(source)
                ]
            if entries:
                added = await self._engine.store.advance({}, entries)
                found += added
                if added:
                    self._engine.wake()
            if len(page) < PAGE:
                break
            start += PAGE - OVERLAP
            # Half of the time is Orthanc's and the other handlers'.
            await asyncio.sleep(max(LEAST_PAUSE, loop.time() - began))
        self._done[level] = unripe
        if found:
            logger.info("the sweep has found %d deliveries of level %s", found, level)

    async def _now(self) -> str:
        now = await get_text("/tools/now")
        if now < self._latest:
            logger.warning("Orthanc's clock was set back: the sweep looks at everything again")
            self._earliest = min(self._earliest, earlier(now, LOOK_BACK))
            self._done.clear()
        self._latest = now
        return now

    def _since(self, source: Source) -> str:
        since = self._positions[source.name].since
        return min(since, self._earliest) if source.since is None else since


def earlier(time: str, seconds: float) -> str:
    """Return a time of Orthanc's, so many seconds before another."""
    return (dt.datetime.strptime(time, TIME) - dt.timedelta(seconds=seconds)).strftime(TIME)  # noqa: DTZ007
