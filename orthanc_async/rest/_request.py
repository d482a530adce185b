"""What a handler is given: the request, read only as far as the handler asks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from orthanc_async.rest._response import HTTPError

if TYPE_CHECKING:
    import orthanc
    from orthanc_async.rest._template import Pattern


class Headers(Mapping[str, str]):
    """The request's headers, found in any case."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        """Wrap headers whose names are in lower case, as Orthanc hands them over."""
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({dict(self._values)!r})"


class Query(Mapping[str, str]):
    """The request's query arguments; of a repeated one the last counts."""

    __slots__ = ("_pairs", "_values")

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        """Hold decoded arguments in the order of the request."""
        self._pairs = pairs
        self._values = dict(pairs)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Query({self._pairs!r})"

    def getlist(self, name: str) -> list[str]:
        """Return all values of a repeated argument in order; none: an empty list."""
        return [value for key, value in self._pairs if key == name]


def _refuse_constant(name: str) -> None:
    message = f"{name} is no JSON"
    raise ValueError(message)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class Request:
    """One HTTP request to a route.

    Text that is not UTF-8 (in the path, the headers, the query) is decoded with
    `surrogateescape`, so it can be handed on unharmed.

    Attributes:
        uri: The path, decoded, without its query.
    """

    __slots__ = ("_fields", "_headers", "_path", "_pattern", "_query", "uri")

    # Read on demand and kept; a slot that was not read is unset, which costs a request nothing.
    _headers: Headers
    _path: dict[str, Any]
    _query: Query

    def __init__(self, uri: str, fields: dict[str, Any], pattern: Pattern) -> None:
        """Wrap what Orthanc hands over; nothing is read yet."""
        self.uri = uri
        self._fields = fields
        self._pattern = pattern

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri}>"

    @property
    def method(self) -> str:
        """The method: `GET`, `POST`, `PUT` or `DELETE`."""
        method: str = self._fields["method"]
        return method

    @property
    def groups(self) -> tuple[str, ...]:
        """All groups of the path, in order, as text."""
        groups: tuple[str, ...] = self._fields["groups"]
        return groups

    @property
    def path(self) -> dict[str, Any]:
        """The path's parameters (of a regular expression: its named groups) by their names."""
        try:
            return self._path
        except AttributeError:
            self._path = self._pattern.values(self._fields["groups"])
        return self._path

    @property
    def query(self) -> Query:
        """The query's arguments, decoded. Orthanc gives them for GET only."""
        try:
            return self._query
        except AttributeError:
            self._query = self._read_query()
        return self._query

    @property
    def headers(self) -> Headers:
        """The headers, found in any case. Of a repeated header Orthanc keeps one."""
        try:
            return self._headers
        except AttributeError:
            self._headers = Headers(self._fields.get("headers") or {})
        return self._headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by their names."""
        cookies: dict[str, str] = {}
        for part in self.headers.get("cookie", "").split(";"):
            name, separator, value = part.strip().partition("=")
            if separator:
                # The first of one name belongs to the longest path, so it counts.
                cookies.setdefault(name, value.strip('"'))
        return cookies

    @property
    def body(self) -> bytes:
        """The body; empty for methods that have none.

        Raises:
            RuntimeError: The route was declared with `chunked=True`.
        """
        body = self._fields.get("body") or b""
        if not isinstance(body, bytes):
            message = (
                "the body of this request comes in chunks: read it by `async for chunk in "
                "request.chunks`, or declare the route without chunked=True"
            )
            raise RuntimeError(message)  # noqa: TRY004 - the type is the declaration's
        return body

    @property
    def authentication(self) -> bytes:
        """The payload of `Granted` that `@http_authentication` gave this request, or empty."""
        payload: bytes = self._fields.get("authenticationPayload", b"")
        return payload

    @property
    def chunks(self) -> orthanc.ChunkedBody:
        """The body as it arrives, for a route declared with `chunked=True`; read it once.

        By `async for`, in a `def` by `for`. It raises ConnectionError when the client goes before
        the end.

        Raises:
            RuntimeError: The route is another one, or the method has no body.
        """
        body = self._fields.get("body")
        if body is None or isinstance(body, bytes):
            message = "this request's body does not come in chunks: declare its route chunked=True"
            raise RuntimeError(message)
        chunks: orthanc.ChunkedBody = body
        return chunks

    @property
    def text(self) -> str:
        """The body as text, decoded as `Content-Type` says, else as UTF-8.

        Raises:
            HTTPError: 400, the body is not of that encoding; 415, the encoding is not known.
        """
        charset = "utf-8"
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = parameter.strip().partition("=")
            if name.strip().lower() == "charset":
                charset = value.strip().strip('"') or charset
        try:
            return self.body.decode(charset)
        except (LookupError, ValueError) as error:
            status = 415 if isinstance(error, LookupError) else 400
            raise HTTPError(status, f"the body cannot be read as {charset}: {error}") from error

    def json(self) -> Any:
        """Return the body, read as JSON.

        Raises:
            HTTPError: 400, the body is no JSON; the answer says where it goes wrong.
        """
        body = self.body
        if not body:
            raise HTTPError(400, "the body is empty where JSON is expected")
        try:
            return _DECODER.decode(body.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise HTTPError(400, f"the body is no valid JSON: {error}") from error

    def _read_query(self) -> Query:
        fields = self._fields
        pairs = fields.get("_query")
        if pairs is None:
            pairs = list((fields.get("get") or {}).items())
        # The host says on the package how this Orthanc hands arguments over.
        if sys.modules["orthanc_async.rest"]._query_is_encoded:
            pairs = [(_decode(name), _decode(value)) for name, value in pairs]
        return Query(list(pairs))


def _decode(text: str) -> str:
    return unquote_plus(text, errors="surrogateescape")
