"""One attempt: the handler's call, its end, and what follows from that.

A handler runs in a task of its own which is cancelled once (`orthanc_async._scopes` says why no
scope of anyio encloses it). It is waited for however long it takes to end: what still runs keeps
its lease and its place, so that the same entry never runs twice on one server.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import inspect
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async import _registry
from orthanc_async._durable import attempt as attempts
from orthanc_async._durable import deliveries
from orthanc_async._durable.attempt import Attempt, GiveUp, RetryLater
from orthanc_async._durable.store import Again, Dead, Done, Progress, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orthanc_async._durable.queues import Queue
    from orthanc_async._durable.store import Claim, Entry, Json, Outcome

logger = logging.getLogger("orthanc_async.durable")

POISON = 100  # interruptions
HICCUPS = 3  # as many attempts may find unknown what is there, before these count
SLOW_TO_END = 10.0  # seconds after its cancellation until a handler is named in the log
ERROR_LENGTH = 2000  # characters of an error that are kept
REASON_LENGTH = 100


class Why(enum.Enum):
    """For what an attempt was cancelled."""

    TIMEOUT = "timeout"
    STOP = "stop"
    LOST = "lost"


class Run:
    """One attempt that runs on this server. Thread: the loop's.

    Attributes:
        queue: Whose entry it is.
        token: Proves that the entry is ours; `adopt` changes it.
        attempt: What the handler sees.
        started: When, in seconds since 1970.
        ended: Whether the handler has ended.
        over: Set by the worker once what follows has been written too.
    """

    def __init__(
        self,
        queue: Queue,
        claim: Claim,
        save: Callable[[str, Json, Progress], Awaitable[None]],
    ) -> None:
        entry = claim.entry
        self.queue = queue
        self.entry = entry
        self.token = claim.token
        self.started = time.time()
        self.ended = False
        self.over = asyncio.Event()
        self._save_in_store = save
        self._saved: tuple[str, Progress] = (json.dumps(entry.resume), Progress())
        self._why: Why | None = None
        self._task: asyncio.Task[Any] | None = None
        self.attempt = Attempt(
            id=entry.id,
            queue=entry.queue,
            key=entry.key,
            number=entry.attempts + entry.interruptions + 1,
            resume=entry.resume,
            save=self._save,
            payload=entry.payload,
        )

    def __repr__(self) -> str:
        return f"{self.queue.name}/{self.entry.key} (entry {self.entry.id})"

    def adopt(self, token: str) -> None:
        """Go on with another lease: the first had run out, and this server got the second."""
        self.token = token

    def cancel(self, why: Why) -> None:
        """Cancel the handler, once; a handler that has ended is left alone."""
        if self._why is None and not self.ended:
            self._why = why
            if self._task is not None:
                self._task.cancel()

    @property
    def lost(self) -> bool:
        """Whether the entry is no longer ours."""
        return self._why is Why.LOST

    # --- what it saves

    async def _save(self, resume: Json, progress: Progress) -> None:
        await self._write(json.dumps(resume), progress)  # a TypeError is the handler's own

    async def _write(self, text: str, progress: Progress) -> None:
        await self._save_in_store(self.token, json.loads(text), progress)
        self._saved = (text, progress)

    async def save_if_changed(self) -> bool:
        """Write what `Attempt.keep` and `Attempt.advance` have set since the last time.

        Returns:
            Whether there was anything to write.

        Raises:
            LeaseLost, StoreError: As the store's `save`.
        """
        if self.ended:
            return False
        try:
            text = json.dumps(self.attempt.resume)
        except (TypeError, ValueError, RecursionError):
            return False  # named when the attempt ends
        if (text, self.attempt.progress) == self._saved:
            return False
        await self._write(text, self.attempt.progress)
        return True

    def _resume(self) -> Json:
        try:
            return json.loads(json.dumps(self.attempt.resume))
        except (TypeError, ValueError, RecursionError) as error:
            logger.error(  # noqa: TRY400 - where it comes from says nothing
                "%r: what it has given to attempt.keep cannot be written as JSON (%s): the next "
                "attempt gets what was kept before",
                self,
                error,
            )
            return json.loads(self._saved[0])

    # --- the run

    async def run(self) -> Outcome | None:
        """Run the handler; return what follows, None when the entry is no longer ours."""
        if self.entry.interruptions >= POISON:
            self.ended = True
            error = f"interrupted {self.entry.interruptions} times: it may be what ends the server"
            error = self.entry.error or error
            return Dead("poison", error, self.entry.resume, counted=False)
        context = contextvars.Context()
        context.run(attempts._current.set, self.attempt)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(_settle(self.queue, self.entry), context=context)
        self._task.set_name(repr(self))
        if self._why is not None:  # before it had begun
            self._task.cancel()
        await self._wait(self._task)
        self.ended = True
        try:
            return await self._judge(self._task)
        except Exception as error:
            # An entry without an outcome would stay as it is for ever.
            logger.exception("%r: what follows from its end cannot be told", self)
            return Again(self.queue.policy.retry.backoff.delay(1), _text(error), None, Progress())

    async def _wait(self, task: asyncio.Task[Any]) -> None:
        timeout = self.queue.policy.timeout
        await asyncio.wait([task], timeout=timeout)
        if task.done():
            return
        self.cancel(Why.TIMEOUT)
        await asyncio.wait([task], timeout=SLOW_TO_END)
        if not task.done():
            logger.warning(
                "%r does not end %g s after its timeout: it keeps its place in the queue until it "
                "does",
                self,
                SLOW_TO_END,
            )
            await asyncio.wait([task])

    async def _judge(self, task: asyncio.Task[Any]) -> Outcome | None:
        progress = self.attempt.progress
        error = _error_of(task)
        if error is None and self._why is not None and task.cancelling():
            # It has caught its cancellation and returned: nobody knows how far it was.
            error = asyncio.CancelledError()
        if error is None:
            return None if self.lost else Done(progress)
        if isinstance(error, asyncio.CancelledError):
            if self._why is Why.LOST:
                return None
            if self._why is Why.STOP:
                return Again(0.0, None, self._resume(), progress, counted=False)
        if self._why is Why.STOP:
            # What it says of a failure may come from the stop: this attempt does not count.
            text = _text(error)
            logger.info("%r ended at the stop of Orthanc: %s", self, text)
            return Again(0.0, text, self._resume(), progress, counted=False)
        if self._why is Why.LOST:
            return None
        return await self._after_failure(error)

    async def _after_failure(self, error: BaseException) -> Outcome:
        progress = self.attempt.progress
        resume = self._resume()
        if self._why is Why.TIMEOUT:
            text = f"it took longer than its timeout, {self.queue.policy.timeout:g} s"
            if not isinstance(error, asyncio.CancelledError):
                text = f"{text}: {_text(error)}"
        else:
            text = _text(error)
        if isinstance(error, GiveUp):
            return self._dead(error.reason, text)
        fails = _is_from(error, _is_of_database)
        if self.entry.resource is not None and _is_from(error, _is_unknown_resource):
            if await _is_gone(self.entry.resource):
                return self._dead("gone", text)
            # It is there: so Orthanc answers while its index's server is restarted. But it may
            # be something else that the handler has asked for, and it would be so for ever.
            fails = fails or self.entry.interruptions < HICCUPS
        retry = self.queue.policy.retry
        if self._why is not Why.TIMEOUT and fails:
            # Nobody's fault that the attempt works for: it is an interruption.
            delay = retry.backoff.delay(self.entry.attempts + self.entry.interruptions + 1)
            logger.warning(
                "%r was interrupted, as a database fails, again in %.3g s: %s", self, delay, text
            )
            return Again(delay, text, resume, progress, counted=False)
        failures = self.entry.attempts + 1
        if failures >= retry.attempts:
            return self._dead("exhausted", text, error)
        after = error.after if isinstance(error, RetryLater) else None
        delay = retry.backoff.delay(failures) if after is None else after
        logger.warning(
            "%r failed, attempt %d of %d, again in %.3g s: %s",
            self,
            failures,
            retry.attempts,
            delay,
            text,
            exc_info=error if _is_surprising(error) else None,
        )
        return Again(delay, text, resume, progress)

    def _dead(self, reason: str, text: str, error: BaseException | None = None) -> Dead:
        logger.warning(
            "%r is a dead letter (%s): %s",
            self,
            reason,
            text,
            exc_info=error if error is not None and _is_surprising(error) else None,
        )
        return Dead(reason[:REASON_LENGTH], text, self._resume(), self.attempt.progress)


async def _settle(queue: Queue, entry: Entry) -> BaseException | None:
    # Returned instead of raised: a task that raises SystemExit would end the loop.
    try:
        await queue.call(entry)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - what a script raises is its failure
        return error
    return None


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    if task.cancelled():
        return asyncio.CancelledError()
    result: BaseException | None = task.result()
    return result


def _text(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "it was cancelled, by itself or by what it called"
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - a script's own class
        said = "it cannot be shown as a text"
    if isinstance(error, GiveUp | RetryLater):
        text = said
    else:
        text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return text[:ERROR_LENGTH]


def _is_surprising(error: BaseException) -> bool:
    """Tell whether the log should have the traceback: not of what was raised on purpose."""
    return not isinstance(error, (RetryLater, OSError, orthanc.OrthancException))


def _is_from(error: BaseException | None, test: Callable[[BaseException], bool]) -> bool:
    """Tell whether an error, or one that it comes from, passes a test."""
    while error is not None:
        if test(error):
            return True
        error = error.__cause__
    return False


async def _is_gone(resource: str) -> bool:
    """Tell whether a resource is no longer there, and not merely Orthanc's index."""
    for _ in range(2):  # one answer may be that of a connection that is just lost
        for path in ("/changes?last", resource):
            try:
                await orthanc.rest_api_get(path)
            except orthanc.OrthancException as answer:
                if not _is_unknown_resource(answer):
                    return False
            else:
                if path == resource:
                    return False
    return True


def _is_of_database(error: BaseException) -> bool:
    """Tell whether an error is the store's, or of the database of Orthanc's index."""
    return isinstance(error, StoreError) or deliveries.is_of_index(error)


def _is_unknown_resource(error: BaseException) -> bool:
    return (
        isinstance(error, orthanc.OrthancException)
        and error.code == orthanc.ErrorCode.UNKNOWN_RESOURCE
    )


async def invoke(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a script's function: `async def` on the loop, `def` in a thread.

    A thread cannot be cancelled, and the function must not run a second time while it still runs
    a first time: a cancelled call waits for it, and its result counts.
    """
    if _registry.is_async(function):
        return await function(*arguments, **named)
    result = await _in_thread(lambda: function(*arguments, **named), _registry.describe(function))
    return await result if inspect.isawaitable(result) else result


async def _in_thread(function: Callable[[], Any], name: str) -> Any:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if error is None:
            future.set_result((result, None))
        else:
            future.set_result((None, error))

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        except BaseException as raised:  # noqa: BLE001 - it belongs to the one who waits
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop has ended without us
            logger.warning("%s has ended after the stop of Orthanc", name)

    # Not a pool: calls that never end would take it up.
    threading.Thread(target=work, name=name, daemon=True).start()
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            # Its result counts, and whoever asks this task sees no cancellation.
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
    result, error = future.result()
    if error is not None:
        raise error
    return result
