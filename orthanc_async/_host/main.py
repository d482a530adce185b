"""One start of Orthanc, from the loading of the scripts to the end of the loop.

Thread: the owner of the interpreter, for everything here but what says otherwise.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import selectors
import sys
import time
from typing import Any

from orthanc_async import _lifespan, _loop, _registry
from orthanc_async._host import dispatch, exits, forks, logs, scripts, stop
from orthanc_async._host._native import native
from orthanc_async._host.watchdog import Watchdog

logger = logging.getLogger("orthanc_async")

_stop_request: asyncio.Future[float] | None = None
_starting: asyncio.Task[None] | None = None


class MailboxSelector(selectors.EpollSelector):
    """A selector that delivers the native half's messages itself while it waits."""

    def __init__(self) -> None:
        super().__init__()
        # An attribute, not a method: the loop then calls into the native half at once.
        self.select = functools.partial(  # type: ignore[method-assign]
            native._select, self.fileno(), self.get_map()
        )


def run() -> None:
    """Load the scripts, run the loop until Orthanc stops, clean up."""
    settings = native._settings()
    logs.install(debug=settings["debug"])
    forks.install()
    _registry.clear()
    try:
        found = scripts.find(settings["scripts"])
        loop = _new_loop(settings["event_loop"])
    except scripts.ScriptError as error:
        native._ready(str(error))
        return
    if settings["debug"]:
        loop.set_debug(True)
    asyncio.set_event_loop(loop)
    deadline = None
    try:
        dispatch.begin(settings, on_started)
        try:
            with exits.caught(scripts.is_script_module):
                scripts.load(found)
        except scripts.ScriptError as error:
            native._ready(str(error))
            return
        deadline = _serve(loop, settings)
    finally:
        _loop._set(None)
        _close(loop)
        exits.run(deadline if deadline is not None else time.monotonic() + 1.0)


def _serve(loop: asyncio.AbstractEventLoop, settings: dict[str, Any]) -> float:
    global _stop_request, _starting  # noqa: PLW0603 - one loop a process
    _starting = None
    _stop_request = loop.create_future()
    _loop._set(loop)
    eager = sys.version_info >= (3, 12)
    capture = isinstance(loop, asyncio.SelectorEventLoop) and not loop.get_debug()
    native._attach_loop(loop, asyncio.Task, eager, capture)
    watchdog = Watchdog(loop, settings)
    native._loop_runs(True)
    try:
        loop.call_soon(watchdog.start)
        # Never asyncio.run: it would take SIGINT away from Orthanc.
        loop.call_soon(native._ready, "")
        return _until_stopped(loop, loop.create_task(_main(_stop_request)))
    finally:
        native._loop_runs(False)
        watchdog.stop()


def _until_stopped(loop: asyncio.AbstractEventLoop, main: asyncio.Task[float]) -> float:
    # asyncio lets these two out of the loop, also from any task that a script has made; and a
    # script may call loop.stop(). Neither may end all handlers of the server.
    while True:
        try:
            return loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
            if main.done() or loop.is_closed():
                raise
            called = "has called loop.stop()" if isinstance(error, RuntimeError) else "raised"
            logger.error(  # noqa: TRY400 - the traceback is given
                "a task or callback %s on the event loop, which goes on", called, exc_info=error
            )


async def _main(stop_request: asyncio.Future[float]) -> float:
    seconds = await stop_request
    deadline = time.monotonic() + seconds
    _lifespan.interrupt_startup(seconds)
    if _starting is not None:
        native._set_gate("open")  # requests wait no longer for hooks that have been cut short
    await stop.run(seconds)
    return deadline


def request_stop(seconds: float) -> None:
    """Begin to stop; all of it has `seconds`. Called by the native half, on the loop."""
    if _stop_request is not None and not _stop_request.done():
        _stop_request.set_result(seconds)


def on_started() -> None:
    """ORTHANC_STARTED has arrived: run the start hooks, then let requests in."""
    global _starting  # noqa: PLW0603 - one loop a process
    if not _lifespan.has_startup():
        native._set_gate("open")
    _starting = asyncio.get_running_loop().create_task(_start(), name="on_startup")


async def _start() -> None:
    try:
        await _lifespan.startup()
    except Exception:
        logger.exception("starting the script's hooks and background tasks")
    finally:
        # Not while stopping: a hook that still cleans up must not open a gate that drains.
        if _stop_request is not None and not _stop_request.done():
            native._set_gate("open")


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        try:
            import uvloop
        except ModuleNotFoundError:
            raise scripts.ScriptError(
                'configuration: "Python.EventLoop" is "uvloop", which is not installed in this '
                "environment: pip install uvloop"
            ) from None
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.SelectorEventLoop(MailboxSelector())


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """End what is left on the loop, briefly, and close it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    try:
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=0.2))
        loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), 0.5))
    except Exception:
        logger.exception("closing the event loop")
    for task in left:
        if not task.done():
            logger.warning("the task %s has ignored its cancellation", task.get_name())
    executor = getattr(loop, "_default_executor", None)
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)
    loop.close()
    asyncio.set_event_loop(None)
