"""Durable subscriptions as scripts declare them: `durable=` of the decorators of events."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async import _registry
from orthanc_async._durable import engine, options, runner
from orthanc_async._durable.engine import Kind, Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from orthanc_async._durable.store import Entry, Json

_TYPE = orthanc.ChangeType
LOGGED = (
    _TYPE.NEW_PATIENT,
    _TYPE.NEW_STUDY,
    _TYPE.NEW_SERIES,
    _TYPE.NEW_INSTANCE,
    _TYPE.STABLE_PATIENT,
    _TYPE.STABLE_STUDY,
    _TYPE.STABLE_SERIES,
    _TYPE.COMPLETED_SERIES,
    _TYPE.UPDATED_METADATA,
    _TYPE.UPDATED_ATTACHMENT,
)
"""What Orthanc writes into `/changes`, in the transaction of the change itself."""

# "NewStudy" in `/changes` is NEW_STUDY in the SDK.
_BY_NAME = {
    "".join(word.capitalize() for word in type_.name.split("_")): type_ for type_ in LOGGED
}
_NAMES = {type_: name for name, type_ in _BY_NAME.items()}


@dataclass(frozen=True)
class Source:
    """What a subscription takes from `/changes`.

    Attributes:
        name: Its stable name.
        types: As `/changes` names them.
        level: As `/changes` names it; None: any.
        since: From when on resources matter; "": all of them; None: those from its beginning on.
    """

    name: str
    types: frozenset[str]
    level: str | None
    since: str | None

    def wants(self, type_: str, level: str) -> bool:
        """Tell whether a change is for this subscription."""
        return type_ in self.types and (self.level is None or level == self.level)


_sources: dict[str, Source] = {}
_live: set[int] = set()  # the types that wake the reader


@_registry.on_clear
def _clear() -> None:
    _sources.clear()
    _live.clear()


def sources() -> tuple[Source, ...]:
    """Return what the scripts have declared."""
    return tuple(_sources.values())


def subscribe(
    decorator: str,
    handler: Callable[..., Any],
    types: frozenset[Any] | None,
    level: Any,
    build: Callable[[Any, Any, str], Any],
    *,
    name: Any,
    since: object,
    retry: object,
    timeout: object,
    concurrency: object,
) -> None:
    """Declare a subscription. Called while the scripts are imported.

    Args:
        decorator: Its name, for errors.
        handler: Called with what `build` gives.
        types: Of `orthanc.ChangeType`; None: no types were given.
        level: An `orthanc.ResourceType`; None: any.
        build: Makes the handler's argument of type, level and identifier.
        name: Its stable name.
        since: As the decorator got it.
        retry: As the decorator got it.
        timeout: As the decorator got it.
        concurrency: As the decorator got it.

    Raises:
        TypeError, ValueError: An option is not of its kind, Orthanc does not log such a change,
            or another durable thing has this name.
    """
    where = f"@{decorator}"
    unlogged = sorted(type_.name for type_ in types or () if type_ not in _NAMES)
    if not types or unlogged:
        given = f"{', '.join(unlogged)} is not among them" if unlogged else "name some of them"
        message = (
            f"{where}: durable={name!r} is for the changes that Orthanc keeps in /changes: "
            f"{', '.join(type_.name for type_ in LOGGED)}; {given}"
        )
        raise ValueError(message)
    # Of an object such as a destination, the script's line says more than that of its class.
    place = _registry.place(handler) if _is_written(handler) else _registry.caller()

    async def call(entry: Entry) -> object:
        return await runner.invoke(handler, _subject(build, entry.payload))

    call.__dict__["__wrapped__"] = handler  # whose attributes say how it is shown

    source = Source(
        name,
        frozenset(_NAMES[type_] for type_ in types),
        None if level is None else level.name.capitalize(),
        options.since(where, since),
    )
    policy = options.policy(where, handler, retry, timeout, concurrency)
    engine.register(Queue(name, call, policy, place, Kind.SUBSCRIPTION))
    if not _sources:
        _listen()
    _sources[name] = source
    _live.update(types)


def _is_written(handler: object) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.isroutine(handler)


def _subject(build: Callable[[Any, Any, str], Any], payload: Json) -> Any:
    level = orthanc.ResourceType[payload["level"].upper()]
    return build(_BY_NAME[payload["type"]], level, payload["id"])


def _listen() -> None:
    from orthanc_async._durable import reader

    async def wake(_type: Any, _level: Any, _id: str) -> None:
        reader.wake()

    # The host reads these, see `events._register`.
    wake.__dict__["__orthanc_handler__"] = "the reader of /changes"
    wake.__dict__["__orthanc_changes__"] = _live
    orthanc.RegisterOnChangeCallback(wake)
    engine.beside(reader.read, before=reader.prepare)
