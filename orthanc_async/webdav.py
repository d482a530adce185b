"""WebDAV: a class whose methods are a network folder, which file managers can mount.

@webdav.collection("/reports")
class Reports:
    async def list(self, path: tuple[str, ...]) -> list[webdav.File] | None: ...
    async def read(self, path: tuple[str, ...]) -> bytes | None: ...
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import orthanc
from orthanc_async import _registry, _waited

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Content", "File", "Folder", "collection"]

_NAME = "webdav.collection"
_Collection = TypeVar("_Collection")


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """A folder in a list.

    Attributes:
        name: Without slashes.
        modified: When it was made; UTC where it has no time zone. None: now.
    """

    name: str
    modified: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """A file in a list.

    Attributes:
        name: Without slashes.
        size: Bytes.
        media_type: Such as `text/csv`; without one Orthanc guesses by the name.
        modified: When it was changed; UTC where it has no time zone. None: now.
    """

    name: str
    size: int
    media_type: str = ""
    modified: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """What is in a file.

    Attributes:
        data: The bytes.
        media_type: Such as `text/csv`; without one Orthanc guesses by the name.
        modified: When it was changed; UTC where it has no time zone. None: now.
    """

    data: bytes
    media_type: str = ""
    modified: datetime | None = None


def collection(
    path: str, *, timeout: float = _waited.TIMEOUT
) -> Callable[[_Collection], _Collection]:
    """Have a class serve a WebDAV folder.

    The methods are `async def` or `def`, and get the path as a tuple of names, which is empty for
    the folder itself:

    - `list(path)` returns the `File`s and `Folder`s in a folder, or None when it is no folder,
    - `read(path)` returns bytes or `Content`, or None when that is no file,
    - `is_folder(path)` returns a bool; without it, `list` is asked,
    - `write(path, data)`, `create_folder(path)` and `delete(path)`, where they are there, do that;
      without them, or when they return False, the client gets status 403.

    When one raises, returns nonsense or takes too long, the client gets status 500. Orthanc's HTTP
    thread waits and holds no lock. Registers by `OrthancPluginRegisterWebDavCollection`.

    Args:
        path: Where the folder is, such as `/reports`.
        timeout: Seconds that Orthanc waits for each method.

    Returns:
        A decorator for a class, made without arguments there, or for an object.

    Raises:
        TypeError, ValueError: The path or timeout is none, the path is taken, or a method is
            missing or does not take its arguments.
        RuntimeError: Orthanc has been started already.
    """
    seconds = _waited.check_timeout(timeout, _NAME)

    def decorate(target: _Collection) -> _Collection:
        _register(path, _waited.instance(target), seconds)
        return target

    return decorate


def _register(uri: str, target: object, timeout: float) -> None:
    listed = _waited.part(target, "list", _NAME, "path")
    read = _waited.part(target, "read", _NAME, "path")
    is_folder = _waited.optional_part(target, "is_folder", _NAME, "path")
    write = _waited.optional_part(target, "write", _NAME, "path", "data")
    create = _waited.optional_part(target, "create_folder", _NAME, "path")
    delete = _waited.optional_part(target, "delete", _NAME, "path")

    def adapt(method: Callable[..., Any], after: Callable[[Any], Any]) -> Callable[..., Any]:
        return _waited.adapt(method, _NAME, timeout, _with_tuple, after)

    def action(method: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if method is None:
            return None
        # Nothing returned is success, as everywhere; other values are left to be refused.
        return adapt(method, lambda result: True if result is None else result)

    if is_folder is None:
        folder = adapt(listed, lambda entries: entries is not None)
    else:
        folder = adapt(is_folder, lambda result: result)
    orthanc.RegisterWebDavCollection(
        uri,
        folder,
        adapt(listed, lambda entries: _entries(listed, entries)),
        adapt(read, _content),
        action(write),
        action(create),
        action(delete),
    )


def _with_tuple(path: list[str], *more: object) -> tuple[Any, ...]:
    return (tuple(path), *more)


def _time(modified: datetime | None) -> str:
    if modified is None:
        modified = datetime.now(UTC)
    elif modified.tzinfo is not None:
        modified = modified.astimezone(UTC)
    return modified.strftime("%Y%m%dT%H%M%S")


def _entries(listed: object, entries: Any) -> list[tuple[Any, ...]] | None:
    if entries is None:
        return None
    found: list[tuple[Any, ...]] = []
    for entry in entries:
        if isinstance(entry, Folder):
            found.append((entry.name, _time(entry.modified)))
        elif isinstance(entry, File):
            found.append((entry.name, entry.size, entry.media_type, _time(entry.modified)))
        else:
            message = (
                f"{_registry.describe(listed)} returned {entry!r} in its list: "
                "webdav.File and webdav.Folder are expected"
            )
            raise TypeError(message)
    return found


def _content(result: Any) -> tuple[Any, ...] | None:
    if result is None:
        return None
    if not isinstance(result, Content):
        result = Content(result)
    return result.data, result.media_type, _time(result.modified)
