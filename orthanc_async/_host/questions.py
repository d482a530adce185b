"""Handlers whose answer an Orthanc thread waits for, such as filters, finds and storage."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any

from orthanc_async._host._native import native

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from orthanc_async._host._native import Pending

logger = logging.getLogger("orthanc_async")

_set_current = native._current_question.set


async def ask(pending: Pending, coroutine: Coroutine[Any, Any, object]) -> None:
    """Run an `async def` handler. Whatever happens, its Orthanc thread is let go."""
    _set_current(pending)
    try:
        pending.take(await coroutine)
    except BaseException as error:  # noqa: BLE001 - also SystemExit and cancellation end here
        if not (pending.ended and isinstance(error, asyncio.CancelledError)):
            raised(pending, error)
        pending.fail()


def plain_answer(
    pending: Pending,
    handler: Callable[..., object],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> None:
    """Call a `def` handler, in place. Thread: Orthanc's, whose core locks are its own."""
    try:
        result = handler(*arguments, **keywords)
        if inspect.iscoroutine(result):
            result.close()
            message = (
                "it is a `def` that returned a coroutine, which nobody awaits: make it an "
                "`async def`"
            )
            raise TypeError(message)  # noqa: TRY301 - reported like what a handler raises
        pending.take(result)
    except BaseException as error:  # noqa: BLE001 - nothing may leave for Orthanc's thread
        raised(pending, error)
        pending.fail()


def raised(pending: Pending, error: BaseException) -> None:
    """Log why a handler has failed."""
    logger.error("%s raised", pending.describe(), exc_info=error)


def timed_out(pending: Pending) -> None:
    """Log that a handler took too long, and cancel it. Thread: the loop's."""
    logger.error(
        "%s has not answered within %g s: Orthanc goes on without it (a longer time is the "
        "decorator's timeout=)",
        pending.describe(),
        pending.timeout,
    )
    if pending.task is not None:
        pending.task.cancel()


def tasks() -> set[asyncio.Task[None]]:
    """Return the tasks whose answer is waited for."""
    return {
        pending.task
        for pending in native._live_questions()
        if pending.task is not None and not pending.task.done()
    }
