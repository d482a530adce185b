"""Routes: their declaration, what Orthanc is told, and how a request is answered."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import re
import threading
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import _registry, rest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from unit.conftest import Output, Server


def _answer(server: Server, result: Any) -> Output:
    @rest.get("/x")
    async def handler(request: rest.Request) -> Any:
        return result

    return server.request("/x", "/x")


def _raise(server: Server, error: BaseException) -> Output:
    @rest.get("/x")
    async def handler(request: rest.Request) -> None:
        raise error

    return server.request("/x", "/x")


@pytest.mark.parametrize(
    ("result", "call"),
    [
        ({"a": "ü"}, ("answer", b'{"a":"\\u00fc"}', "application/json")),
        ([1, None], ("answer", b"[1,null]", "application/json")),
        ("ü\udcff", ("answer", b"\xc3\xbc\xff", "text/plain; charset=utf-8")),
        (b"\0", ("answer", b"\0", "application/octet-stream")),
        (bytearray(b"a"), ("answer", b"a", "application/octet-stream")),
        (memoryview(b"a"), ("answer", b"a", "application/octet-stream")),
        (None, ("status", 204, b"")),
        (rest.Response(), ("answer", b"", "application/octet-stream")),
        (rest.Response({"a": 1}, media_type="a/b"), ("answer", b'{"a":1}', "a/b")),
        (rest.Response("hi", status=201), ("status", 201, b"hi")),
        (rest.Response(status=405, headers={"Allow": "PUT"}), ("not allowed", "PUT")),
    ],
)
def test_results(server: Server, result: object, call: tuple[Any, ...]) -> None:
    """Each type that a handler may return is answered as it is meant."""
    assert _answer(server, result).last == call


def test_response_headers_and_cookies(server: Server) -> None:
    """Headers, cookies and the media type go out before the body."""
    response = rest.Response(
        "hi", status=202, headers={"X-A": "b"}, cookies={"c": "d", "e": rest.Cookie("f")}
    )
    assert _answer(server, response).calls == [
        ("header", "X-A", "b"),
        ("cookie", "c", "d"),
        ("cookie", "e", "f; Path=/; HttpOnly; SameSite=Lax"),
        ("header", "Content-Type", "text/plain; charset=utf-8"),
        ("status", 202, b"hi"),
    ]


class Strange:
    """Something that cannot be sent."""


_LOOP: list[Any] = []
_LOOP.append(_LOOP)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Strange(), "test_routes.Strange"),
        ({"a": Strange()}, "test_routes.Strange"),
        (rest.Response(Strange()), "test_routes.Strange"),
        ([float("nan")], "float"),
        ({(1, 2): 3}, "tuple"),
        (_LOOP, "Circular"),
        (True, "builtins.bool"),
        (rest.HTTPError(404), "`raise` it instead"),
        ((1, 2), "builtins.tuple"),
        ("\ud800", "surrogates"),
    ],
)
def test_unsendable(
    server: Server, caplog: pytest.LogCaptureFixture, result: object, text: str
) -> None:
    """What cannot be sent is a 500 that names the type and the handler, also in the log."""
    status, fields = _answer(server, result).error()
    assert status == 500
    assert text in fields["Message"]
    assert "_answer.<locals>.handler (GET /x)" in fields["Message"]
    assert fields["Message"] in caplog.text


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("headers", {"X": "a\r\nSet-Cookie: b"}),
        ("headers", {"X": 5}),
        ("cookies", {"a": "b\r\nX: c"}),
        ("media_type", "text/plain\nX: c"),
        ("media_type", 5),
        ("status", "200"),
        ("status", 999),
        ("status", 204),
    ],
)
def test_response_changed_after_its_check(server: Server, attribute: str, value: object) -> None:
    """What a handler sets later is checked too, and nothing of it is sent."""
    response = rest.Response("x", cookies={"c": "d"})
    setattr(response, attribute, value)
    output = _answer(server, response)
    status, fields = output.error()
    assert status == 500
    assert "rest.Response: " in fields["Message"]
    assert output.calls[:-1] == [("header", "Content-Type", "application/json")]


def test_coroutine_as_an_answer(server: Server) -> None:
    """A forgotten `await` is named as that."""

    async def forgotten() -> None: ...

    assert "write `return await …`" in _answer(server, forgotten()).error()[1]["Message"]


def test_uncaught_with_debug(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting Debug the client gets the exception's text."""
    monkeypatch.setattr(rest, "_debug", True)
    _, fields = _raise(server, ValueError("the details")).error()
    assert fields["Message"].endswith("raised ValueError: the details")


def test_http_error(server: Server) -> None:
    """An HTTPError is answered with its status, headers and a JSON body."""
    output = _raise(server, rest.HTTPError(409, "taken", headers={"Retry-After": "3"}))
    assert ("header", "Retry-After", "3") in output.calls
    assert output.error() == (
        409,
        {
            "HttpError": "Conflict",
            "HttpStatus": 409,
            "Message": "taken",
            "Method": "GET",
            "Uri": "/x",
        },
    )


def test_http_error_in_a_task_group(server: Server) -> None:
    """An HTTPError that a task group wrapped still decides the answer."""
    group = ExceptionGroup("group", [ExceptionGroup("inner", [rest.HTTPError(403)])])
    status, fields = _raise(server, group).error()
    assert (status, fields["Message"]) == (403, "Forbidden")


@pytest.mark.parametrize(
    ("code", "status", "level"),
    [
        (17, 404, "INFO"),
        (8, 400, "INFO"),
        (29, 401, "INFO"),
        (36, 503, "ERROR"),
        (11, 500, "ERROR"),
        (99_999, 500, "ERROR"),
    ],
)
def test_orthanc_exception(
    server: Server, caplog: pytest.LogCaptureFixture, code: int, status: int, level: str
) -> None:
    """An error of Orthanc that nobody caught is answered with the status Orthanc gives it."""
    caplog.set_level(logging.INFO)
    output = _raise(server, orthanc.OrthancException(code, "GET /studies/nope"))
    assert output.error()[0] == status
    assert output.error()[1]["Message"] == "GET /studies/nope"
    assert caplog.records[-1].levelname == level


@pytest.mark.parametrize("error", [ValueError("secret"), SystemExit(3), KeyboardInterrupt()])
def test_uncaught(server: Server, caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    """What a handler did not catch is a 500 that names its type; the log has the traceback."""
    status, fields = _raise(server, error).error()
    assert status == 500
    assert type(error).__name__ in fields["Message"]
    assert "secret" not in fields["Message"]
    assert "_raise.<locals>.handler (GET /x) failed" in caplog.text
    assert "Traceback" in caplog.text


def test_cancellation_is_left_to_the_host(server: Server) -> None:
    """A cancelled handler answers nothing itself."""
    with pytest.raises(asyncio.CancelledError):
        _raise(server, asyncio.CancelledError())


def test_methods_share_a_path(server: Server) -> None:
    """Methods of one path are one native route; another method is told which there are."""

    @rest.get("/a/{x}")
    async def read(request: rest.Request) -> str:
        return f"read {request.path['x']}"

    @rest.put("/a/{name}")
    async def write(request: rest.Request) -> str:
        return f"write {request.path['name']}"

    assert list(server.routes) == ["/a/([^/]+)"]
    native = "/a/([^/]+)"
    assert server.request(native, "/a/1", groups=("1",)).last[1] == b"read 1"
    assert server.request(native, "/a/1", "PUT", groups=("1",)).last[1] == b"write 1"
    assert server.request(native, "/a/1", "DELETE").last == ("not allowed", "GET, PUT")
    names = server.routes[native].__orthanc_handler__  # type: ignore[attr-defined]
    assert "read (GET /a/{x})" in names
    assert "write (PUT /a/{name})" in names


def test_route_with_methods(server: Server) -> None:
    """One handler may serve several methods, and is returned unchanged."""

    async def handler(request: rest.Request) -> str:
        return request.method

    assert rest.route("/x", methods=["post", "DELETE"])(handler) is handler
    assert server.request("/x", "/x", "POST").last[1] == b"POST"
    assert server.request("/x", "/x", "GET").last == ("not allowed", "POST, DELETE")


@pytest.mark.parametrize("methods", [["HEAD"], [], ["GET", "PATCH"]])
def test_bad_methods(server: Server, methods: list[str]) -> None:
    """A method that Orthanc does not hand to plugins is refused."""
    with pytest.raises(ValueError, match="GET, POST, PUT, DELETE"):
        rest.route("/x", methods=methods)(lambda _: None)
    assert server.routes == {}


def test_methods_as_text() -> None:
    """A text instead of a list of methods is refused."""
    with pytest.raises(TypeError, match="must be a list"):
        rest.route("/x", methods="GET")
    with pytest.raises(TypeError, match="must be a list"):
        rest.route("/x", methods=5)  # type: ignore[arg-type]


def test_declared_twice(server: Server) -> None:
    """Two handlers of one path and method are an error that names both places."""

    @rest.get("/x/{a}")
    async def first(request: rest.Request) -> None: ...

    async def second(request: rest.Request) -> None: ...

    with pytest.raises(ValueError, match="declared twice") as caught:
        rest.get("/x/{b}")(second)
    for handler in (first, second):
        assert f"{__file__}:{handler.__code__.co_firstlineno}" in str(caught.value)
    assert len(server.routes) == 1


def test_hidden_path(server: Server) -> None:
    """A path that an earlier one takes whole is an error; the other order is fine."""
    rest.get("/a/{x}")(lambda _: None)
    for hidden in ("/a/b", "/a/{n:int}"):
        with pytest.raises(ValueError, match="narrower path first"):
            rest.post(hidden)(lambda _: None)
    rest.get("/a/b/c")(lambda _: None)
    rest.get("/c/d")(lambda _: None)
    rest.get("/c/{x}")(lambda _: None)
    assert list(server.routes) == ["/a/([^/]+)", "/a/b/c", "/c/d", "/c/([^/]+)"]


def test_bad_handler(server: Server) -> None:
    """What cannot be called with the request is refused where it is declared."""
    with pytest.raises(TypeError, match="is called with \\(request\\)"):
        rest.get("/x")(lambda: None)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="needs a function, not int"):
        rest.get("/x")(3)  # type: ignore[type-var]
    assert server.routes == {}


def test_failed_registration_leaves_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Orthanc refuses a registration, the path can be declared again."""

    def refuse(regex: str, callback: object) -> None:
        message = "handlers in flight"
        raise RuntimeError(message)

    with monkeypatch.context() as patch:
        patch.setattr(orthanc, "RegisterRestCallback", refuse)
        with pytest.raises(RuntimeError, match="in flight"):
            rest.get("/x")(lambda _: None)
    rest.get("/x")(lambda _: "again")
    assert server.request("/x", "/x").last[1] == b"again"


def test_def_handler_stays_off_the_loop(server: Server) -> None:
    """A `def` handler is registered as `def`, so the plugin runs it on its own thread."""

    @rest.get("/x")
    def handler(request: rest.Request) -> dict[str, str]:
        return {"uri": request.uri}

    assert not inspect.iscoroutinefunction(server.routes["/x"])
    assert json.loads(server.request("/x", "/x").last[1]) == {"uri": "/x"}


def test_def_and_async_on_one_path(server: Server, loop_thread: asyncio.AbstractEventLoop) -> None:
    """Kinds may be mixed on a path: each handler still runs where it belongs."""

    def blocking(request: rest.Request) -> bool:
        return asyncio._get_running_loop() is None

    async def waiting(request: rest.Request) -> bool:
        return asyncio.get_running_loop() is loop_thread

    def as_text(handler: Any) -> Any:
        if inspect.iscoroutinefunction(handler):

            async def call(request: rest.Request) -> str:
                return str(await handler(request))

            return call
        return lambda request: str(handler(request))

    rest.get("/a")(as_text(blocking))
    rest.put("/a")(as_text(waiting))
    rest.put("/b")(as_text(lambda _: threading.current_thread().name))
    assert server.request("/a", "/a").last[1] == b"True"
    assert server.request("/a", "/a", "PUT").last[1] == b"True"

    rest.get("/c")(as_text(waiting))
    rest.put("/c")(as_text(blocking))
    assert server.request("/c", "/c", "PUT").last[1] == b"True"


def test_callable_object_and_partial(server: Server) -> None:
    """Objects with an asynchronous `__call__` and partial functions are handlers too."""

    class Handler:
        async def __call__(self, request: rest.Request) -> str:
            return request.uri

    async def handler(prefix: str, request: rest.Request) -> str:
        return prefix + request.uri

    rest.get("/a")(Handler())
    rest.get("/b")(functools.partial(handler, "p"))
    assert server.request("/a", "/a").last[1] == b"/a"
    assert server.request("/b", "/b").last[1] == b"p/b"
    assert "Handler (GET /a)" in server.routes["/a"].__orthanc_handler__  # type: ignore[attr-defined]


def test_generator_function(server: Server) -> None:
    """An asynchronous generator function is a handler whose answer is collected."""

    @rest.get("/x")
    async def handler(request: rest.Request) -> AsyncIterator[bytes | str]:
        yield b"a"
        yield "ü"

    assert server.request("/x", "/x").calls == [
        ("answer", "aü".encode(), "application/octet-stream")
    ]


def test_pattern(server: Server) -> None:
    """A regular expression is a path too, by either spelling."""
    for declare in (
        rest.get(rest.regex(r"/a/(?P<n>\d+)")),
        rest.put(pattern=r"/a/(?P<n>\d+)"),
    ):
        declare(lambda request: f"{request.path} {request.groups}")
    output = server.request(r"/a/(\d+)", "/a/5", "PUT", groups=("5",))
    assert output.last[1] == b"{'n': '5'} ('5',)"


def test_mount(server: Server) -> None:
    """Below a mounted prefix routes are added without telling Orthanc, and others are 404."""
    rest.mount("/my")
    rest.mount("/my")
    rest.mount("/my/deeper")
    assert list(server.routes) == ["/my/.*"]

    @rest.get("/my/{a}/{n:int}")
    async def handler(request: rest.Request) -> str:
        return f"{request.path} {request.groups}"

    rest.put("/my/{a}")(lambda _: threading.current_thread().name)
    rest.get("/myself")(lambda _: "outside")
    assert list(server.routes) == ["/my/.*", "/myself"]
    assert server.request("/my/.*", "/my/x/3").last[1] == b"{'a': 'x', 'n': 3} ('x', '3')"
    assert server.request("/my/.*", "/my/x", "PUT").last[1] != b"MainThread"
    assert server.request("/my/.*", "/my/x").last == ("not allowed", "PUT")
    status, fields = server.request("/my/.*", "/my/x/y").error()
    assert (status, fields["Uri"]) == (404, "/my/x/y")


def test_clear(server: Server) -> None:
    """After a reset the same paths and prefixes can be declared anew."""
    rest.mount("/my")
    rest.get("/my/x")(lambda _: "old")
    rest.get("/x")(lambda _: "old")
    _registry.clear()
    server.routes.clear()
    rest.get("/x")(lambda _: "new")
    rest.get("/my/x")(lambda _: "new")
    assert list(server.routes) == ["/x", "/my/x"]
    assert server.request("/x", "/x").last[1] == b"new"


def test_places_of_handlers() -> None:
    """A handler is named by its module and function, and found by its file and line."""
    name = re.escape("test_routes.test_places_of_handlers")
    assert re.fullmatch(rf"(.*\.)?{name}", _registry.describe(test_places_of_handlers))
    line = test_places_of_handlers.__code__.co_firstlineno
    assert _registry.place(test_places_of_handlers) == f"{__file__}:{line}"
    assert _registry.place(len) == "builtins.len"
