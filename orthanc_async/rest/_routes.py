"""The table of routes: what scripts declare, what Orthanc is told, who handles a request."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import orthanc
from orthanc_async import _registry
from orthanc_async.rest import _answer, _chunks, _parts, _template
from orthanc_async.rest._request import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orthanc_async.rest._template import Pattern

    Handler = TypeVar("Handler", bound=Callable[[Request], Any])

METHODS = ("GET", "POST", "PUT", "DELETE")

# SystemExit and KeyboardInterrupt would end the loop, that is every handler of the server.
# A cancellation is none of these: the host answers it.
_FAILURES = (Exception, SystemExit, KeyboardInterrupt)


class Entry:
    """One handler of one method of one path."""

    __slots__ = ("await_", "call", "is_async", "name", "pattern", "place")

    def __init__(self, handler: Callable[[Request], Any], method: str, pattern: Pattern) -> None:
        self.pattern = pattern
        self.name = f"{_registry.describe(handler)} ({method} {pattern.source})"
        self.place = _registry.place(handler)
        self.call = handler
        generates = inspect.isasyncgenfunction(handler)
        self.is_async = generates or _registry.is_async(handler)
        self.await_: Callable[[Request], Awaitable[Any]]
        if generates:
            self.await_ = functools.partial(_immediately, handler)
        elif self.is_async:
            self.await_ = handler
        else:
            self.await_ = functools.partial(_in_thread, handler)


class Route:
    """One path and the handlers of its methods; below a mounted prefix, or known to Orthanc."""

    __slots__ = ("chunked", "dispatcher", "entries", "pattern")

    def __init__(self, pattern: Pattern, *, chunked: bool = False) -> None:
        self.pattern = pattern
        self.chunked = chunked
        self.entries: dict[str, Entry] = {}
        self.dispatcher: Any = None

    def add(self, method: str, entry: Entry) -> None:
        self.entries[method] = entry
        if self.dispatcher is not None:
            _name_dispatcher(self.dispatcher, self)


class Mount:
    """A prefix that is known to Orthanc; the paths below it are looked up here."""

    __slots__ = ("prefix", "routes")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.routes: list[Route] = []


_routes: dict[str, Route] = {}
_mounts: list[Mount] = []


@_registry.on_clear
def _clear() -> None:
    _routes.clear()
    _mounts.clear()


def check_methods(methods: object) -> list[str]:
    """Return the methods in capitals.

    Raises:
        TypeError: They are no list.
        ValueError: There is none, or Orthanc does not hand one of them to plugins.
    """
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        message = f"methods must be a list such as ['GET', 'POST'], not {methods!r}"
        raise TypeError(message)
    wanted = [str(method).upper() for method in methods]
    if not wanted:
        message = "methods is empty: name at least one of " + ", ".join(METHODS)
        raise ValueError(message)
    for method in wanted:
        if method not in METHODS:
            message = f"Orthanc hands no {method} requests to plugins, only {', '.join(METHODS)}"
            raise ValueError(message)
    return wanted


def declare(
    pattern: Pattern, methods: Iterable[str], handler: Handler, *, chunked: bool = False
) -> Handler:
    """Add a handler of some methods, and tell Orthanc about its path unless it knows it.

    Raises:
        TypeError, ValueError: The declaration cannot work; nothing has been added then.
    """
    _registry.check_handler(handler, "rest", "request", may_yield=True)
    entries = {method: Entry(handler, method, pattern) for method in methods}
    route = _routes.get(pattern.native)
    if route is not None:
        for method, entry in entries.items():
            known = route.entries.get(method)
            if known is not None:
                message = (
                    f"{method} {pattern.source} is declared twice: {entry.name} at {entry.place} "
                    f"and {known.name} at {known.place}: remove one or change its path"
                )
                raise ValueError(message)
        if chunked and not route.chunked:
            _refuse_chunked(pattern, handler, "declare it before the path's other handlers")
    else:
        route = _new_route(pattern, next(iter(entries.values())), entries, chunked=chunked)
    if route.chunked and not chunked:
        for entry in entries.values():
            _chunks.collect_first(entry)
    for method, entry in entries.items():
        route.add(method, entry)
    return handler


def mount(prefix: str) -> None:
    """Tell Orthanc that all paths below `prefix` are served here."""
    prefix = _template.prefix(prefix)
    if any(prefix == known.prefix for known in _mounts):
        return  # two scripts may share a prefix
    for known in _mounts:
        if prefix.startswith(known.prefix + "/"):
            return
    mounted = Mount(prefix)
    dispatcher = _make_mount_dispatcher(mounted)
    dispatcher.__orthanc_query__ = True
    dispatcher.__orthanc_handler__ = f"orthanc_async.rest.mount({prefix!r})"
    orthanc.RegisterRestCallback(_template.quote(prefix) + "/.*", dispatcher)
    _mounts.append(mounted)


def _refuse_chunked(pattern: Pattern, handler: Callable[[Request], Any], mend: str) -> None:
    message = (
        f"{_registry.describe(handler)} at {_registry.place(handler)} takes {pattern.source} in "
        f"chunks, which Orthanc has to know when it learns of the path: {mend}"
    )
    raise ValueError(message)


def _new_route(
    pattern: Pattern, first: Entry, entries: dict[str, Entry], *, chunked: bool
) -> Route:
    _refuse_hidden(pattern, first)
    route = Route(pattern, chunked=chunked)
    for mounted in _mounts:
        if pattern.is_below(mounted.prefix):
            if chunked:
                _refuse_chunked(pattern, first.call, f"choose a path outside {mounted.prefix}")
            route.dispatcher = _make_async_dispatcher(route)
            mounted.routes.append(route)
            _routes[pattern.native] = route
            return route
    make = _make_async_dispatcher if first.is_async else _make_blocking_dispatcher
    route.dispatcher = make(route)
    # Before the registration: a request may arrive while it returns.
    route.entries.update(entries)
    _name_dispatcher(route.dispatcher, route)
    register = orthanc.RegisterChunkedRestCallback if chunked else orthanc.RegisterRestCallback
    register(pattern.native, route.dispatcher)
    _routes[pattern.native] = route
    return route


def _refuse_hidden(pattern: Pattern, entry: Entry) -> None:
    # Orthanc asks the routes in the order of their declaration and takes the first that matches.
    if pattern.sample is None:
        return
    for other in _routes.values():
        if other.pattern.match(pattern.sample) is not None:
            earlier = next(iter(other.entries.values()))
            message = (
                f"{entry.name} at {entry.place} would never be called: {earlier.name} at "
                f"{earlier.place} is declared before and takes all its requests: declare the "
                "narrower path first"
            )
            raise ValueError(message)


def _make_async_dispatcher(route: Route) -> Any:
    entries = route.entries

    async def dispatch(output: Any, uri: str, **fields: Any) -> None:
        # Thread: the loop's. One frame a request, without a lookup that can be spared.
        entry = entries.get(fields["method"])
        if entry is None:
            output.SendMethodNotAllowed(_allowed(entries))
            return
        try:
            result = await entry.await_(Request(uri, fields, entry.pattern))
            if not _answer.plain(output, result):
                await _parts.parts(output, result)
        except _FAILURES as failure:
            _answer.error(output, failure, entry.name, fields["method"], uri)

    return dispatch


def _make_blocking_dispatcher(route: Route) -> Any:
    entries = route.entries

    def dispatch(output: Any, uri: str, **fields: Any) -> None:
        # Thread: one of Orthanc's or of the plugin's, never the loop's.
        entry = entries.get(fields["method"])
        if entry is None:
            output.SendMethodNotAllowed(_allowed(entries))
            return
        request = Request(uri, fields, entry.pattern)
        try:
            result = _wait(entry.await_(request)) if entry.is_async else entry.call(request)
            if inspect.iscoroutine(result):
                result = _wait(result)
            if not _answer.plain(output, result):
                _parts.parts_blocking(output, result, _wait)
        except _FAILURES as failure:
            _answer.error(output, failure, entry.name, fields["method"], uri)

    return dispatch


def _make_mount_dispatcher(mounted: Mount) -> Any:
    async def dispatch(output: Any, uri: str, **fields: Any) -> None:
        for route in mounted.routes:
            groups = route.pattern.match(uri)
            if groups is None:
                continue
            fields["groups"] = groups
            await route.dispatcher(output, uri, **fields)
            return
        message = f"no route below {mounted.prefix} has this path"
        _answer.send_error(output, 404, message, fields["method"], uri)

    return dispatch


def _allowed(entries: dict[str, Entry]) -> str:
    return ", ".join(method for method in METHODS if method in entries)


def _name_dispatcher(dispatcher: Any, route: Route) -> None:
    # The host names the handlers of a route in its log by this.
    names = dict.fromkeys(entry.name for entry in route.entries.values())
    dispatcher.__orthanc_query__ = True
    dispatcher.__orthanc_handler__ = ", ".join(names)
    handler = next(iter(route.entries.values())).call
    dispatcher.__wrapped__ = handler
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        value = getattr(handler, attribute, None)
        if isinstance(value, str):
            setattr(dispatcher, attribute, value)


async def _immediately(handler: Callable[[Request], Any], request: Request) -> Any:
    # Calling an asynchronous generator function gives the generator, with nothing to await.
    return handler(request)


async def _in_thread(handler: Callable[[Request], Any], request: Request) -> Any:
    # A `def` handler on a path whose first handler is `async def`, or below a mounted prefix.
    result = await asyncio.to_thread(handler, request)
    return await result if inspect.iscoroutine(result) else result


def _wait(awaitable: Any) -> Any:
    from orthanc_async import _run_coroutine

    return _run_coroutine.run_coroutine(awaitable)
