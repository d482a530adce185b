"""What happens between ORTHANC_STOPPED and the end of the loop, in that order.

Orthanc's main thread waits for it, its HTTP and DICOM servers are still up, and the SDK works.

The waits are asyncio's: what is late is left running, not cancelled, and a script that does
without anyio should not import it at the stop. Hooks and tasks have anyio's scopes (`_lifespan`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import orthanc
from orthanc_async import _lifespan
from orthanc_async._host import dispatch, jobs, limits, questions
from orthanc_async._host._native import native

if TYPE_CHECKING:
    from collections.abc import Awaitable

logger = logging.getLogger("orthanc_async")

_TO_CANCEL = 0.2  # seconds that cancelled handlers have, out of the grace: the hooks keep theirs


async def run(seconds: float) -> None:
    """Drain, give grace, cancel, run the stop hooks.

    Args:
        seconds: ShutdownTimeout, which spans all of it.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    events, calls = _lifespan.stop_ends(seconds)
    await _drain_events(began + events)
    native._set_gate("draining")
    await _end_calls(began + calls)
    await _lifespan.shutdown(max(0.1, began + seconds - loop.time() - 0.1))


async def _drain_events(end: float) -> None:
    """The queued events, then the scripts' ORTHANC_STOPPED handlers; routes are still open."""
    plain = asyncio.ensure_future(_in_thread(native._wait_events_quiet, _left(end)))
    await _until(end, _all_idle())
    stopped = orthanc.ChangeType.ORTHANC_STOPPED
    dispatch.change(stopped, orthanc.ResourceType.NONE, "")
    await _until(end, _all_idle())
    await _until(end, plain)
    if not plain.done() or not plain.result():
        logger.warning(
            "a `def` change handler still runs when Orthanc stops: %s", _stack_of_events()
        )
    running = [name for queue in dispatch.queues() for name in queue.running()]
    dropped = sum(queue.cancel() for queue in dispatch.queues())
    if running:
        logger.warning("cancelled at the stop of Orthanc: %s", "; ".join(running))
    if dropped:
        logger.error("%d events were not handled before Orthanc stopped", dropped)


async def _all_idle() -> None:
    for queue in dispatch.queues():
        await queue.wait_idle()


async def _end_calls(end: float) -> None:
    """Let the REST handlers in flight end, `def` ones too, then cancel those that can be."""
    await _in_thread(native._wait_calls, _left(end - _TO_CANCEL))
    if native._live_questions():
        await _in_thread(native._wait_questions, _left(end - _TO_CANCEL))
    for call in native._live_rest_calls():
        if call.is_async and call.task is not None:
            limits.reasons[call] = (503, "Orthanc is stopping")
            call.task.cancel()
    others = questions.tasks() | jobs.tasks()
    for task in others:
        task.cancel()
    if tasks := _tasks() | others:
        await asyncio.wait(tasks, timeout=_TO_CANCEL)
    for call in native._live_rest_calls():
        kind = "" if call.is_async else "`def` "
        logger.warning("a %shandler still runs when Orthanc stops: %s", kind, call.describe())
        call.abandon()
    for name in native._running_sdk_calls():
        logger.warning("a call is still inside Orthanc when it stops: %s", name)


def _tasks() -> set[asyncio.Task[None]]:
    return {
        call.task
        for call in native._live_rest_calls()
        if call.is_async and call.task is not None and not call.task.done()
    }


def _left(end: float) -> float:
    return max(0.0, end - asyncio.get_running_loop().time())


async def _until(end: float, awaitable: Awaitable[object]) -> None:
    await asyncio.wait([asyncio.ensure_future(awaitable)], timeout=_left(end))


async def _in_thread(function: object, *arguments: object) -> bool:
    """Like asyncio.to_thread, whose pool may be full of a script's calls that never end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bool] = loop.create_future()

    def settle(outcome: bool) -> None:  # noqa: FBT001
        if not future.done():
            future.set_result(outcome)

    def work() -> None:
        outcome = bool(function(*arguments))  # type: ignore[operator]
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, daemon=True, name="orthanc-async-stop").start()
    return await future


def _stack_of_events() -> str:
    import sys
    import traceback

    stacks = []
    for frame in sys._current_frames().values():
        stack = traceback.extract_stack(frame)
        if any(entry.name == "plain_change" for entry in stack):
            stacks.append(f"{stack[-1].filename}:{stack[-1].lineno} in {stack[-1].name}")
    return "; ".join(stacks) or "it is about to begin"
