"""Access by HTTP: functions that Orthanc asks before it serves a request.

The client waits for the answer. A handler that raises, takes too long or returns something else
refuses the request with HTTP status 500.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import orthanc
from orthanc_async import _waited
from orthanc_async.rest import Headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _FilterHandler = TypeVar("_FilterHandler", bound=Callable[["FilteredRequest"], Any])
    _Authenticator = TypeVar("_Authenticator", bound=Callable[["HttpRequest"], Any])

__all__ = [
    "Authentication",
    "FilteredRequest",
    "Forbidden",
    "Granted",
    "HttpRequest",
    "Redirect",
    "Unauthorized",
    "http_authentication",
    "http_filter",
]


@dataclasses.dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that Orthanc has received and not served yet.

    Attributes:
        uri: The path, without the query, as the client wrote it.
        ip: The client's address.
        headers: Found in any case.
        query: The query of a GET, as Orthanc hands it over: 1.10 does not decode it, 1.12 does.
    """

    uri: str
    ip: str
    headers: Mapping[str, str] = dataclasses.field(repr=False)  # it may hold passwords
    query: Mapping[str, str] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class FilteredRequest(HttpRequest):
    """The same, with its method.

    Attributes:
        method: "GET", "POST", "PUT" or "DELETE".
    """

    method: str


@dataclasses.dataclass(frozen=True, slots=True)
class Granted:
    """The client is known: Orthanc serves the request.

    Attributes:
        payload: What routes get with the request: `rest.Request.authentication`.
    """

    payload: bytes | str = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Unauthorized:
    """The client is not known: HTTP status 401."""


@dataclasses.dataclass(frozen=True, slots=True)
class Forbidden:
    """The client is known, and must not do this: HTTP status 403."""


@dataclasses.dataclass(frozen=True, slots=True)
class Redirect:
    """The client has to go elsewhere first, to a login page: HTTP status 307.

    Attributes:
        path: Where to, from the root of Orthanc's web server.
    """

    path: str


Authentication: TypeAlias = Granted | Unauthorized | Forbidden | Redirect


@overload
def http_filter(handler: _FilterHandler, /) -> _FilterHandler: ...
@overload
def http_filter(*, timeout: float | None = None) -> Callable[[_FilterHandler], _FilterHandler]: ...
def http_filter(handler: Any = None, /, *, timeout: float | None = None) -> Any:
    """Call a function with the `FilteredRequest` of each HTTP request from outside.

    It returns True to let the request in, or False to answer it with HTTP status 403. Every filter
    must return True. One that raises, returns something else or takes too long refuses the request
    with status 500. Registers by `OrthancPluginRegisterIncomingHttpRequestFilter2`.

    Args:
        handler: A `def` or an `async def`, called with the request.
        timeout: How many seconds the client waits for an `async def`; 30 unless given.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the request, or the timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
    """
    return _waited.register(
        handler,
        "http_filter",
        "request",
        "RegisterIncomingHttpRequestFilter",
        timeout=timeout,
        question=_filtered,
    )


@overload
def http_authentication(handler: _Authenticator, /) -> _Authenticator: ...
@overload
def http_authentication(
    *, timeout: float | None = None
) -> Callable[[_Authenticator], _Authenticator]: ...
def http_authentication(handler: Any = None, /, *, timeout: float | None = None) -> Any:
    """Have a function authenticate each HTTP request, in place of Orthanc's own users.

    It returns `Granted()`, `Unauthorized()`, `Forbidden()` or `Redirect(path)`. If it raises,
    returns something else or takes too long, the request gets HTTP status 500. There can be only
    one. Needs Orthanc 1.12.9. Registers by `OrthancPluginRegisterHttpAuthentication`.

    Args:
        handler: A `def` or an `async def`, called with the `HttpRequest`.
        timeout: How many seconds the client waits for an `async def`; 30 unless given.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the request, or the timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
        RuntimeError: There is another one already, or this Orthanc is too old.
        AttributeError: The plugin was built with the SDK of an older Orthanc.
    """
    return _waited.register(
        handler,
        "http_authentication",
        "request",
        "RegisterHttpAuthentication",
        timeout=timeout,
        question=_request,
        answer=_authentication,
    )


def _request(uri: str, /, **fields: Any) -> HttpRequest:
    return HttpRequest(uri, fields["ip"], Headers(fields["headers"]), fields["get"])


def _filtered(uri: str, /, **fields: Any) -> FilteredRequest:
    # PATCH and the like have no number of their own.
    method = getattr(fields["method"], "name", "")
    return FilteredRequest(
        uri, fields["ip"], Headers(fields["headers"]), fields.get("get", {}), method
    )


def _authentication(result: Any) -> tuple[Any, Any]:
    status = _later_enum("HttpAuthenticationStatus")
    match result:
        case Granted(payload):
            return status.GRANTED, payload
        case Unauthorized():
            return status.UNAUTHORIZED, None
        case Forbidden():
            return status.FORBIDDEN, None
        case Redirect(path):
            return status.REDIRECT, path
    message = (
        "an HTTP authentication returns Granted(), Unauthorized(), Forbidden() or Redirect(path), "
        f"not {result!r}"
    )
    raise TypeError(message)


def _later_enum(name: str) -> Any:
    return getattr(orthanc, name)
