"""A coroutine on the loop, from a thread that waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from orthanc_async import _loop

_T = TypeVar("_T")


def run_coroutine(coroutine: Coroutine[Any, Any, _T], *, timeout: float | None = None) -> _T:
    """Run a coroutine on the loop and wait for its result, from a `def` handler or a thread.

    Args:
        coroutine: What calling an `async def` function gives.
        timeout: How many seconds to wait at most; the coroutine is cancelled then.

    Returns:
        What the coroutine returns; what it raises is raised here.

    Raises:
        TypeError: It is no coroutine.
        RuntimeError: Called on the loop, where `await` has to be used; or the loop does not run.
        TimeoutError: The time is over.
    """
    require_coroutine(coroutine, "run_coroutine")
    name = getattr(coroutine, "__qualname__", "it")
    try:
        loop = _loop.get()
        _refuse_loop_thread(loop, name)
        future = asyncio.run_coroutine_threadsafe(_carry(coroutine), loop)
    except RuntimeError:
        coroutine.close()
        raise
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        # In slices: a loop that is stopped meanwhile would never complete the future.
        remaining = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
        try:
            return _unpack(future.result(max(0.0, remaining)))
        except TimeoutError:
            if future.done():  # in the meantime, or this was the coroutine's own
                return _unpack(future.result())
        if deadline is not None and time.monotonic() >= deadline:
            future.cancel()
            message = f"the coroutine did not end within {timeout} seconds"
            raise TimeoutError(message)
        if loop.is_closed() or not _loop.is_current(loop):
            future.cancel()
            message = "the loop was stopped while a thread waited for a coroutine on it"
            raise RuntimeError(message)


async def _carry(coroutine: Coroutine[Any, Any, _T]) -> _T | _Exit:
    # Raised in a task, these two would end the loop; they belong to the waiting thread.
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as request:
        return _Exit(request)


class _Exit:
    """A request to end the process, on its way to the thread that has to see it."""

    def __init__(self, request: BaseException) -> None:
        self.request = request


def _unpack(result: _T | _Exit) -> _T:
    if isinstance(result, _Exit):
        raise result.request
    return result


def on_loop_thread(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether the calling thread runs `loop`."""
    # A thread without a loop gives None here, where the public function would raise.
    return asyncio._get_running_loop() is loop


def _refuse_loop_thread(loop: asyncio.AbstractEventLoop, name: str) -> None:
    if on_loop_thread(loop):
        message = f"run_coroutine would block the loop it waits for: write `await {name}(…)`"
        raise RuntimeError(message)


def require_coroutine(value: object, function: str) -> None:
    """Refuse what is no coroutine, such as the function itself.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, Coroutine):  # asyncio.iscoroutine takes plain generators before 3.12
        hint = f": call it, {function}(function())" if callable(value) else ""
        message = f"{function} needs a coroutine, not {type(value).__name__}{hint}"
        raise TypeError(message)
