"""What a script does beside answering: start, stop, tasks in the background and at intervals.

Importing this module imports anyio, which takes a while: the host and the routes do without it,
so that only scripts that use it pay for it, and while they are imported.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, TypeVar, overload

from orthanc_async import _checks, _lifespan, _registry, _scopes
from orthanc_async._run_coroutine import require_coroutine, run_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    _Hook = TypeVar("_Hook", bound=Callable[[], Any])

__all__ = ["background", "every", "on_shutdown", "on_startup", "run_coroutine"]


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
    _lifespan.add_startup(handler)
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
    _lifespan.add_shutdown(handler)
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
    require_coroutine(coroutine, "background")
    name = name or getattr(coroutine, "__qualname__", None) or type(coroutine).__name__
    _lifespan.submit(coroutine, name)


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
    interval = _checks.seconds("@every", "seconds", seconds)

    def decorate(handler: _Hook) -> _Hook:
        _registry.check_handler(handler, "every")
        label = name or f"{_registry.describe(handler)} (@every({interval:g}))"
        repeat = functools.partial(_repeat, handler, interval, label, immediately=immediately)
        _lifespan.submit(repeat, label)
        return handler

    return decorate


async def _repeat(
    handler: Callable[[], Any], seconds: float, label: str, *, immediately: bool
) -> None:
    loop = asyncio.get_running_loop()
    following = loop.time() if immediately else loop.time() + seconds
    while True:
        await asyncio.sleep(following - loop.time())
        try:
            await _scopes.call(handler)
        except _scopes.FAILURES:
            _scopes.logger.exception("%s failed; it is called again in %g seconds", label, seconds)
        following = max(following + seconds, loop.time())
