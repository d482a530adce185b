"""Events for `async def` handlers: in order for one resource, concurrent over all.

EventConcurrency is a count of running tasks rather than a limiter of anyio: to wait for a limiter
takes a task, and an event that waits here has none.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

logger = logging.getLogger("orthanc_async")

Event = TypeVar("Event")


class EventQueue(Generic[Event]):
    """The events of one handler. Everything here runs on the loop's thread.

    A waiting event costs one entry, and no task: tasks exist for running ones only.
    """

    def __init__(
        self,
        call: Callable[[Event], Awaitable[object]],
        describe: Callable[[Event], str],
        concurrency: int,
    ) -> None:
        self._call = call
        self._describe = describe
        self._concurrency = concurrency
        # A key stands here while an event of its resource runs or waits; behind it, later ones.
        self._later: dict[Hashable, deque[Event] | None] = {}
        self._backlog: deque[tuple[Hashable, Event]] = deque()
        self._running: dict[asyncio.Task[None], Event] = {}
        self._idle: asyncio.Event | None = None

    def put(self, key: Hashable, event: Event) -> None:
        """Add an event of the resource `key`; its handler starts as soon as the rules allow."""
        if key in self._later:
            waiting = self._later[key]
            if waiting is None:
                waiting = self._later[key] = deque()
            waiting.append(event)
            return
        self._later[key] = None
        if len(self._running) < self._concurrency:
            self._start(key, event)
        else:
            self._backlog.append((key, event))

    async def wait_idle(self) -> None:
        """Wait until no event waits or runs."""
        while self._later:
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()

    def running(self) -> list[str]:
        """Name the events whose handlers run."""
        return [self._describe(event) for event in self._running.values()]

    def waiting(self) -> int:
        """Count the events that have not begun."""
        later = sum(len(events) for events in self._later.values() if events)
        return later + len(self._backlog)

    def cancel(self) -> int:
        """Drop what waits and cancel what runs; returns how many were dropped."""
        dropped = self.waiting()
        for key, _ in self._backlog:
            del self._later[key]
        self._backlog.clear()
        for key in self._later:
            self._later[key] = None
        for task in self._running:
            task.cancel()
        return dropped

    def _start(self, key: Hashable, event: Event) -> None:
        task = asyncio.get_running_loop().create_task(self._run(key, event))
        self._running[task] = event
        # Not in a `finally`: a task that is cancelled before its first step never gets there.
        task.add_done_callback(functools.partial(self._ended, key))

    async def _run(self, key: Hashable, event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        await self._call(event)
        # On in the same task, but only while nobody waits for its place.
        while not self._backlog and (later := self._later[key]):
            event = self._running[task] = later.popleft()
            await self._call(event)

    def _ended(self, key: Hashable, task: asyncio.Task[None]) -> None:
        event = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s raised", self._describe(event), exc_info=error)
        if later := self._later[key]:
            self._backlog.append((key, later.popleft()))
        else:
            del self._later[key]
        while self._backlog and len(self._running) < self._concurrency:
            self._start(*self._backlog.popleft())
        if not self._later and self._idle is not None:
            self._idle.set()
            self._idle = None
