"""Tasks: calls of a function that are kept on disk until they have been made.

A task is written before `enqueue` returns, runs at least once whatever happens to the server, is
tried again when it fails, and ends as a dead letter when it fails for good.
"""

from __future__ import annotations

import functools
import inspect
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from orthanc_async import _checks, _registry
from orthanc_async._durable import engine, options, queues, records, runner
from orthanc_async._durable.attempt import (
    Attempt,
    Backoff,
    GiveUp,
    Policy,
    Retry,
    RetryLater,
    current,
)
from orthanc_async._durable.store import Entry, Progress, State, StoreError
from orthanc_async._run_coroutine import run_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Attempt",
    "Backoff",
    "Enqueued",
    "Entry",
    "GiveUp",
    "Progress",
    "Retry",
    "RetryLater",
    "State",
    "StoreError",
    "Task",
    "cancel",
    "current",
    "get",
    "retry",
    "task",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_OWN = ("delay", "key")
_KEY = 500  # characters: an index of PostgreSQL takes no more bytes
_PAYLOAD = 2**20  # bytes of JSON: pages of entries, and what is due, are read whole
_BITS = 4096  # Python itself reads no number with many more digits


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of an `enqueue`.

    Attributes:
        id: The number of the entry: of the one that was there before, if the key was known.
        new: Whether it was written now; else there was one with this key.
    """

    id: int
    new: bool


def task(
    *,
    queue: str,
    attempts: int = 10,
    backoff: Backoff | float | None = None,
    timeout: float | None = None,
    concurrency: int = 4,
) -> Callable[[Callable[_P, _R]], Task[_P, _R]]:
    """Make a function a task: `@task(queue="thumbnails")`, then `await function.enqueue(…)`.

    Args:
        queue: Its stable name: what is on disk is found again by it. One task has one queue.
        attempts: Failed attempts until it becomes a dead letter.
        backoff: The time between attempts; a number: always so many seconds.
        timeout: Seconds for one attempt; None: no limit. A `def` function cannot be stopped: its
            attempt lasts until it returns.
        concurrency: How many run at once on this server.

    Returns:
        A decorator that gives a `Task`.

    Raises:
        TypeError, ValueError: An argument is not of its kind, or another thing has this name.
    """
    queues.check_name(queue, "@task: queue")
    policy = Policy(
        Retry(_checks.whole("@task", "attempts", attempts), options.backoff("@task", backoff)),
        options.timeout("@task", timeout),
        _checks.whole("@task", "concurrency", concurrency),
    )

    def decorate(function: Callable[_P, _R]) -> Task[_P, _R]:
        return Task(function, queue, policy)

    return decorate


class Task(Generic[_P, _R]):
    """A function whose calls can be kept on disk. Called itself, it is just the function.

    Attributes:
        queue: The name of its queue.
    """

    def __init__(self, function: Callable[_P, _R], queue: str, policy: Policy) -> None:
        _check(function)
        functools.update_wrapper(self, function)
        self._function = function
        self.queue = queue
        engine.register(
            engine.Queue(queue, self._work, policy, _registry.place(function), engine.Kind.TASK)
        )

    def __repr__(self) -> str:
        return f"<task {_registry.describe(self._function)} in queue {self.queue!r}>"

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function: nothing is written."""
        return self._function(*args, **kwargs)

    async def enqueue(
        self, *args: Any, delay: float = 0.0, key: str | None = None, **kwargs: Any
    ) -> Enqueued:
        """Write a call to disk; it is made soon after, at least once.

        Args:
            args: The function's arguments, all writable as JSON; it gets them as JSON gives them
                back: a tuple as a list.
            delay: Seconds until the first attempt.
            key: Says which calls are the same: while one with this key is known in the queue,
                whatever its state, another is not written. None: each is one of its own.
            kwargs: The function's arguments by name.

        Returns:
            The entry's number, and whether it is new. It is on disk now.

        Raises:
            TypeError, ValueError: The function does not take these arguments, they are no JSON or
                more than 1 MB of it, or delay or key is none.
            RuntimeError: Orthanc has not started yet, or this is another loop than Orthanc's.
            StoreError: It could not be written.
        """
        payload = self._payload(args, kwargs)
        _checks.duration(f"{self!r}", "delay", delay)
        if key is not None:
            _check_key(f"{self!r}", key)
        added = await _running(f"{self.queue}: enqueue").enqueue(
            self.queue, payload, key=key or uuid.uuid4().hex, delay=delay
        )
        return Enqueued(added.id, added.new)

    def enqueue_blocking(
        self, *args: Any, delay: float = 0.0, key: str | None = None, **kwargs: Any
    ) -> Enqueued:
        """Do the same from a `def` handler or a thread.

        Raises:
            RuntimeError: Called on the event loop, where `await ….enqueue(…)` has to be used; or
                Orthanc has not started yet.
            TypeError, StoreError: As `enqueue`.
        """
        _running(f"{self.queue}: enqueue_blocking")
        return run_coroutine(self.enqueue(*args, delay=delay, key=key, **kwargs))

    def _payload(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            inspect.signature(self._function).bind(*args, **kwargs)
        except TypeError as error:
            message = f"{self!r}: {error}"
            raise TypeError(message) from None
        try:
            payload = {
                "args": [self._plain(value, f"argument {at}") for at, value in enumerate(args, 1)],
                "kwargs": {name: self._plain(value, name) for name, value in kwargs.items()},
            }
            size = len(records.dump(payload))
        except RecursionError:
            message = f"{self!r}: an argument holds itself, or lists within lists too deeply"
            raise TypeError(message) from None
        if size > _PAYLOAD:
            message = (
                f"{self!r}: the arguments are {size} bytes of JSON, and may be {_PAYLOAD}: keep "
                "what is large in a file or in Orthanc, and give the task its name"
            )
            raise ValueError(message)
        return payload

    def _plain(self, value: Any, where: str) -> Any:
        """Return a value as JSON gives it back.

        Raises:
            TypeError: It is no JSON.
        """
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, int) and value.bit_length() <= _BITS:
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if isinstance(value, list | tuple):
            return [self._plain(item, f"{where}[{at}]") for at, item in enumerate(value)]
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {key: self._plain(item, f"{where}[{key!r}]") for key, item in value.items()}
        try:
            shown = f"{value!r:.100}"
        except Exception:  # noqa: BLE001 - a number too long, or a class of the script's own
            shown = f"of type {type(value).__name__}"
        message = (
            f"{self!r}: {where} is {shown}, which JSON cannot hold: give the task texts, "
            "numbers, lists, and dicts with texts as keys, such as identifiers of resources"
        )
        raise TypeError(message)

    async def _work(self, entry: Entry) -> object:
        payload = entry.payload
        return await runner.invoke(self._function, *payload["args"], **payload["kwargs"])


async def get(id: int) -> Entry | None:  # noqa: A002
    """Return a task, or a delivery, by its number; None when there is none (any more).

    Raises:
        TypeError: It is no number.
        RuntimeError: Orthanc has not started yet.
        StoreError: The store cannot be read.
    """
    store = await _running("tasks.get").ready()
    return await store.entry(_number("tasks.get", id))


async def cancel(id: int) -> bool:  # noqa: A002
    """Cancel a task that is not finished; one that runs is cancelled where it awaits.

    Returns:
        Whether there was such a one.

    Raises:
        TypeError: It is no number.
        RuntimeError: Orthanc has not started yet.
        StoreError: The store cannot be written.
    """
    return await _running("tasks.cancel").cancel([_number("tasks.cancel", id)]) > 0


async def retry(id: int) -> bool:  # noqa: A002
    """Have a waiting, dead or cancelled task tried now, as if for the first time.

    Returns:
        Whether there was such a one.

    Raises:
        TypeError: It is no number.
        RuntimeError: Orthanc has not started yet.
        StoreError: The store cannot be written.
    """
    return await _running("tasks.retry").retry([_number("tasks.retry", id)]) > 0


def _check(function: Callable[..., Any]) -> None:
    given: object = function
    if not callable(given):
        message = f"@task needs a function, not {type(given).__name__}"
        raise TypeError(message)
    if _registry.generates(function):
        message = (
            f"@task: {_registry.describe(function)} at {_registry.place(function)} has a `yield`, "
            "so calling it would run nothing: take the `yield` out"
        )
        raise TypeError(message)
    taken = [name for name in inspect.signature(function).parameters if name in _OWN]
    if taken:
        message = (
            f"@task: {_registry.describe(function)} at {_registry.place(function)}: the name "
            f"{taken[0]!r} is enqueue's own: call the argument something else"
        )
        raise TypeError(message)


def _number(where: str, id: object) -> int:  # noqa: A002
    if isinstance(id, bool) or not isinstance(id, int):
        message = f"{where} needs the number of an entry, such as Enqueued.id, not {id!r}"
        raise TypeError(message)
    return id


def _check_key(where: str, key: object) -> None:
    text = _checks.text(where, "key", key)
    if len(text) > _KEY or records.printable(text) != text:
        message = (
            f"{where}: key must be at most {_KEY} characters, without NUL and lone surrogates; "
            f"of something longer, take a checksum. It is {text[:50]!r}, {len(text)} characters"
        )
        raise ValueError(message)


def _running(what: str) -> engine.Engine:
    running = engine.engine()
    if running is None:
        message = (
            f"{what}: durable tasks work from ORTHANC_STARTED on to the end of on_shutdown: not "
            "while a script is imported (use @on_startup), and not outside Orthanc, where worker "
            "processes are too: have them return what is to be enqueued"
        )
        raise RuntimeError(message)
    return running
