"""Attempts that run, shown as Orthanc jobs, so that `/jobs` and Orthanc Explorer have them.

A job occupies one of Orthanc's `ConcurrentJobs` workers all its life. At least one is left to
Orthanc's own jobs, or a synchronous C-STORE would wait for deliveries; with one worker nothing is
shown. A job is never saved: the entry is what outlives Orthanc, not the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async import _registry
from orthanc_async._durable import surface
from orthanc_async._durable.store import FINISHED, Entry, State, StoreError

if TYPE_CHECKING:
    from orthanc_async._durable.surface import EngineLike, RunningLike

logger = logging.getLogger("orthanc_async.durable")

_LOOK = 0.5  # seconds between two looks at what runs
_LONG = 1.0  # an attempt that is shorter is not worth a job: Orthanc keeps the last ten only
_STEP = 0.2
_DEFAULT_WORKERS = 2  # Orthanc's own default
_TYPES = {"task": "DurableTask"}
_TYPE = "DurableDelivery"

# By the number of the entry.
_shown: dict[int, _Shown] = {}


@_registry.on_clear
def _clear() -> None:
    _shown.clear()


def of(entry: int) -> str | None:
    """Return the identifier of the Orthanc job that shows this entry's attempt, if any does."""
    shown = _shown.get(entry)
    return shown.job if shown is not None else None


def most(configuration: str) -> int:
    """Return how many jobs may be ours at a time.

    Args:
        configuration: Orthanc's, as JSON.
    """
    workers = json.loads(configuration).get("ConcurrentJobs", _DEFAULT_WORKERS)
    if not isinstance(workers, int) or workers < 0:
        return 0  # Orthanc itself has refused it, or knows what it means
    return (workers or os.cpu_count() or 1) - 1


async def show() -> None:
    """Make a job of each attempt that takes long, as far as there is room. Ends at the stop."""
    room = most(orthanc.GetConfiguration())
    if room < 1:
        return
    seen: dict[int, tuple[object, float]] = {}
    while True:
        await asyncio.sleep(_LOOK)
        engine = surface.engine()
        if engine is None:
            continue
        try:
            seen = await _look(engine, room, seen)
        except (orthanc.OrthancException, StoreError) as error:
            logger.warning("attempts are not shown as Orthanc jobs for now: %s", error)
            await asyncio.sleep(30 * _LOOK)


async def _look(
    engine: EngineLike, room: int, seen: dict[int, tuple[object, float]]
) -> dict[int, tuple[object, float]]:
    """Show what is seen for a while now; return since when, by the numbers of the entries."""
    for shown in tuple(_shown.values()):
        await shown.look()
    now = asyncio.get_running_loop().time()
    all_seen: dict[int, tuple[object, float]] = {}
    for running in engine.running():
        attempt, since = seen.get(running.entry_id, (None, now))
        if attempt is not running.attempt:
            since = now
        all_seen[running.entry_id] = running.attempt, since
        queue = engine.queues.get(running.queue)
        if (
            now - since < _LONG
            or len(_shown) >= room
            or running.entry_id in _shown
            or queue is None
            or _shows_job(queue.call)
        ):
            continue
        entry = await engine.store.entry(running.entry_id)
        if entry is not None and entry.state is State.RUNNING:
            await _Shown(engine, running, entry, _TYPES.get(queue.kind, _TYPE)).submit()
    return all_seen


def _shows_job(call: object) -> bool:
    """Tell whether a handler hands its work to a job of Orthanc's own, which shows it."""
    while call is not None:
        if getattr(call, "__durable_shows_job__", False):
            return True
        call = getattr(call, "__wrapped__", None)
    return False


class _Shown:
    """One attempt and its job. Thread: the loop's."""

    def __init__(self, engine: EngineLike, running: RunningLike, entry: Entry, type_: str) -> None:
        self.job: str | None = None
        self._engine = engine
        self._attempt: object = running.attempt
        self._number = running.attempt.number
        self._entry = entry
        self._paused = False
        self._again = False  # resubmitted
        self._stepping = False
        self._content: dict[str, Any] = {
            "Description": f"{entry.queue}: {entry.resource or entry.key}",
            "Queue": entry.queue,
            "Entry": entry.id,
            "Key": entry.key,
            "Resource": entry.resource,
            "Attempt": self._number,
        }

        async def step(native: orthanc.Job) -> orthanc.JobStepStatus:
            return await self._step(native)

        async def stop(_native: orthanc.Job, reason: orthanc.JobStopReason) -> None:
            await self._stop(reason)

        async def reset(_native: orthanc.Job) -> None:
            self._again = True

        for function in (step, stop, reset):
            function.__dict__["__orthanc_handler__"] = f"the job that shows entry {entry.id}"
        self._native = orthanc.CreateJob(type_, step, stop, reset)

    async def submit(self) -> None:
        """Hand the job to Orthanc, which runs it when a worker is free."""
        _shown[self._entry.id] = self
        try:
            self._native.SetContent(json.dumps(self._content))
            self.job = await self._native.submit_job(0)
        except BaseException:
            self._drop()
            raise

    async def look(self) -> None:
        """Notice what Orthanc does to a job that has no step: it tells nobody then."""
        if self.job is None or (self._stepping and not self._paused):
            return
        try:
            found = json.loads(await orthanc.rest_api_get(f"/jobs/{self.job}"))
        except orthanc.OrthancException:
            self._drop()  # no longer in the history: it has ended
            return
        if found["State"] == "Paused":
            await self._resume()
        elif found["State"] == "Running":
            self._paused = False  # somebody else has resumed it
        elif found["State"] in {"Failure", "Success"}:
            self._drop()
            if found.get("ErrorCode") == int(orthanc.ErrorCode.CANCELED_JOB):
                await self._cancel()

    async def _resume(self) -> None:
        # The attempt goes on in any case, and a paused job would not show it.
        self._paused = False
        self._content["Note"] = "a delivery cannot be paused; it can be cancelled, and retried"
        logger.warning(
            "job %s is resumed: the attempt at entry %d of %s cannot be paused, only cancelled",
            self.job,
            self._entry.id,
            self._entry.queue,
        )
        with contextlib.suppress(orthanc.OrthancException):  # resumed by somebody else
            await orthanc.rest_api_post(f"/jobs/{self.job}/resume", b"")

    async def _step(self, native: orthanc.Job) -> orthanc.JobStepStatus:
        # One step for all of the attempt: the native half looks after it every 200 ms.
        self._stepping = True
        try:
            if self._again:
                return await self._resubmitted(native)
            while running := self._running():
                self._tell(native, running)
                await asyncio.sleep(_STEP)
            return await self._end(native)
        except StoreError as error:
            native.SetContent(json.dumps({**self._content, "Error": str(error)}))
            return orthanc.JobStepStatus.FAILURE
        finally:
            self._stepping = False
            self._drop()

    async def _resubmitted(self, native: orthanc.Job) -> orthanc.JobStepStatus:
        # Ends at once, as a success: there are scripts that resubmit each job that has failed,
        # again and again, and an attempt that runs gets a job of its own.
        self._again = False
        note = "this has not been finished: it is tried again by itself"
        entry = await self._engine.store.entry(self._entry.id)
        if entry is None or entry.state is State.DONE:
            note = "this has been done"
        elif entry.state in FINISHED:
            await self._engine.retry([entry.id])
            note = "this is tried again"
        native.SetContent(json.dumps({**self._content, "Note": note}))
        return orthanc.JobStepStatus.SUCCESS

    def _running(self) -> RunningLike | None:
        for running in self._engine.running():
            if running.entry_id == self._entry.id and running.attempt is self._attempt:
                return running
        return None

    def _tell(self, native: orthanc.Job, running: RunningLike) -> None:
        progress = running.attempt.progress
        if progress.total > 0:
            native.SetProgress(min(max(progress.done / progress.total, 0.0), 1.0))
        counted = {"Done": progress.done, "Total": progress.total, "Bytes": progress.bytes}
        native.SetContent(json.dumps({**self._content, **counted}))

    async def _settled(self) -> Entry | None:
        # The handler has ended. What follows from that is written a moment later, or once the
        # store can be written again.
        while True:
            entry = await self._engine.store.entry(self._entry.id)
            if entry is None or entry.state is not State.RUNNING:
                return entry
            ended = entry.attempts + entry.interruptions
            if ended >= self._number or entry.id in {
                run.entry_id for run in self._engine.running()
            }:
                return entry  # another attempt runs already
            await asyncio.sleep(_STEP)

    async def _end(self, native: orthanc.Job) -> orthanc.JobStepStatus:
        entry = await self._settled()
        if entry is None or entry.state is State.DONE:  # purged since: it was finished
            native.SetProgress(1.0)
            native.SetContent(json.dumps(self._content))
            return orthanc.JobStepStatus.SUCCESS
        text = entry.error or entry.state.value
        if entry.state not in FINISHED:
            text = f"{text} (it is tried again)"
        native.SetContent(json.dumps({**self._content, "State": entry.state, "Error": text}))
        return orthanc.JobStepStatus.FAILURE

    async def _stop(self, reason: orthanc.JobStopReason) -> None:
        if reason == orthanc.JobStopReason.PAUSED:
            self._paused = True
        elif reason == orthanc.JobStopReason.CANCELED:
            self._drop()
            await self._cancel()

    async def _cancel(self) -> None:
        try:
            await self._engine.cancel([self._entry.id])
        except StoreError as error:
            logger.warning(
                "job %s was cancelled, but entry %d of %s could not be: %s",
                self.job,
                self._entry.id,
                self._entry.queue,
                error,
            )

    def _drop(self) -> None:
        if _shown.get(self._entry.id) is self:
            del _shown[self._entry.id]
