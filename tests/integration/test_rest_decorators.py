"""orthanc_async.rest in a real Orthanc."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_until

if TYPE_CHECKING:
    from integration.conftest import Http, Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("rest_decorators_script.py")
either = pytest.mark.parametrize("kind", ["answer", "plain"])


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with the routes of the script."""
    errors = [
        r"rest_decorators_script\.\w+ \(GET",
        "Exception while invoking plugin service|plugin engine",
        "Cannot parse JSON|Bad request|Unknown resource",
    ]
    server = shared_orthanc(SCRIPT, errors=errors)
    # The start hooks register routes, which refuses requests for a moment.
    server.ask("/t/several")
    return server


@pytest.fixture
def http(server: Orthanc) -> Http:
    """A client of it."""
    return server.http


# Paths and methods


def test_templates(server: Orthanc, http: Http) -> None:
    """Fields of a path arrive decoded and converted; literal characters stand for themselves."""
    answer = http.get("/t/patients/M%C3%BCller%20J/files/a/b.dcm")
    assert answer.json() == {"patient": "M\u00fcller J", "name": "a/b.dcm"}
    assert http.get("/t/frames/7").json() == [7, "int"]
    assert http.get("/t/frames/first").text == "first"
    assert http.get("/t/frames/x").status == 404
    assert http.get("/t/codes/AB-12").json() == {"digits": "12", "groups": ["AB", "12"]}
    assert http.get("/t/a.b%2Bc").text == "literal"
    # Newer versions of Orthanc take a plus sign in a path for a space.
    assert http.get("/t/a.b+c").status == (404 if server.version >= (1, 12, 7) else 200)
    assert http.get("/t/axbbc").status == 404


def test_not_utf8(http: Http) -> None:
    """A field that is not UTF-8 is handed on; JSON says so in its own way."""
    answer = http.get("/t/patients/%FF/files/x")
    assert answer.json()["patient"] == "\udcff"
    assert http.get("/t/query?a=%FF").json()["a"] == r"'\udcff'"


def test_methods(http: Http) -> None:
    """Methods of one path share a route; another method is 405 with what is allowed."""
    assert http.get("/t/several").text == "GET"
    assert http.put("/t/several").text == "PUT"
    assert http.delete("/t/several").text == "plain DELETE"
    answer = http.post("/t/several")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, PUT, DELETE")


def test_mount(http: Http) -> None:
    """Below a mounted prefix routes work alike, and a path without one is 404."""
    assert http.get("/mounted/here").text == "mounted here"
    assert http.post("/mounted/plain/there").text == "plain there"
    answer = http.get("/mounted/a/b/c")
    assert answer.status == 404
    assert answer.json()["Uri"] == "/mounted/a/b/c"
    assert http.delete("/mounted/here").headers["Allow"] == "GET"


@pytest.mark.parametrize("path", ["/t/late/x/async", "/t/late/x/plain", "/mounted/late/x"])
def test_late(server: Orthanc, path: str) -> None:
    """A start hook may declare routes."""
    answer = wait_until(
        lambda: server.http.get(path), f"the route {path}", done=lambda found: found.status == 200
    )
    assert answer.text == "late x"


# Requests


def test_json(http: Http) -> None:
    """JSON bodies arrive parsed; what is none is 400 and says where."""
    body = '{"a": [1, "\u00fc"]}'
    answer = http.post("/t/echo", body, headers={"content-type": "application/json"})
    assert answer.json()["json"] == {"a": [1, "\u00fc"]}
    assert answer.json()["type"] == "application/json"
    bad = http.post("/t/echo", '{"a": ]')
    assert bad.status == 400
    assert "line 1 column 7" in bad.json()["Message"]
    assert http.post("/t/echo").status == 400


def test_query(http: Http) -> None:
    """Query arguments are decoded once."""
    answer = http.get("/t/query?a=M%C3%BCller+J&b&c=%2525&%41=1")
    assert answer.json() == {"a": r"'M\xfcller J'", "b": "''", "c": "'%25'", "A": "'1'"}


def test_repeated(http: Http) -> None:
    """Of a repeated query name all values arrive, the last one counts; of a header the first."""
    answer = http.get("/t/repeated?a=1&b=2&a=%2B", headers=[("X-Mine", "1"), ("x-mine", "2")])
    assert answer.json() == {"last": "+", "all": ["1", "+"], "x": "1"}


# Answers


@either
def test_values(http: Http, kind: str) -> None:
    """What a handler returns decides body and media type, in both kinds of handlers."""
    answer = http.get(f"/t/{kind}/dict")
    assert answer.json() == {"text": "gr\u00fc\u00df", "list": [1, None, True]}
    assert answer.headers["Content-Type"] == "application/json"
    assert http.get(f"/t/{kind}/list").json() == [1, "two"]
    answer = http.get(f"/t/{kind}/str")
    assert answer.text == "gr\u00fc\u00df"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    answer = http.get(f"/t/{kind}/bytes")
    assert (answer.body, answer.headers["Content-Type"]) == (
        b"\x00\xff",
        "application/octet-stream",
    )
    answer = http.get(f"/t/{kind}/none")
    assert (answer.status, answer.body) == (204, b"")
    answer = http.get(f"/t/{kind}/empty")
    assert (answer.status, answer.body) == (200, b"")
    assert http.get(f"/t/{kind}/surrogates").body == b"\xff"


@either
def test_responses(http: Http, kind: str) -> None:
    """A Response carries status, headers, cookies and media type."""
    answer = http.get(f"/t/{kind}/response")
    assert (answer.status, answer.json()) == (201, {"made": True})
    assert answer.headers["X-One"] == "1"
    assert answer.headers["Set-Cookie"].startswith("session=abc")
    assert answer.headers["Content-Type"] == "application/json"
    answer = http.get(f"/t/{kind}/media")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert http.get(f"/t/{kind}/not-modified").status == 304
    cookie = http.get(f"/t/{kind}/cookie").headers["Set-Cookie"]
    assert cookie == "a=1; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"


@either
@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("teapot", 409, "already there"),
        ("group", 404, "in a group"),
        ("unserialisable", 500, "complex is no JSON type"),
        ("nan", 500, "not JSON compliant"),
        ("nonsense", 500, "builtins.object"),
        ("raises", 500, "LookupError"),
    ],
)
def test_errors(server: Orthanc, kind: str, path: str, status: int, message: str) -> None:
    """An error is short JSON with its status; the details of a bug are in the log only."""
    answer = server.http.get(f"/t/{kind}/{path}")
    body: dict[str, Any] = answer.json()
    assert (answer.status, body["HttpStatus"]) == (status, status)
    assert (body["Method"], body["Uri"]) == ("GET", f"/t/{kind}/{path}")
    assert message in body["Message"]
    assert "patient" not in answer.text
    if path == "teapot":
        assert answer.headers["X-Why"] == "me"
    if path == "raises":
        server.wait_log(r"LookupError: the name of a patient")


@either
def test_not_allowed(http: Http, kind: str) -> None:
    """A handler may refuse a method itself."""
    answer = http.get(f"/t/{kind}/not-allowed")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, PUT")


@pytest.mark.parametrize("path", ["/t/missing/nope", "/t/missing-plain/nope"])
def test_unknown_resource(http: Http, path: str) -> None:
    """An OrthancException that nobody catches has its HTTP status, and names the call."""
    answer = http.get(path)
    assert answer.status == 404
    assert "('/studies/nope')" in answer.json()["Message"]


def test_other_sdk_error(http: Http) -> None:
    """Another SDK error has its own status."""
    assert http.get("/t/bad-find").status == 400


@either
def test_parts(http: Http, kind: str) -> None:
    """Iterators are collected where Orthanc cannot stream; multipart answers go out in parts."""
    assert http.get(f"/t/{kind}/iterator").body == b"part 0;part 1;part 2;"
    answer = http.get(f"/t/{kind}/multipart")
    assert answer.headers["Content-Type"].startswith("multipart/mixed")
    assert answer.body.index(b"one") < answer.body.index(b"two")


def test_generators(http: Http) -> None:
    """A handler may be an asynchronous generator, or give its parts by one."""
    assert http.get("/t/generated").body == b"0;1;2;"
    assert http.get("/t/multipart-async").body.count(b"item ") == 3


def test_broken_parts(server: Orthanc) -> None:
    """A failure in the middle of an answer in parts is no success where Orthanc can tell it."""
    answer = server.http.get("/t/broken/iterator")
    if server.streams:  # the status is out with the first part
        assert (answer.status, answer.body) == (200, b"first")
    else:
        assert answer.status == 500
    assert server.http.get("/t/broken/multipart").status == 500
    server.wait_log("ValueError: in the middle", count=2)
    assert server.http.get("/t/several").status == 200


# Loops and threads


def test_run_coroutine(http: Http) -> None:
    """A plain handler runs a coroutine on the loop; on the loop itself that is an error."""
    assert http.get("/t/run-coroutine").json() == [
        True,
        "the coroutine did not end within 0.05 seconds",
    ]
    assert "write `await system(…)`" in http.get("/t/run-on-the-loop").text


def test_asyncio(http: Http) -> None:
    """What asyncio offers works with awaited SDK calls."""
    assert http.get("/t/asyncio").json() == {
        "gather": 1,
        "task": 0,
        "group": 3,
        "timeout": True,
        "wait": 1,
        "wait_for": True,
        "exception": ["OrthancException", "dict"],
        "thread": 0,
    }


def test_anyio(http: Http) -> None:
    """What anyio offers works too."""
    assert http.get("/t/anyio").json() == {
        "answers": 20,
        "moved on": True,
        "thread": 0,
        "back": True,
        "limited": 1,
        "failed after": True,
        "group": [17],
    }
    assert http.get("/t/end-forever").status == 204
