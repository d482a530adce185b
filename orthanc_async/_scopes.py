"""Hooks and tasks of scripts inside cancel scopes and a task group of anyio.

A cancelled scope cancels again at each `await` until it is left. Code written with anyio knows
that and shields its clean-up; in code written with plain asyncio, the first `await` of a
`finally` would raise, and a session would stay open. So what a script has written runs in a task
of its own, which is cancelled once; the scope holds a task of ours that waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import math
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from orthanc_async import _registry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

logger = logging.getLogger("orthanc_async.lifecycle")

# SystemExit and KeyboardInterrupt would end the loop. A cancellation is none of these.
FAILURES = (Exception, SystemExit, KeyboardInterrupt)


class Deadline:
    """Until when what has been cancelled may clean up. Thread: the loop's."""

    def __init__(self) -> None:
        self.time = math.inf  # of the loop's clock


def start_apart(
    coroutine: Coroutine[Any, Any, Any], name: str, *, task_name: str
) -> asyncio.Task[None]:
    """Start a coroutine in a task of its own; what it raises is logged.

    Args:
        coroutine: It is closed in any case.
        name: How the log names it.
        task_name: The name of the task.
    """
    task = asyncio.get_running_loop().create_task(_log_failure(coroutine, name), name=task_name)
    # One that is cancelled before its first step has not been awaited.
    task.add_done_callback(lambda _: coroutine.close())
    return task


async def wait_apart(task: asyncio.Task[None], name: str, clean_up: Deadline) -> None:
    """Wait for a task that `start_apart` has started.

    Cancelling the caller cancels that task once, and waits until it has ended or its time to
    clean up is over; then the log names it.

    Args:
        task: It may be done.
        name: How the log names it.
        clean_up: Until when it may take after a cancellation.
    """
    try:
        # Not `await task`: a script's own CancelledError is no cancellation of the caller.
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(deadline=clean_up.time, shield=True):
            await asyncio.wait([task])
        if not task.done():
            logger.warning("%s does not end: left behind", name)
        raise


async def run_hook(hook: Callable[[], Any], name: str, clean_up: Deadline) -> None:
    """Call a hook and wait for it, as `wait_apart` does."""
    await wait_apart(start_apart(call(hook), name, task_name=name), name, clean_up)


async def _log_failure(coroutine: Coroutine[Any, Any, Any], name: str) -> None:
    try:
        await coroutine
    except FAILURES:
        logger.exception("%s failed", name)


async def call(function: Callable[[], Any]) -> Any:
    """Call a function of a script: `async def` on the loop, `def` in a thread."""
    if _registry.is_async(function):
        return await function()
    # A limiter of its own: the common one may be taken up by calls that never end.
    result = await to_thread.run_sync(
        function, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    # A `def` around an `async def`, such as a decorator makes one.
    return await result if inspect.iscoroutine(result) else result


class Tasks:
    """Background tasks, held by a group that is open from start to stop. Thread: the loop's."""

    def __init__(self) -> None:
        self._clean_up = Deadline()
        self._closing = False
        self._changed = asyncio.Event()
        self._new: list[tuple[asyncio.Task[None], str]] = []  # not in the group yet
        # A group has to be left by the task that has entered it, and start and stop are two.
        self._holder = asyncio.get_running_loop().create_task(
            self._hold(), name="background tasks", context=contextvars.Context()
        )

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        """Start a task; what it raises is logged."""
        label = f"the background task {name}"
        # Into the group by the holder: this may be a callback of the loop, outside of any task,
        # where anyio finds no event loop if sniffio is installed.
        self._new.append((start_apart(coroutine, label, task_name=name), label))
        self._changed.set()

    async def close(self, deadline: float) -> None:
        """Cancel the tasks and wait until they have ended, or the time is over.

        Args:
            deadline: By the loop's clock.
        """
        self._clean_up.time = deadline
        self._closing = True
        self._changed.set()
        await asyncio.wait([self._holder])

    async def _hold(self) -> None:
        async with anyio.create_task_group() as group:
            while True:
                for task, label in self._new:
                    group.start_soon(wait_apart, task, label, self._clean_up)
                self._new.clear()
                if self._closing:
                    break
                self._changed.clear()
                await self._changed.wait()
            group.cancel_scope.cancel()
