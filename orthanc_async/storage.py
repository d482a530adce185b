"""Storage areas: a class whose methods keep Orthanc's files.

    @storage.area
    class Bucket:
        async def create(self, uuid: str, content_type: orthanc.ContentType, data: bytes) -> None:
            ...
        async def read(self, uuid: str, content_type: orthanc.ContentType) -> bytes: ...
        async def remove(self, uuid: str, content_type: orthanc.ContentType) -> None: ...

Orthanc waits for each method. What a method raises is an error for who stores or reads the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import orthanc
from orthanc_async import _registry, _waited

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["area"]

_NAME = "storage.area"
_Area = TypeVar("_Area")


@overload
def area(target: _Area, /) -> _Area: ...
@overload
def area(*, timeout: float = ..., custom_data: bool = ...) -> Callable[[_Area], _Area]: ...
def area(
    target: Any = None, /, *, timeout: float = _waited.TIMEOUT, custom_data: bool = False
) -> Any:
    """Have a class keep Orthanc's files instead of Orthanc's own folder.

    The methods are `async def` or `def`:

    - `create(uuid, content_type, data)` stores bytes,
    - `read(uuid, content_type)` returns them,
    - `read_range(uuid, content_type, start, size)`, if it is there, returns exactly `size` bytes
      from `start` on: Orthanc then reads headers without the pixels,
    - `remove(uuid, content_type)` deletes them.

    With `custom_data`, Orthanc keeps bytes of yours for each file in its index:

    - `create(uuid, content_type, data, compression, dicom)` returns them (or None); `dicom` is
      None for a file that is no DICOM instance, and ends with the call,
    - `read_range(uuid, content_type, start, size, custom_data)` and
    - `remove(uuid, content_type, custom_data)` get them.

    They are called from Orthanc's start, before `on_startup`, until its end. When one raises or
    takes too long: `create` makes Orthanc refuse the file, so that the sender sees a failure;
    `read` fails; `remove` is logged. In `remove`, calls that read Orthanc's index raise, as
    Orthanc has locked it. Registers by `OrthancPluginRegisterStorageArea2`, with custom data by
    `OrthancPluginRegisterStorageArea3`.

    Args:
        target: The class, made without arguments here, or an object.
        timeout: Seconds that Orthanc waits for each method.
        custom_data: Whether each file has custom data. Needs Orthanc 1.12.8.

    Returns:
        The class unchanged; without one, the decorator.

    Raises:
        TypeError, ValueError: A method is missing or does not take its arguments, or the timeout
            is none.
        RuntimeError: There is a storage area already, or Orthanc has been started already.
        AttributeError: The plugin was built for an Orthanc older than 1.12.8 (with custom_data).
    """
    seconds = _waited.check_timeout(timeout, _NAME)

    def decorate(target: _Area) -> _Area:
        found = _waited.instance(target)
        if custom_data:
            _register_custom(found, seconds)
        else:
            _register(found, seconds)
        return target

    return decorate if target is None else decorate(target)


def _register(target: object, timeout: float) -> None:
    file = ("uuid", "content_type")
    create = _waited.part(target, "create", _NAME, *file, "data")
    read = _waited.part(target, "read", _NAME, *file)
    read_range = _waited.optional_part(target, "read_range", _NAME, *file, "start", "size")
    remove = _waited.part(target, "remove", _NAME, *file)

    def nothing(result: object) -> None:
        # Orthanc would forget the file or its loss: False must not count as success.
        if result is not None:
            message = (
                f"{_registry.describe(create)} returned {result!r}, where nothing is expected: "
                "what goes wrong is raised"
            )
            raise TypeError(message)

    orthanc.RegisterStorageArea2(
        _adapt(create, timeout, nothing),
        _adapt(read, timeout),
        None if read_range is None else _adapt(read_range, timeout),
        _adapt(remove, timeout),
    )


def _register_custom(target: object, timeout: float) -> None:
    file = ("uuid", "content_type")
    create = _waited.part(target, "create", _NAME, *file, "data", "compression", "dicom")
    read_range = _waited.part(target, "read_range", _NAME, *file, "start", "size", "custom_data")
    remove = _waited.part(target, "remove", _NAME, *file, "custom_data")
    success = 0

    def reorder(
        uuid: str, content_type: Any, compression: Any, data: bytes, dicom: Any
    ) -> tuple[Any, ...]:
        return uuid, content_type, data, compression, dicom

    # By getattr: a plugin built for an older Orthanc has no such function, and says so.
    register: Callable[..., None] = getattr(orthanc, "RegisterStorageArea3")  # noqa: B009
    register(
        _adapt(create, timeout, lambda data: (success, data), reorder),
        _adapt(read_range, timeout, lambda content: (success, content)),
        _adapt(remove, timeout, lambda _: success),
    )


def _adapt(
    method: Callable[..., Any],
    timeout: float,
    after: Callable[[Any], Any] = lambda result: result,
    before: Callable[..., tuple[Any, ...]] = lambda *arguments: arguments,
) -> Callable[..., Any]:
    return _waited.adapt(method, _NAME, timeout, before, after)
