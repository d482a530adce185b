"""Events: functions that are called when something changes in Orthanc.

Handlers are `async def` or `def`. Those of one resource are called in the order of its events.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import orthanc
from orthanc_async import _registry, resources
from orthanc_async.resources import Instance, Patient, Resource, Series, Study

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from orthanc_async._durable.attempt import Retry

    Since = Literal["all"] | dt.date | dt.datetime
    _ChangeHandler = TypeVar("_ChangeHandler", bound=Callable[["Change"], Any])
    _StoredHandler = TypeVar("_StoredHandler", bound=Callable[[orthanc.DicomInstance, str], Any])

__all__ = [
    "Change",
    "on_change",
    "on_completed_series",
    "on_deleted",
    "on_deleted_instance",
    "on_deleted_patient",
    "on_deleted_series",
    "on_deleted_study",
    "on_new_instance",
    "on_new_patient",
    "on_new_series",
    "on_new_study",
    "on_stable_patient",
    "on_stable_series",
    "on_stable_study",
    "on_stored_instance",
]

_R = TypeVar("_R", bound=Resource)
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One change event.

    Attributes:
        type: What happened.
        level: The kind of resource it happened to; `NONE` for jobs and the server itself.
        id: Orthanc's identifier of the resource or job; empty for the server itself.
    """

    type: orthanc.ChangeType
    level: orthanc.ResourceType
    id: str

    @property
    def resource(self) -> Patient | Study | Series | Instance:
        """The resource that changed.

        Raises:
            ValueError: The event is about a job or the server, not a resource.
        """
        return resources.from_level(self.level, self.id)


@overload
def on_change(handler: _ChangeHandler, /) -> _ChangeHandler: ...
@overload
def on_change(
    *types: orthanc.ChangeType,
    durable: str | None = None,
    since: Since | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
    concurrency: int | None = None,
) -> Callable[[_ChangeHandler], _ChangeHandler]: ...
def on_change(*arguments: Any, **options: Any) -> Any:
    """Call a function for each change, or for those of some types: `@on_change(type, …)`.

    Registers by `OrthancPluginRegisterOnChangeCallback`.

    Args:
        arguments: The types to be called for; none: all of them.
        options: `durable` and what goes with it, as for `ResourceEvent`; only with types that
            Orthanc keeps in `/changes`.

    Returns:
        The handler unchanged, or with types or parentheses the decorator.

    Raises:
        TypeError: A type is no `orthanc.ChangeType`, or the handler does not take the `Change`.
        ValueError: `durable=` with types that Orthanc does not log, or a name that is taken.
    """
    durable = _Durable("on_change", **options)
    if len(arguments) == 1 and callable(arguments[0]):
        _register("on_change", arguments[0], None, None, Change, durable=durable)
        return arguments[0]
    for type_ in arguments:
        if not isinstance(type_, orthanc.ChangeType):
            message = f"@on_change takes types such as orthanc.ChangeType.NEW_STUDY, not {type_!r}"
            raise TypeError(message)
    types = frozenset(arguments) or None

    def decorate(handler: _ChangeHandler) -> _ChangeHandler:
        _register("on_change", handler, types, None, Change, durable=durable)
        return handler

    return decorate


class _Durable:
    """The options of durable subscriptions, as a decorator got them."""

    def __init__(
        self,
        decorator: str,
        *,
        durable: object = None,
        since: object = None,
        retry: object = None,
        timeout: object = None,
        concurrency: object = None,
    ) -> None:
        self.durable = durable
        self.options = {
            "since": since,
            "retry": retry,
            "timeout": timeout,
            "concurrency": concurrency,
        }
        given = [name for name, value in self.options.items() if value is not None]
        if durable is None and given:
            message = (
                f"@{decorator}: {given[0]}= is for durable subscriptions: name this one, such as "
                f'durable="archive"'
            )
            raise TypeError(message)


class ResourceEvent(Generic[_R]):
    """The decorator of one kind of event whose handlers get the resource."""

    def __init__(self, name: str, make: Callable[..., _R], type_: orthanc.ChangeType) -> None:
        """Make the decorator for changes of a type; `make` makes the resource or is its class."""
        self.__name__ = name
        self._make = make
        self._types = frozenset([type_])
        self.__doc__ = f"Call a function for each {type_.name}, with the resource."

    def __repr__(self) -> str:
        return f"<decorator orthanc_async.{self.__name__}>"

    @overload
    def __call__(
        self,
        handler: Callable[[_R], _T],
        /,
        *,
        durable: str | None = None,
        since: Since | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[_R], _T]: ...
    @overload
    def __call__(
        self,
        *,
        durable: str | None = None,
        since: Since | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[Callable[[_R], _T]], Callable[[_R], _T]]: ...
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Register a handler; usable with and without parentheses.

        With `durable="name"` the handler is called at least once for each event, whatever happens
        to the server: what is to be delivered is kept on disk until the handler has returned, and
        tried again when it raises. The name must stay the same: what is on disk is found by it.

        Args:
            arguments: The handler, called with the resource; `def` or `async def`.
            options: `durable`: the subscription's name. `since`: "all", a date or a datetime; by
                default a new subscription begins now. `retry`: an `orthanc_async.tasks.Retry`.
                `timeout`: seconds for one attempt. `concurrency`: how many attempts at once.

        Returns:
            The handler unchanged; without a handler the decorator.

        Raises:
            TypeError: The handler does not take the resource, or an option is not of its kind.
            ValueError: Orthanc does not log such events, or the name is taken.
        """
        if not arguments:
            return functools.partial(self, **options) if options else self
        if len(arguments) > 1:
            message = f"@{self.__name__} takes one handler, not {len(arguments)}"
            raise TypeError(message)
        handler = arguments[0]
        durable = _Durable(self.__name__, **options)
        make = self._make
        level = _LEVELS.get(make)

        def build(_type: object, changed: object, identifier: str) -> Any:
            return make(identifier) if level is not None else make(changed, identifier)

        _register(self.__name__, handler, self._types, level, build, durable=durable)
        return handler


_LEVELS: dict[Any, orthanc.ResourceType] = {
    Patient: orthanc.ResourceType.PATIENT,
    Study: orthanc.ResourceType.STUDY,
    Series: orthanc.ResourceType.SERIES,
    Instance: orthanc.ResourceType.INSTANCE,
}

_TYPE = orthanc.ChangeType
on_new_patient = ResourceEvent("on_new_patient", Patient, _TYPE.NEW_PATIENT)
on_new_study = ResourceEvent("on_new_study", Study, _TYPE.NEW_STUDY)
on_new_series = ResourceEvent("on_new_series", Series, _TYPE.NEW_SERIES)
on_new_instance = ResourceEvent("on_new_instance", Instance, _TYPE.NEW_INSTANCE)
on_stable_patient = ResourceEvent("on_stable_patient", Patient, _TYPE.STABLE_PATIENT)
on_stable_study = ResourceEvent("on_stable_study", Study, _TYPE.STABLE_STUDY)
on_stable_series = ResourceEvent("on_stable_series", Series, _TYPE.STABLE_SERIES)
on_completed_series = ResourceEvent("on_completed_series", Series, _TYPE.COMPLETED_SERIES)
on_deleted = ResourceEvent("on_deleted", resources.from_level, _TYPE.DELETED)
on_deleted_patient = ResourceEvent("on_deleted_patient", Patient, _TYPE.DELETED)
on_deleted_study = ResourceEvent("on_deleted_study", Study, _TYPE.DELETED)
on_deleted_series = ResourceEvent("on_deleted_series", Series, _TYPE.DELETED)
on_deleted_instance = ResourceEvent("on_deleted_instance", Instance, _TYPE.DELETED)


@overload
def on_stored_instance(handler: _StoredHandler, /) -> _StoredHandler: ...
@overload
def on_stored_instance() -> Callable[[_StoredHandler], _StoredHandler]: ...
def on_stored_instance(handler: Any = None, /) -> Any:
    """Call a function for each stored instance, with its `orthanc.DicomInstance` and its id.

    An `async def` handler is called after the instance was stored, and awaits its data:
    `await dicom.get_instance_data()`. A `def` handler is called while Orthanc stores, and every
    sender waits for it. Registers by `OrthancPluginRegisterOnStoredInstanceCallback`.

    Args:
        handler: Called with the instance and its Orthanc identifier.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take these two.
    """
    if handler is None:
        return on_stored_instance
    _registry.check_handler(handler, "on_stored_instance", "dicom", "instance_id")
    orthanc.RegisterOnStoredInstanceCallback(handler)
    return handler


def _register(
    decorator: str,
    handler: Callable[[Any], Any],
    types: frozenset[Any] | None,
    level: orthanc.ResourceType | None,
    build: Callable[..., Any],
    *,
    durable: _Durable,
) -> None:
    subject = "change" if build is Change else "resource"
    _registry.check_handler(handler, decorator, subject)
    if durable.durable is not None:
        from orthanc_async._durable import subscriptions

        subscriptions.subscribe(
            decorator, handler, types, level, build, name=durable.durable, **durable.options
        )
        return
    enum = orthanc.ChangeType

    def make(type_: Any, changed: Any, identifier: str) -> Any:
        if types is not None and type_ not in types:
            return None
        if level is not None and changed != level:
            return None
        return build(_known(enum, type_), _known(orthanc.ResourceType, changed), identifier)

    call: Any
    if _registry.is_async(handler):

        async def call_async(type_: Any, changed: Any, identifier: str) -> None:
            subject = make(type_, changed, identifier)
            if subject is not None:
                await handler(subject)

        call = call_async
    else:

        def call_blocking(type_: Any, changed: Any, identifier: str) -> Any:
            subject = make(type_, changed, identifier)
            return None if subject is None else handler(subject)

        call = call_blocking
    # The host reads these: it names the handler in its log, and makes no task for a change that
    # the handler is not meant for.
    call.__orthanc_handler__ = f"{_registry.describe(handler)} (@{decorator})"
    call.__orthanc_changes__ = types
    call.__orthanc_level__ = level
    call.__wrapped__ = handler
    orthanc.RegisterOnChangeCallback(call)


def _known(enum: Any, value: Any) -> Any:
    # A newer server sends numbers that the header of this build did not know.
    try:
        return enum(value)
    except ValueError:
        return value
