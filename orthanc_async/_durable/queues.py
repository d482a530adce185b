"""What the scripts have registered: the queues of tasks and of durable subscriptions."""

from __future__ import annotations

import enum
import logging
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orthanc_async import _registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from orthanc_async._durable.attempt import Policy
    from orthanc_async._durable.engine import Engine
    from orthanc_async._durable.store import Entry, Json

    Companion = Callable[[Engine], Coroutine[Any, Any, None]]
    Preparation = Callable[[], Coroutine[Any, Any, None]]
    Abandoned = Callable[[Json], Coroutine[Any, Any, None]]

logger = logging.getLogger("orthanc_async.durable")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Kind(enum.StrEnum):
    """What a queue's entries are."""

    TASK = "task"
    SUBSCRIPTION = "subscription"


@dataclass(frozen=True)
class Queue:
    """One queue, as a script has declared it.

    Attributes:
        name: Its stable name: entries in the store are found again by it.
        call: Works on an entry; run in a task of its own. See `runner.invoke` for `def` functions.
        policy: How its entries are worked on.
        place: Where it is written, for errors.
        kind: What its entries are.
    """

    name: str
    call: Callable[[Entry], Awaitable[object]]
    policy: Policy
    place: str
    kind: Kind


_queues: dict[str, Queue] = {}
_companions: dict[Companion, Preparation | None] = {}
_abandoned: dict[Abandoned, None] = {}
_frozen = False


@_registry.on_clear
def _clear() -> None:
    global _frozen  # noqa: PLW0603 - one start of Orthanc a process
    _frozen = False
    _queues.clear()
    _companions.clear()
    _abandoned.clear()


def check_name(name: object, what: str) -> str:
    """Return a name if the store, a URL and a log line can have it as it is.

    Args:
        name: The name.
        what: Where it was given, for the error's text.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty, too long, or has other characters.
    """
    if not isinstance(name, str):
        message = f'{what} must be a name such as "archive", not {name!r}'
        raise TypeError(message)
    if not _NAME.fullmatch(name):
        message = (
            f"{what}: {name!r} is no name that can be kept: 1 to 100 letters (a to z), digits, "
            "hyphens, underscores and dots"
        )
        raise ValueError(message)
    return name


def register(queue: Queue) -> None:
    """Have the entries of a queue worked on. Called while the scripts are imported.

    Raises:
        ValueError: Another queue has that name, or the name cannot be kept.
        RuntimeError: Orthanc has started.
    """
    check_name(queue.name, f"the name of a {queue.kind}")
    other = _queues.get(queue.name)
    if other is not None:
        message = (
            f"two durable things are called {queue.name!r}: the {other.kind} at {other.place} and "
            f"the {queue.kind} at {queue.place}: what is kept on disk is found again by its name, "
            "so give one of them another"
        )
        raise ValueError(message)
    if _frozen:
        message = (
            f"the {queue.kind} {queue.name!r} at {queue.place} comes too late: declare it at the "
            "top level of a script, so that it is there before Orthanc has started"
        )
        raise RuntimeError(message)
    if not _queues:
        _announce()
    _queues[queue.name] = queue


def beside(companion: Companion, *, before: Preparation | None = None) -> None:
    """Have `companion(engine)` run from the opening of the store to the stop of Orthanc.

    It is cancelled at the stop. When it raises it is called again a little later.

    Args:
        companion: A coroutine function.
        before: Awaited once Orthanc has started, before the store is opened.
    """
    _companions.setdefault(companion, before)


def when_abandoned(function: Abandoned) -> None:
    """Have `function(resume)` awaited when nobody goes on from what an attempt has kept.

    That is when its entry was cancelled, running or not, or when another server has it now. Of
    one that another server has cancelled, and after a start, it may be told again.
    """
    from orthanc_async._durable import abandoned

    _abandoned[function] = None
    beside(abandoned.watch)


def minds_abandoned() -> bool:
    """Tell whether there is anybody to tell."""
    return bool(_abandoned)


async def abandon(resume: Json) -> None:
    """Tell that nobody goes on from what an attempt has kept. Thread: the loop's."""
    if resume is None:
        return
    for function in list(_abandoned):
        try:
            await function(resume)
        except Exception:
            logger.exception("%s failed", _registry.describe(function))


def freeze() -> Mapping[str, Queue]:
    """Return the queues by their names; none can be registered from here on."""
    global _frozen  # noqa: PLW0603 - one start of Orthanc a process
    _frozen = True
    return dict(_queues)


def companions() -> Mapping[Companion, Preparation | None]:
    """Return what runs beside the worker, with what comes before."""
    return dict(_companions)


def _announce() -> None:
    # The first durable thing of this start of Orthanc: something has to work on it.
    from orthanc_async import _lifespan
    from orthanc_async._durable import engine

    _lifespan.add_service(engine.Engine())
    if "_orthanc" in sys.modules:  # outside Orthanc there is nothing that could show anything
        from orthanc_async._durable import surface

        surface.register(engine.engine)
