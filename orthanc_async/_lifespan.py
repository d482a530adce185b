"""What scripts have registered for start and stop, and its life between the two.

The host calls `startup` and `shutdown`. anyio is not imported here: a script that has no hooks
and no tasks would pay a third of its start for it. `orthanc_async.lifecycle` imports it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from orthanc_async import _loop, _registry
from orthanc_async._run_coroutine import on_loop_thread

if TYPE_CHECKING:
    from orthanc_async import _scopes

logger = logging.getLogger("orthanc_async.lifecycle")

# Either the coroutine, or what makes it once it can run: one that was made while a script
# is imported outside Orthanc would only cause a warning.
Source = Coroutine[Any, Any, Any] | Callable[[], Coroutine[Any, Any, Any]]

# The shares of ShutdownTimeout. At its end, a fifth but at most so many seconds is kept for what
# `shutdown` does, and as much before that for the REST handlers in flight; events have the rest.
_MOST_KEPT = 1.0
# Of the time that `shutdown` gets, the tasks have this share at most; the rest is for the hooks.
_TASKS_SHARE = 0.5
# Of the same time, the share that is kept for closing services, if there are any.
_CLOSE_SHARE = 0.1
# Of the same time, the share that a hook which has to be cancelled keeps for cleaning up.
_CLEAN_UP_SHARE = 0.1


class Service(Protocol):
    """What parts of this package run beside the scripts. Thread: the loop's, for all of it."""

    async def start(self) -> None:
        """Begin: Orthanc has started, and `on_startup` functions come next."""

    def halt(self) -> None:
        """Begin nothing new: Orthanc stops. Called once or more, also without a start."""

    async def stop(self, deadline: float) -> None:
        """End what runs, until a time of the loop's clock; `on_shutdown` functions come next."""

    async def close(self) -> None:
        """Let go of everything: no script runs any more."""


class _State:
    """All that is registered between two resets. Thread: any; the fields under `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.startup: list[Callable[[], Any]] = []
        self.shutdown: list[Callable[[], Any]] = []
        self.services: list[Service] = []
        # What waits for the start, with its name; None once things start at once.
        self.waiting: list[tuple[Source, str]] | None = []
        self.stopping = False
        # From here on, for the loop's thread alone.
        self.tasks: _scopes.Tasks | None = None
        self.starting: _Starting | None = None
        self.interrupted = False


class _Starting:
    """The `on_startup` functions, which a stop may interrupt. Thread: the loop's."""

    def __init__(self) -> None:
        import anyio
        from orthanc_async import _scopes

        self._run_hook = _scopes.run_hook
        self._scope = anyio.CancelScope()
        self._clean_up = _scopes.Deadline()
        self._ended = asyncio.Event()

    async def run(self, hooks: Sequence[Callable[[], Any]]) -> None:
        """Call them one after another."""
        try:
            with self._scope:
                for hook in hooks:
                    name = f"{_registry.describe(hook)} (@on_startup)"
                    await self._run_hook(hook, name, self._clean_up)
        finally:
            self._ended.set()

    def interrupt(self, deadline: float) -> None:
        """Cancel the one that runs, which may clean up until `deadline`; leave out the rest."""
        self._clean_up.time = deadline
        self._scope.cancel()

    async def wait(self) -> None:
        """Wait for the end."""
        await self._ended.wait()


_state = _State()


@_registry.on_clear
def _clear() -> None:
    global _state
    old, _state = _state, _State()
    for source, _ in old.waiting or ():
        _discard(source)


def add_startup(hook: Callable[[], Any]) -> None:
    """Have a function called at the start. Thread: any."""
    with _state.lock:
        _state.startup.append(hook)


def add_shutdown(hook: Callable[[], Any]) -> None:
    """Have a function called at the stop. Thread: any."""
    with _state.lock:
        _state.shutdown.append(hook)


def add_service(service: Service) -> None:
    """Have a part of this package started and stopped. Called while the scripts are imported."""
    with _state.lock:
        _state.services.append(service)


def submit(source: Source, name: str) -> None:
    """Start a background task, or keep it until the start. Thread: any.

    Raises:
        RuntimeError: Orthanc is stopping, or the loop does not run.
    """
    try:
        _hand_over(_state, source, name)
    except RuntimeError:
        _discard(source)
        raise


def has_startup() -> bool:
    """Tell whether requests have to wait for an `on_startup` function."""
    return bool(_state.startup)


async def startup() -> None:
    """Run the `on_startup` functions, then start what waits. Awaited by the host on the loop."""
    state = _state
    if "orthanc_async._scopes" in sys.modules:  # a script has hooks or tasks, or may have
        _open_tasks(state)
    for service in state.services:
        if not state.interrupted:
            await service.start()
    if state.startup and not state.interrupted:
        state.starting = _Starting()
        await state.starting.run(tuple(state.startup))
    if state.interrupted:
        return
    with state.lock:
        waiting, state.waiting = state.waiting or [], None
    for source, name in waiting:
        contextvars.Context().run(_start, state, source, name)


def interrupt_startup(seconds: float) -> None:
    """Cancel the `on_startup` functions if they still run. Called by the host on the loop.

    Args:
        seconds: How long all of the stop may take.
    """
    state = _state
    if state.interrupted:
        return
    state.interrupted = True
    for service in state.services:
        service.halt()
    if state.starting is not None:
        state.starting.interrupt(asyncio.get_running_loop().time() + seconds * _TASKS_SHARE)


def stop_ends(seconds: float) -> tuple[float, float]:
    """Divide the time for a stop.

    Args:
        seconds: ShutdownTimeout.

    Returns:
        After how many seconds events and REST handlers must have ended.
    """
    kept = min(_MOST_KEPT, seconds / 5)
    return seconds - 2 * kept, seconds - kept


async def shutdown(timeout: float) -> None:  # noqa: ASYNC109 - it bounds each step itself
    """Cancel the tasks, then run the `on_shutdown` functions. Awaited by the host on the loop.

    Args:
        timeout: How many seconds all of it may take.
    """
    state = _state
    now = asyncio.get_running_loop().time()
    with state.lock:
        state.stopping = True
        waiting, state.waiting = state.waiting or [], None
    for source, _ in waiting:
        _discard(source)
    interrupt_startup(timeout)
    if state.starting is not None:
        await state.starting.wait()
    end = now + (timeout * _TASKS_SHARE if state.shutdown else timeout * (1 - _CLOSE_SHARE))
    stopping = [asyncio.ensure_future(service.stop(end)) for service in state.services]
    if state.tasks is not None:
        await state.tasks.close(end if stopping or state.shutdown else now + timeout)
    await _end_all(stopping)
    if state.shutdown:
        kept = timeout * _CLOSE_SHARE if stopping else 0.0
        await _run_shutdown(state, now + timeout - kept, timeout * _CLEAN_UP_SHARE)
    await _end_all([asyncio.ensure_future(service.close()) for service in state.services])


async def _end_all(ending: Sequence[asyncio.Future[None]]) -> None:
    for error in await asyncio.gather(*ending, return_exceptions=True):
        if error is not None:
            logger.error("stopping a part of orthanc-async", exc_info=error)


async def _run_shutdown(state: _State, end: float, for_clean_up: float) -> None:
    import anyio
    from orthanc_async import _scopes

    clean_up = _scopes.Deadline()
    clean_up.time = end
    for hook in reversed(state.shutdown):
        name = f"{_registry.describe(hook)} (@on_shutdown)"
        # Also one for which no time is left has its first step before it is cancelled.
        with anyio.CancelScope(deadline=end - for_clean_up) as scope:
            await _scopes.run_hook(hook, name, clean_up)
        if scope.cancelled_caught:
            _scopes.logger.warning("%s does not end in time: cancelled", name)


def _hand_over(state: _State, source: Source, name: str) -> None:
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
    if on_loop_thread(loop):
        empty.run(_start, state, source, name)
    else:
        loop.call_soon_threadsafe(_start, state, source, name, context=empty)


def _start(state: _State, source: Source, name: str) -> None:
    # Thread: the loop's.
    if state.stopping:
        _discard(source)
        return
    _open_tasks(state).start(source() if callable(source) else source, name)


def _open_tasks(state: _State) -> _scopes.Tasks:
    if state.tasks is None:
        from orthanc_async import _scopes

        state.tasks = _scopes.Tasks()
    return state.tasks


def _discard(source: Source) -> None:
    if not callable(source):
        source.close()
