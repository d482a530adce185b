"""Routes: functions that answer HTTP requests.

    @rest.get("/studies/{study}/summary")
    async def summary(request: rest.Request) -> dict[str, object]:
        return {"study": request.path["study"]}

A handler is `async def` (runs on the loop) or `def` (runs on a thread of its own) and returns a
dict or list (JSON), str, bytes, None (204), `Response`, `Multipart`, or an iterator of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from orthanc_async.rest import _routes, _template
from orthanc_async.rest._request import Headers, Query, Request
from orthanc_async.rest._response import Cookie, HTTPError, Multipart, Response
from orthanc_async.rest._template import Pattern, regex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    _Handler = TypeVar("_Handler", bound=Callable[[Request], Any])

__all__ = [
    "STREAM_LIMIT",
    "Cookie",
    "HTTPError",
    "Headers",
    "Multipart",
    "Pattern",
    "Query",
    "Request",
    "Response",
    "delete",
    "get",
    "mount",
    "post",
    "put",
    "regex",
    "route",
]

STREAM_LIMIT = 64 * 1024 * 1024
"""How many bytes of an iterator are collected where Orthanc cannot stream."""

# Set by the host at each start: whether query arguments come with their percent-escapes, as on
# Orthanc 1.10.1, whether error answers tell an exception's text (the setting Debug), and whether
# there are streamed answers (from 1.12.6 on).
_query_is_encoded = True
_debug = False
_can_stream = False


def route(
    path: str | Pattern | None = None,
    *,
    methods: Iterable[str],
    pattern: str | None = None,
    chunked: bool = False,
) -> Callable[[_Handler], _Handler]:
    r"""Declare a handler for several methods of a path.

    Methods of one path share one registration in Orthanc; a method without handler is answered
    with 405. Registers by `OrthancPluginRegisterRestCallbackNoLock`.

    Args:
        path: A template: `/studies/{study}`, `/frames/{n:int}`, `/files/{rest:path}`; or what
            `regex` returned.
        methods: Some of GET, POST, PUT, DELETE: the ones that Orthanc hands to plugins.
        pattern: A regular expression instead of `path`.
        chunked: Whether the handler begins before the body has arrived, and reads it from
            `request.chunks`; registers by `OrthancPluginRegisterChunkedRestCallback`.

    Returns:
        A decorator that returns the handler unchanged.

    Raises:
        TypeError, ValueError: The path or a method is none, the handler does not take the
            request, or the path is taken; the text names both places.
    """
    if (path is None) == (pattern is None):
        message = "a route needs either a path or pattern=…"
        raise TypeError(message)
    wanted = _routes.check_methods(methods)
    # Compiled here, so that the error points to the decorator's line.
    if pattern is not None:
        compiled = regex(pattern)
    elif isinstance(path, Pattern):
        compiled = path
    else:
        compiled = _template.template(path)

    def decorate(handler: _Handler) -> _Handler:
        return _routes.declare(compiled, wanted, handler, chunked=chunked)

    return decorate


def get(
    path: str | Pattern | None = None, *, pattern: str | None = None
) -> Callable[[_Handler], _Handler]:
    """Declare the handler of GET requests to a path. See `route`."""
    return route(path, methods=("GET",), pattern=pattern)


def post(
    path: str | Pattern | None = None, *, pattern: str | None = None, chunked: bool = False
) -> Callable[[_Handler], _Handler]:
    """Declare the handler of POST requests to a path. See `route`."""
    return route(path, methods=("POST",), pattern=pattern, chunked=chunked)


def put(
    path: str | Pattern | None = None, *, pattern: str | None = None, chunked: bool = False
) -> Callable[[_Handler], _Handler]:
    """Declare the handler of PUT requests to a path. See `route`."""
    return route(path, methods=("PUT",), pattern=pattern, chunked=chunked)


def delete(
    path: str | Pattern | None = None, *, pattern: str | None = None
) -> Callable[[_Handler], _Handler]:
    """Declare the handler of DELETE requests to a path. See `route`."""
    return route(path, methods=("DELETE",), pattern=pattern)


def mount(prefix: str) -> None:
    """Serve every path below a prefix, so that routes can be added there at any time.

    Orthanc stands still for a moment when a route is registered while it serves; below a prefix
    that was mounted while the script was loaded, nothing is registered. All of Orthanc's own
    paths below the prefix are hidden. A path there that has no route is answered with 404.

    Args:
        prefix: A literal path such as `/my-hospital`.

    Raises:
        TypeError, ValueError: It is no such path.
    """
    _routes.mount(prefix)
