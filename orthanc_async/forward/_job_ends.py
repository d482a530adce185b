"""How Orthanc's jobs have ended, as its events tell: also of jobs that it forgets at once.

Orthanc keeps `JobsHistorySize` finished jobs, by default 10: who looks now and then may come too
late. Thread: the loop's, for all but `listen`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import orthanc
from orthanc_async import _registry

_MOST = 4096  # ends that are remembered
_LATE = 5.0  # seconds; an event comes a little after the job is gone
_SUCCESS, _FAILURE = orthanc.ChangeType.JOB_SUCCESS, orthanc.ChangeType.JOB_FAILURE

_ends: dict[str, bool] = {}  # whether it was a success, the oldest first
_waiting: dict[str, set[asyncio.Future[None]]] = {}
_listens = False


@_registry.on_clear
def _clear() -> None:
    global _listens  # noqa: PLW0603 - one start of Orthanc a process
    _listens = False


def listen() -> None:
    """Have Orthanc's events noted from here on. Thread: any."""
    global _listens  # noqa: PLW0603 - one start of Orthanc a process
    if _listens or "_orthanc" not in sys.modules:
        return
    _listens = True

    async def ended(type_: Any, _level: Any, job: str) -> None:
        note(job, success=type_ == _SUCCESS)

    # The host reads these, see `events._register`.
    ended.__dict__["__orthanc_handler__"] = "the ends of jobs"
    ended.__dict__["__orthanc_changes__"] = frozenset({_SUCCESS, _FAILURE})
    orthanc.RegisterOnChangeCallback(ended)


def note(job: str, *, success: bool) -> None:
    """Note an end."""
    _ends.pop(job, None)
    _ends[job] = success
    while len(_ends) > _MOST:
        del _ends[next(iter(_ends))]
    for future in _waiting.get(job, ()):
        if not future.done():
            future.set_result(None)


async def wait(job: str, seconds: float) -> None:
    """Wait until a job ends, or for so many seconds."""
    future = asyncio.get_running_loop().create_future()
    futures = _waiting.setdefault(job, set())
    futures.add(future)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(future, seconds)
    finally:
        futures.discard(future)
        if not futures and _waiting.get(job) is futures:
            del _waiting[job]


async def of(job: str, *, late: bool = False) -> dict[str, Any] | None:
    """Return how a job has ended that Orthanc no longer has; None: nobody knows.

    Args:
        job: Its identifier.
        late: Whether the event may still be on its way.

    Returns:
        What matters of what `/jobs/{id}` would say.
    """
    if job not in _ends and late:
        await wait(job, _LATE)
    success = _ends.get(job)
    if success is None:
        return None
    if success:
        return {"State": "Success"}
    return {
        "State": "Failure",
        "ErrorDetails": "Orthanc has forgotten why: make JobsHistorySize larger",
    }
