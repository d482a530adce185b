"""HandlerTimeout: how long an `async def` REST handler may take without a sign of life.

A timer that cancels the handler's task once, rather than a scope of anyio around it: a scope
would cancel again at each `await`, so a handler written with plain asyncio could not await in its
`finally`. A task of its own inside a scope would be right too, but costs each request a task.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from orthanc_async._error_body import error_body
from orthanc_async._host._native import native

logger = logging.getLogger("orthanc_async")

# Why a call was cancelled: the status and message of its answer, by the call itself.
reasons: dict[object, tuple[int, str]] = {}


class Limit:
    """Cancels the current task when its call makes no progress for `seconds`.

    A chunk that has been sent is progress, so a stream may last as long as it flows. A handler
    that swallows its cancellation loses its client a second period later.
    """

    def __init__(self, output: Any, seconds: float) -> None:
        self._output = output
        self._seconds = seconds
        self._call = native._call_of(output)
        self._task = asyncio.current_task()
        self._seen = self._call.progress
        self._cancelled = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._check)

    def end(self) -> None:
        """The handler has ended."""
        self._timer.cancel()

    def _check(self) -> None:
        progress = self._call.progress
        if progress != self._seen:
            self._seen = progress
        elif not self._cancelled and self._task is not None:
            message = f"the handler did not end within HandlerTimeout ({self._seconds:g} s)"
            reasons[self._call] = (500, message)
            self._cancelled = True
            self._task.cancel()
        else:
            self._give_up()
            return
        self._timer = self._loop.call_later(self._seconds, self._check)

    def _give_up(self) -> None:
        call = self._call
        message = (
            f"the handler ignores its cancellation after HandlerTimeout ({self._seconds:g} s)"
        )
        reasons.pop(call, None)
        call.break_off()
        logger.error("%s: %s; its client is let go", call.describe(), message)
        if not call.answered and not call.ended:
            self._output.SetHttpHeader("Content-Type", "application/json")
            self._output.SendHttpStatus(500, error_body(500, message, call.method, call.uri))
        native._finish(self._output)
