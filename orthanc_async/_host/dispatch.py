"""From the native half to the handlers. The native half calls these by name."""

from __future__ import annotations

import asyncio
import inspect
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async import _registry, rest
from orthanc_async._error_body import error_body
from orthanc_async._host import limits
from orthanc_async._host._native import native
from orthanc_async._host.questions import ask, plain_answer, raised, timed_out
from orthanc_async._host.queues import EventQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger("orthanc_async")

is_async = _registry.is_async
place = _registry.place

__all__ = [
    "ask",
    "awaiting",
    "change",
    "is_async",
    "limit",
    "place",
    "plain_answer",
    "plain_change",
    "plain_stored",
    "raised",
    "report",
    "stored",
    "timed_out",
]


@dataclass
class _Session:
    """What one start of Orthanc sets, on the loop's thread."""

    concurrency: int = 256
    handler_timeout: float = 0.0
    debug: bool = False
    on_started: Callable[[], None] = lambda: None


session = _Session()
_changes: dict[int, EventQueue[tuple[Any, Any, str]]] = {}  # by position of the handler
_stored: dict[int, EventQueue[tuple[Any, str]]] = {}


def begin(settings: dict[str, Any], on_started: Callable[[], None]) -> None:
    """Forget the previous session and take over the settings of this one."""
    session.concurrency = settings["event_concurrency"]
    session.handler_timeout = settings["handler_timeout"]
    session.debug = settings["debug"]
    # Later versions of Orthanc decode the query before a plugin sees it.
    rest._query_is_encoded = settings["orthanc_version"] < (1, 13)
    rest._debug = settings["debug"]
    # A plugin built with a newer header may run in an older Orthanc, and the other way round.
    rest._can_stream = settings["orthanc_version"] >= (1, 12, 6) and hasattr(
        native.RestOutput, "StartStreamAnswer"
    )
    session.on_started = on_started
    _changes.clear()
    _stored.clear()
    limits.reasons.clear()


def queues() -> list[EventQueue[Any]]:
    """All queues of `async def` event handlers."""
    return [*_changes.values(), *_stored.values()]


# REST


def limit(output: Any) -> limits.Limit:
    """Begin HandlerTimeout for the `async def` REST handler whose task is the current one."""
    return limits.Limit(output, session.handler_timeout)


async def awaiting(awaitable: Awaitable[object]) -> object:
    """Await what a handler has given that is marked as a coroutine function and is none."""
    return await awaitable


def report(output: Any, error: BaseException | None) -> None:
    """Log what went wrong in a REST handler; answer when nothing has been answered.

    Args:
        output: The call's output.
        error: What the handler raised; None: it has ended without an answer.
    """
    call = native._call_of(output)
    reason = limits.reasons.pop(call, None) if limits.reasons else None
    status = 500
    if error is not None:
        call.break_off()
    if isinstance(error, asyncio.CancelledError) and reason is not None:
        status, message = reason
        logger.warning("%s: %s", call.describe(), message)
    elif error is None:
        message = "The handler has ended without an answer"
        logger.error(
            "%s has ended without an answer: call output.AnswerBuffer(…) or another answering "
            "method on every path",
            call.describe(),
        )
    else:
        message = f"The handler raised {type(error).__name__}; Orthanc's log has the details"
        if session.debug:
            message = f"The handler raised {type(error).__name__}: {error}"
        logger.error("%s raised", call.describe(), exc_info=error)
    if not call.answered and not call.ended:
        output.SetHttpHeader("Content-Type", "application/json")
        output.SendHttpStatus(status, error_body(status, message, call.method, call.uri))


# Changes


def change(change_type: int, level: int, resource: str) -> None:
    """Queue a change for the `async def` handlers. Thread: the loop's."""
    kind = _member(orthanc.ChangeType, change_type)
    event = (kind, _member(orthanc.ResourceType, level), resource)
    if kind == orthanc.ChangeType.ORTHANC_STARTED:
        session.on_started()
    for position, (handler, name) in enumerate(native._async_change_handlers()):
        if not _wants(handler, event):
            continue
        queue = _changes.get(position)
        if queue is None:
            queue = _changes[position] = _change_queue(handler, name)
        queue.put((level, resource), event)


def _wants(handler: Callable[..., Any], event: tuple[Any, Any, str]) -> bool:
    """Tell whether the filter of one of our decorators lets the event through."""
    kinds = getattr(handler, "__orthanc_changes__", None)
    level = getattr(handler, "__orthanc_level__", None)
    return (kinds is None or event[0] in kinds) and (level is None or event[1] == level)


def _change_queue(handler: Callable[..., Any], name: str) -> EventQueue[tuple[Any, Any, str]]:
    def describe(event: tuple[Any, Any, str]) -> str:
        return f"{name}, {_event_name(*event)}"

    async def call(event: tuple[Any, Any, str]) -> None:
        await _guard(handler, event, describe(event))

    return EventQueue(call, describe, session.concurrency)


def plain_change(
    handler: Callable[..., Any], name: str, change_type: int, level: int, resource: str
) -> None:
    """Call one `def` handler. Thread: the events' own, without a running loop."""
    event = (_member(orthanc.ChangeType, change_type), _member(orthanc.ResourceType, level))
    try:
        _refuse_coroutine(handler(*event, resource), name)
    except BaseException:  # one handler must not stop the others
        logger.exception("%s, %s raised", name, _event_name(*event, resource))


# Stored instances


def stored(handlers: list[tuple[Callable[..., Any], str]], dicom: Any, instance: str) -> None:
    """Queue a stored instance for the `async def` handlers. Thread: the loop's."""
    for position, (handler, name) in enumerate(handlers):
        queue = _stored.get(position)
        if queue is None:
            queue = _stored[position] = _stored_queue(handler, name)
        queue.put(instance, (dicom, instance))


def _stored_queue(handler: Callable[..., Any], name: str) -> EventQueue[tuple[Any, str]]:
    def describe(event: tuple[Any, str]) -> str:
        return f"{name}, instance {event[1]}"

    async def call(event: tuple[Any, str]) -> None:
        await _guard(handler, event, describe(event))

    return EventQueue(call, describe, session.concurrency)


def plain_stored(handler: Callable[..., Any], name: str, dicom: Any, instance: str) -> None:
    """Call one `def` handler, in place. Thread: Orthanc's."""
    try:
        _refuse_coroutine(handler(dicom, instance), name)
    except BaseException:
        logger.exception("%s, instance %s raised", name, instance)


def _refuse_coroutine(result: object, name: str) -> None:
    """Say so when a `def` event handler has only made a coroutine, as a wrapper does."""
    if inspect.iscoroutine(result):
        result.close()
        logger.error(
            "%s is a `def` that returned a coroutine, which nobody awaits: make it an `async def`",
            name,
        )


async def _guard(handler: Callable[..., Any], event: tuple[Any, ...], what: str) -> None:
    try:
        await handler(*event)
    except asyncio.CancelledError:
        logger.warning("%s was cancelled", what)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    except BaseException:
        logger.exception("%s raised", what)


def _member(enumeration: Any, value: int) -> Any:
    try:
        return enumeration(value)
    except ValueError:  # of a newer Orthanc than this header knows
        return value


def _event_name(kind: Any, level: Any, resource: str) -> str:
    name = getattr(kind, "name", kind)
    return f"{name} of {getattr(level, 'name', level)} {resource}" if resource else str(name)
