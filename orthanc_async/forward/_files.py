"""Any web service: each file by a request of its own, or all of them as one ZIP."""

from __future__ import annotations

import contextlib
import zipfile
from typing import TYPE_CHECKING, Any

from orthanc_async.forward import _source
from orthanc_async.forward._destination import Delivery, Work
from orthanc_async.forward._http_destination import HttpDestination, PerFileDestination
from orthanc_async.forward._sent import Sent
from orthanc_async.forward._template import Fields, Template

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from orthanc_async.forward._source import Item

_METHODS = ("POST", "PUT")
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP can hold: the same bytes each time


def to_http(
    url: str,
    *,
    form: str = "files",
    path: str | None = None,
    method: str = "POST",
    names: str = "{SeriesInstanceUID}/{SOPInstanceUID}.dcm",
    at_once: int = 2,
    **common: Any,
) -> HttpDestination:
    """Send the DICOM files to a web service.

    Each request has the header `Idempotency-Key`, the same in each attempt at the same thing.

    Args:
        url: The service's.
        form: "files": each by a request of its own; "zip": all in one ZIP archive, not
            compressed, made while it is sent; it is sent whole again after a failure.
        path: Appended to the URL, with fields such as `{study}`, `{instance}`, `{PatientID}`; by
            default "/studies/{study}/instances/{instance}" for files, "" for a ZIP.
        method: POST or PUT.
        names: Of the files in a ZIP, with the same fields.
        at_once: How many files of a delivery are under way at once.
        common: `auth`, `tls`, `headers`, `only`, `transform`, `retry`, `timeout`, `concurrency`,
            `breaker`, `connect_timeout`, `stall_timeout`, as for all destinations.

    Returns:
        The destination: `await destination(study)`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument makes no sense.
    """
    if method not in _METHODS:
        raise ValueError(f"to_http: method must be one of {', '.join(_METHODS)}")
    if path is not None:
        _check_path(path)
    if form == "files":
        if path is None:
            path = "/studies/{study}/instances/{instance}"
        return _Files(url, path=path, method=method, at_once=at_once, **common)
    if form == "zip":
        return _Zip(url, path=path or "", method=method, names=names, **common)
    raise ValueError(f'to_http: form must be "files" or "zip", not {form!r}')


def _check_path(path: object) -> None:
    """Refuse what would change the URL before it, such as its host.

    Raises:
        TypeError: It is no text.
        ValueError: It cannot follow a URL.
    """
    if not isinstance(path, str):
        raise TypeError(f"to_http: path must be a text, not {type(path).__name__}")
    if path and not path.startswith("/"):
        raise ValueError(f"to_http: path must begin with a slash, unlike {path!r}")
    if not path.isascii() or not path.isprintable() or any(c in path for c in " #?\\"):
        raise ValueError(
            f"to_http: path {path!r} holds what no path of a URL can: write each byte as %XX, and "
            "a query into the URL"
        )


class _Files(PerFileDestination):
    kind = "to_http"

    def __init__(self, url: str, *, path: str, method: str, **common: Any) -> None:
        super().__init__(url, **common)
        # Who is sent something by POST makes a name for it; by PUT it is named here.
        self._path = Template(path, "to_http: path", apart=method == "PUT")
        self._method = method

    @property
    def place(self) -> str:
        return self._path.text

    async def put(self, delivery: Delivery, item: Item, data: bytes, fields: Fields) -> None:
        url = with_path(self.url, self._path.fill(await fields.of(self._path, item, data)))
        headers = {
            "Content-Type": "application/dicom",
            "Idempotency-Key": f"{delivery.key}/{item.instance}",
        }
        await self.ask(delivery, self._method, url, headers=headers, body=data)


class _Zip(HttpDestination):
    kind = "to_http"

    def __init__(self, url: str, *, path: str, method: str, names: str, **common: Any) -> None:
        super().__init__(url, **common)
        self._path = Template(path, "to_http: path")
        self._names = Template(names, "to_http: names", apart=True)
        self._method = method
        if self.transform is not None and self._path.names:
            raise ValueError("to_http: the path of a ZIP that is transformed can have no fields")

    async def deliver(self, delivery: Delivery) -> None:
        items = await self.items(delivery)
        sent = Sent(items, delivery.state.get("sent"))
        if all(item in sent for item in items):  # none, or an earlier attempt has sent them
            return
        fields = Fields(delivery.resource, self.transform)
        url = with_path(self.url, self._path.fill(await fields.of_resource(self._path)))

        async def body() -> AsyncGenerator[Any, None]:
            work = Work(delivery, items)
            sink = _Sink()
            with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
                async with contextlib.aclosing(_source.read(items, self.transform)) as files:
                    async for item, data in files:
                        if data is not None:
                            name = self._names.fill(await fields.of(self._names, item, data))
                            entry = zipfile.ZipInfo(name, _DATE)
                            archive.writestr(entry, data)
                            for part in sink.take():
                                yield part
                        work.done(item, len(data or b""), resume=False)
            for part in sink.take():
                yield part

        headers = {"Content-Type": "application/zip", "Idempotency-Key": delivery.key}
        await self.ask(delivery, self._method, url, headers=headers, body=body)
        for item in items:
            sent.add(item)
        delivery.keep({"sent": sent.state()})


class _Sink:
    """What `zipfile` writes to: it may go back as far as the entry that it writes.

    So an entry's header has its size and checksum, without which readers of a stream cannot
    find the end of what is not compressed. Nothing is copied.
    """

    def __init__(self) -> None:
        self._start = 0  # of what is kept
        self._parts: list[Any] = []
        self._end = 0
        self._at = 0

    def write(self, data: Any) -> int:
        size = len(data)
        if self._at == self._end:
            self._parts.append(data)
            self._end += size
        elif self._at == self._start and size == len(self._parts[0]):
            self._parts[0] = data
        else:
            raise OSError("only an entry's own header is written again")
        self._at += size
        return size

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._end)[whence]
        return self._at

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass

    def take(self) -> list[Any]:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        self._start = self._at = self._end
        return parts


def with_path(url: str, path: str) -> str:
    """Return a URL with something after its path."""
    base, mark, query = url.partition("?")
    return f"{base}{path}{mark}{query}"
