"""A thread that notices when the loop stands still, or a plain handler does not return."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthanc_async._host._native import native

if TYPE_CHECKING:
    import asyncio

    from orthanc_async._host._native import RestCall

logger = logging.getLogger("orthanc_async")

_PATIENCE = 3.0  # seconds without a turn of the loop
_PERIOD = 1.0


class Watchdog:
    """Watches one loop from a daemon thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: dict[str, Any]) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._handler_timeout: float = settings["handler_timeout"]
        self._display_memory: bool = settings["display_memory_usage"]
        self._turned = time.monotonic()
        self._end = threading.Event()
        self._named: set[RestCall] = set()
        self._thread = threading.Thread(target=self._watch, name="orthanc-async-watchdog")
        self._thread.daemon = True

    def start(self) -> None:
        """Begin. Thread: the loop's."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """End; does not wait."""
        self._end.set()

    def _beat(self) -> None:
        self._turned = time.monotonic()
        if not self._end.is_set():
            self._loop.call_later(_PERIOD, self._beat)

    def _watch(self) -> None:
        warned = False
        while not self._end.wait(_PERIOD):
            still = time.monotonic() - self._turned
            if still < _PATIENCE + _PERIOD:
                warned = False
            elif not warned:
                warned = True
                self._name_the_loop(still)
            self._name_plain_handlers()
            if self._display_memory:
                _log_memory()

    def _name_the_loop(self, still: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame)).rstrip() if frame else "(unknown)"
        logger.warning(
            "the event loop has not turned for %.0f s: %s blocks it, and with it every other "
            "handler. Await what takes time, or run it with asyncio.to_thread(…). Its stack:\n%s",
            still,
            current_handler(self._loop) or "a callback",
            stack,
        )

    def _name_plain_handlers(self) -> None:
        if not self._handler_timeout:
            return
        overdue = {
            call
            for call in native._live_rest_calls()
            if not call.is_async and call.seconds > self._handler_timeout
        }
        for call in overdue - self._named:
            logger.warning(
                "%s runs for %.0f s, longer than HandlerTimeout (%g s); a `def` handler cannot be "
                "stopped",
                call.describe(),
                call.seconds,
                self._handler_timeout,
            )
        self._named = overdue


def _log_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    logger.warning("memory: %.1f MB resident", pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def current_handler(loop: asyncio.AbstractEventLoop) -> str | None:
    """Name the handler whose task runs on `loop` right now. Thread: any."""
    import asyncio

    task = asyncio.current_task(loop)
    coroutine: Any = task.get_coro() if task is not None else None
    call: Any = native._call_of(coroutine)  # None for another task
    if call is not None:
        return str(call.describe())
    frame = getattr(coroutine, "cr_frame", None)
    if frame is None:
        return repr(task) if task is not None else None
    event = frame.f_locals.get("event")
    queue = frame.f_locals.get("self")
    if event is not None and hasattr(queue, "_describe"):
        return str(queue._describe(event))
    return f"the task {task.get_name()} ({coroutine.__qualname__})" if task else None
