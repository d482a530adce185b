"""What a script does beside answering: start, stop, tasks in the background and at intervals.

Tasks are asyncio's own rather than in an anyio group: a group cancels again at each `await`, so a
task written with plain asyncio could not close its session while it is being cancelled. What is
written with anyio works in them unchanged.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import sys
import threading
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, overload

from orthanc_async import _loop, _registry

if TYPE_CHECKING:
    from collections.abc import Callable

    _Hook = TypeVar("_Hook", bound=Callable[[], Any])
    # Either the coroutine, or what makes it once it can run: one that was made while a script
    # is imported outside Orthanc would only cause a warning.
    _Source = Coroutine[Any, Any, Any] | Callable[[], Coroutine[Any, Any, Any]]

__all__ = ["background", "every", "on_shutdown", "on_startup", "run_coroutine"]

_T = TypeVar("_T")

_log = logging.getLogger("orthanc_async.lifecycle")

# SystemExit and KeyboardInterrupt would end the loop. A cancellation is none of these.
_FAILURES = (Exception, SystemExit, KeyboardInterrupt)

# Of the time to stop, the tasks get this share at most; the rest is for the on_shutdown hooks.
_TASKS_SHARE = 0.5


class _State:
    """All that is registered between two resets. Thread: any; the fields under `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.startup: list[Callable[[], Any]] = []
        self.shutdown: list[Callable[[], Any]] = []
        # What waits for the start, with its name; None once things start at once.
        self.waiting: list[tuple[_Source, str]] | None = []
        self.stopping = False
        self.tasks: set[asyncio.Task[None]] = set()


_state = _State()


@_registry.on_clear
def _clear() -> None:
    global _state
    old, _state = _state, _State()
    for source, _ in old.waiting or ():
        _discard(source)


@overload
def on_startup(handler: _Hook, /) -> _Hook: ...
@overload
def on_startup() -> Callable[[_Hook], _Hook]: ...
def on_startup(handler: Any = None, /) -> Any:
    """Call a function once Orthanc has started and its whole SDK works.

    Requests wait for it, at most 10 seconds. The functions are called one after another, in the
    order of their declaration; one that raises is logged and does not stop the others.

    Args:
        handler: Called without arguments; `async def` on the loop, `def` in a thread.

    Returns:
        The function unchanged; without a function the decorator.

    Raises:
        TypeError: It takes arguments.
    """
    if handler is None:
        return on_startup
    _registry.check_handler(handler, "on_startup")
    with _state.lock:
        _state.startup.append(handler)
    return handler


@overload
def on_shutdown(handler: _Hook, /) -> _Hook: ...
@overload
def on_shutdown() -> Callable[[_Hook], _Hook]: ...
def on_shutdown(handler: Any = None, /) -> Any:
    """Call a function when Orthanc stops, while its SDK still works.

    The functions are called in the reverse order of their declaration, after the background
    tasks have been cancelled, all within the configured `ShutdownTimeout`.

    Args:
        handler: Called without arguments; `async def` on the loop, `def` in a thread.

    Returns:
        The function unchanged; without a function the decorator.

    Raises:
        TypeError: It takes arguments.
    """
    if handler is None:
        return on_shutdown
    _registry.check_handler(handler, "on_shutdown")
    with _state.lock:
        _state.shutdown.append(handler)
    return handler


def background(coroutine: Coroutine[Any, Any, Any], *, name: str | None = None) -> None:
    """Run a coroutine beside everything else, until it ends or Orthanc stops.

    It is held until it ends, so nobody has to keep it; what it raises is logged with its name.
    Callable from any thread, also while a script is loaded: then it starts after `on_startup`.

    Args:
        coroutine: What calling an `async def` function gives.
        name: Its name in the log; by default the function's.

    Raises:
        TypeError: It is no coroutine.
        RuntimeError: Orthanc is stopping.
    """
    _require_coroutine(coroutine, "background")
    name = name or getattr(coroutine, "__qualname__", None) or type(coroutine).__name__
    _submit(coroutine, name)


def every(
    seconds: float, *, immediately: bool = False, name: str | None = None
) -> Callable[[_Hook], _Hook]:
    """Call a function at intervals, from the start of Orthanc to its stop.

    A call that takes longer than the interval is not overlapped: the missed ones are left out.
    What it raises is logged, and it goes on.

    Args:
        seconds: The time from one call to the next, in seconds.
        immediately: Whether the first call is at the start rather than one interval later.
        name: Its name in the log; by default the function's.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        TypeError: The interval is no number, or the function takes arguments.
        ValueError: The interval is not a positive, finite number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        message = f"@every needs a number of seconds, such as @every(60), not {seconds!r}"
        raise TypeError(message)
    if not 0 < seconds <= sys.float_info.max:  # neither infinite nor not a number
        message = f"@every needs a finite interval above 0 seconds, not {seconds!r}"
        raise ValueError(message)

    def decorate(handler: _Hook) -> _Hook:
        _registry.check_handler(handler, "every")
        label = name or f"{_registry.describe(handler)} (@every({seconds:g}))"
        repeat = functools.partial(_repeat, handler, seconds, label, immediately=immediately)
        _submit(repeat, label)
        return handler

    return decorate


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
    _require_coroutine(coroutine, "run_coroutine")
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


def _on_loop_thread(loop: asyncio.AbstractEventLoop) -> bool:
    # A thread without a loop gives None here, where the public function would raise.
    return asyncio._get_running_loop() is loop


def _refuse_loop_thread(loop: asyncio.AbstractEventLoop, name: str) -> None:
    if _on_loop_thread(loop):
        message = f"run_coroutine would block the loop it waits for: write `await {name}(…)`"
        raise RuntimeError(message)


def _require_coroutine(value: object, function: str) -> None:
    if not isinstance(value, Coroutine):  # asyncio.iscoroutine takes plain generators before 3.12
        hint = f": call it, {function}(function())" if callable(value) else ""
        message = f"{function} needs a coroutine, not {type(value).__name__}{hint}"
        raise TypeError(message)


def _has_startup() -> bool:
    """Tell whether requests have to wait for an `on_startup` function."""
    return bool(_state.startup)


async def _startup() -> None:
    """Run the `on_startup` functions, then start what waits. Awaited by the host on the loop."""
    state = _state
    for hook in tuple(state.startup):
        await _call_logged(hook, f"{_registry.describe(hook)} (@on_startup)")
    with state.lock:
        waiting, state.waiting = state.waiting or [], None
    for source, name in waiting:
        contextvars.Context().run(_start, state, source, name)
    if not all(map(_registry.is_async, state.shutdown)):
        # What runs `def` functions is loaded now: a stop has little time, and may have none.
        await _call(lambda: None)


async def _shutdown(timeout: float) -> None:  # noqa: ASYNC109 - it bounds each step itself
    """Cancel the tasks, then run the `on_shutdown` functions. Awaited by the host on the loop.

    Args:
        timeout: How many seconds all of it may take.
    """
    state = _state
    deadline = time.monotonic() + timeout
    with state.lock:
        state.stopping = True
        waiting, state.waiting = state.waiting or [], None
    for source, _ in waiting:
        _discard(source)
    tasks = set(state.tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        share = timeout if not state.shutdown else timeout * _TASKS_SHARE
        _, left = await asyncio.wait(tasks, timeout=share)
        for task in left:
            _log.warning("the background task %s does not end: left behind", task.get_name())
    for hook in reversed(state.shutdown):
        name = _registry.describe(hook)
        call = asyncio.ensure_future(_call_logged(hook, f"{name} (@on_shutdown)"))
        done, _ = await asyncio.wait([call], timeout=max(0.0, deadline - time.monotonic()))
        if not done:
            call.cancel()
            _log.warning("%s (@on_shutdown) does not end in time: left behind", name)
            # One turn of the loop, so that it can at least begin to clean up.
            await asyncio.wait([call], timeout=0)


async def _call_logged(hook: Callable[[], Any], label: str) -> None:
    try:
        await _call(hook)
    except _FAILURES:
        _log.exception("%s failed", label)


async def _call(hook: Callable[[], Any]) -> Any:
    if _registry.is_async(hook):
        return await hook()
    # Imported late: only scripts with such a function pay for it.
    from anyio import to_thread

    result = await to_thread.run_sync(hook, abandon_on_cancel=True)
    # A `def` around an `async def`, such as a decorator makes one.
    return await result if inspect.iscoroutine(result) else result


async def _repeat(
    handler: Callable[[], Any], seconds: float, label: str, *, immediately: bool
) -> None:
    loop = asyncio.get_running_loop()
    following = loop.time() if immediately else loop.time() + seconds
    while True:
        await asyncio.sleep(following - loop.time())
        try:
            await _call(handler)
        except _FAILURES:
            _log.exception("%s failed; it is called again in %g seconds", label, seconds)
        following = max(following + seconds, loop.time())


def _submit(source: _Source, name: str) -> None:
    try:
        _hand_over(_state, source, name)
    except RuntimeError:
        _discard(source)
        raise


def _hand_over(state: _State, source: _Source, name: str) -> None:
    with state.lock:
        if state.stopping:
            message = f"{name} cannot start: Orthanc is stopping"
            raise RuntimeError(message)
        if state.waiting is not None:
            state.waiting.append((source, name))
            return
    loop = _loop.get()
    # An empty context: what marks the caller as a pending handler is not true of the task.
    empty = contextvars.Context()
    if _on_loop_thread(loop):
        empty.run(_start, state, source, name)
    else:
        loop.call_soon_threadsafe(_start, state, source, name, context=empty)


def _start(state: _State, source: _Source, name: str) -> None:
    # Thread: the loop's.
    if state.stopping:
        _discard(source)
        return
    coroutine = source() if callable(source) else source
    task = asyncio.get_running_loop().create_task(_guard(coroutine, name), name=name)
    state.tasks.add(task)

    def forget(task: asyncio.Task[None]) -> None:
        state.tasks.discard(task)
        coroutine.close()  # one that was cancelled before its first step has not been awaited

    task.add_done_callback(forget)


def _discard(source: _Source) -> None:
    if not callable(source):
        source.close()


async def _guard(coroutine: Coroutine[Any, Any, Any], name: str) -> None:
    try:
        await coroutine
    except _FAILURES:
        _log.exception("the background task %s failed", name)
