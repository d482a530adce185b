"""What people see of the durable part: REST, web page, metrics, Orthanc jobs.

The first durable thing that a script declares registers it, once for each start of Orthanc;
without any, nothing here is imported. The other modules of the surface learn of
the engine only here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from orthanc_async import _lifespan, _registry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence

    from orthanc_async._durable.attempt import Attempt, Policy
    from orthanc_async._durable.store import QueueCounts, Store

logger = logging.getLogger("orthanc_async.durable")

_FRESH = 0.5  # seconds for which counts are not asked again
_REST = 4  # times as long as asking has taken, the store is left alone: counting millions takes


class QueueLike(Protocol):
    """What is shown of a queue."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def call(self) -> Callable[..., object]: ...


class RunningLike(Protocol):
    """An attempt that runs now."""

    @property
    def entry_id(self) -> int: ...
    @property
    def queue(self) -> str: ...
    @property
    def attempt(self) -> Attempt: ...


class EngineLike(Protocol):
    """What the surface asks of the engine. Thread: the loop's."""

    @property
    def store(self) -> Store: ...  # raises StoreError while it is not open
    @property
    def queues(self) -> Mapping[str, QueueLike]: ...
    def running(self) -> Sequence[RunningLike]: ...
    async def cancel(self, ids: Collection[int]) -> int: ...
    async def retry(self, ids: Collection[int]) -> int: ...


class Counts:
    """The numbers of all queues, asked for at most twice a second. Thread: the loop's."""

    def __init__(self) -> None:
        self._asked: asyncio.Task[dict[str, QueueCounts]] | None = None
        self._until = 0.0

    async def get(self, engine: EngineLike) -> dict[str, QueueCounts]:
        """Return them; callers at the same time share one question to the store.

        Raises:
            StoreError: It cannot be asked.
        """
        loop = asyncio.get_running_loop()
        task = self._asked
        if task is None or (task.done() and (loop.time() >= self._until or _has_failed(task))):
            begun = loop.time()
            task = self._asked = loop.create_task(engine.store.counts())
            task.add_done_callback(lambda done: self._answered(done, loop.time() - begun))
        # One that waits may go (a client has left); the question is the others' too.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Ask anew: something has been changed."""
        self._asked = None

    def _answered(self, task: asyncio.Task[dict[str, QueueCounts]], took: float) -> None:
        _has_failed(task)  # asked for, so that asyncio does not log it: every caller has it
        if task is self._asked:
            self._until = task.get_loop().time() + max(_FRESH, _REST * took)


def _has_failed(task: asyncio.Task[dict[str, QueueCounts]]) -> bool:
    return task.cancelled() or task.exception() is not None


class _State:
    def __init__(self) -> None:
        self.engine: Callable[[], EngineLike | None] | None = None
        self.counts = Counts()


_state = _State()


@_registry.on_clear
def _clear() -> None:
    global _state  # noqa: PLW0603 - one surface a start
    _state = _State()


def register(engine: Callable[[], EngineLike | None]) -> None:
    """Register routes, page, metrics and jobs, the first time after a start. Thread: imports'.

    Args:
        engine: Returns the running engine; None before it runs.
    """
    if _state.engine is not None:
        return
    _state.engine = engine
    from orthanc_async._durable import app, job, metrics, rest

    rest.register()
    app.register()
    metrics.register()
    _lifespan.add_service(_Service(metrics.watch_loop, job.show))


class _Service:
    """What runs from the start to the stop, as `_lifespan.Service`. Thread: the loop's."""

    def __init__(self, *functions: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._functions = functions
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for function in self._functions:
            name = f"durable: {function.__module__}.{function.__qualname__}"
            task = asyncio.create_task(_log_failure(function), name=name)
            self._tasks.append(task)

    def halt(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def stop(self, deadline: float) -> None:
        self.halt()
        if self._tasks:
            left = max(0.1, deadline - asyncio.get_running_loop().time())
            await asyncio.wait(self._tasks, timeout=left)

    async def close(self) -> None:
        pass


async def _log_failure(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await function()
    except Exception:
        logger.exception("%s.%s failed", function.__module__, function.__qualname__)


def engine() -> EngineLike | None:
    """Return the engine when it runs."""
    return _state.engine() if _state.engine is not None else None


def counts() -> Counts:
    """Return the shared counts."""
    return _state.counts
