"""Raw routes, `def` and `async def` alike: what a handler gets, and all its ways to answer."""

from __future__ import annotations

import hashlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from integration.conftest import Answer, Http, Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("rest_output_script.py")
EXPECTED_ERRORS = (
    r"\braised|has ended without an answer",
    # Orthanc's own lines: a failed look-up, a client that has left, a header
    # after the answer.
    "does not send status|Parameter out of range|Error encountered within the plugin engine",
    "Unknown DICOM tag|Error in the network protocol|Bad sequence of calls",
)
both = pytest.mark.parametrize("kind", ["d", "a"])


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with all routes of this module."""
    return shared_orthanc(SCRIPT, errors=EXPECTED_ERRORS)


@pytest.fixture
def http(server: Orthanc) -> Http:
    """A client of it."""
    return server.http


def fields(answer: Answer) -> dict[str, Any]:
    """Return what the route /echo has seen."""
    assert answer.status == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def error_of(answer: Answer, status: int, uri: str) -> str:
    """Check the form of an error answer; return its message."""
    assert answer.status == status
    # Orthanc 1.12.7 puts a text/plain of its own beside it, in this order or the other.
    types = set(answer.headers.get_all("Content-Type", []))
    assert {"application/json"} <= types <= {"application/json", "text/plain"}
    body = answer.json()
    assert (body["HttpStatus"], body["Uri"], body["Method"]) == (status, uri, "GET")
    assert set(body) == {"HttpError", "HttpStatus", "Message", "Method", "Uri"}
    return str(body["Message"])


# What a handler gets


@both
def test_get(server: Orthanc, http: Http, kind: str) -> None:
    """GET: the last of equal query names counts, one without value is empty; no body."""
    seen = fields(http.get(f"/{kind}/echo?a=1&b&c=&a=2&d=M%C3%BCller+J"))
    assert seen["fields"] == ["get", "groups", "headers", "method"]
    assert (seen["method"], seen["uri"]) == ("GET", repr(f"/{kind}/echo"))
    assert seen["groups"] == ["tuple"]
    # Orthanc 1.13 decodes the query; before, it is handed over as it comes.
    name = "M\u00fcller J" if server.version >= (1, 13) else "M%C3%BCller+J"
    expected = {"a": "2", "b": "", "c": "", "d": name}
    assert seen["get"] == ascii(expected)
    assert fields(http.get(f"/{kind}/echo"))["get"] == "{}"


@both
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_body(http: Http, kind: str, method: str) -> None:
    """POST and PUT: the body as bytes, also an empty one; no query."""
    seen = fields(http.request(method, f"/{kind}/echo?a=1", b"\x00\xff"))
    assert seen["fields"] == ["body", "groups", "headers", "method"]
    assert (seen["method"], seen["body"]) == (method, r"b'\x00\xff'")
    assert fields(http.request(method, f"/{kind}/echo", b""))["body"] == "b''"


@both
def test_delete(http: Http, kind: str) -> None:
    """DELETE: neither query nor body."""
    assert fields(http.delete(f"/{kind}/echo?a=1"))["fields"] == ["groups", "headers", "method"]


@both
def test_groups(http: Http, kind: str) -> None:
    """The groups of the pattern come decoded, as a tuple of texts."""
    seen = fields(http.get(f"/{kind}/echo/a%20b/x/c/d"))
    assert seen["groups"] == ["tuple", ["str", "'a b'"], ["str", "'c/d'"]]
    assert seen["uri"] == repr(f"/{kind}/echo/a b/x/c/d")


@both
def test_headers(http: Http, kind: str) -> None:
    """Header names come in lower case; of a repeated one Orthanc keeps the first."""
    seen = fields(http.get(f"/{kind}/echo", headers=[("X-Mine", "A b"), ("x-mine", "2")]))
    assert seen["lower"]
    assert seen["headers"] == "{'x-mine': 'A b'}"


@both
def test_not_utf8(server: Orthanc, http: Http, kind: str) -> None:
    """Bytes that are not UTF-8 become surrogates; raw ones in the path Orthanc refuses."""
    assert r"\udcff\udcfe" in fields(http.get(f"/{kind}/echo/%FF%FE/x/y"))["uri"]
    seen = fields(http.get(f"/{kind}/echo", headers={"X-Mine": b"\xff\xfe"}))
    assert seen["headers"] == r"{'x-mine': '\udcff\udcfe'}"
    decoded = ascii({"a": "\udcff" if server.version >= (1, 13) else "%FF"})
    assert fields(http.get(f"/{kind}/echo?a=%FF"))["get"] == decoded
    assert http.get(b"/%s/echo/\xff/x/" % kind.encode()).status == 400
    assert http.get(b"/%s/echo?a=\xff" % kind.encode()).status == 400


@both
def test_nul(server: Orthanc, http: Http, kind: str) -> None:
    """A NUL ends the path, as Orthanc hands C strings over, and what is decoded of the query."""
    assert fields(http.get(f"/{kind}/echo%00/x"))["uri"] == repr(f"/{kind}/echo")
    decoded = ascii({"a": "b" if server.version >= (1, 13) else "b%00c"})
    assert fields(http.get(f"/{kind}/echo?a=b%00c"))["get"] == decoded


@both
def test_hand_on(http: Http, kind: str) -> None:
    """What is not UTF-8 can be handed on to an SDK function, which gets the same bytes."""
    path = http.get(f"/{kind}/hand_on/%FF/x/y?part=path").json()
    header = http.get(f"/{kind}/hand_on?part=header", headers={"X-Mine": b"\xff"}).json()
    for seen in (path, header):
        assert seen[:2] == ["NoneType", "str"]
        assert seen[2].startswith("_UnknownTagError: (27, \"LookupDictionary('")
        assert r"\xff" in seen[2]
    answer = http.get(f"/{kind}/rest-api/%FFx")
    assert answer.body.startswith(b"17 "), answer.body
    assert rb"/instances/\xffx" in answer.body


@both
def test_big_body(http: Http, kind: str) -> None:
    """A body of 200 MB arrives whole."""
    body = os.urandom(1 << 20) * 200
    answer = http.post(f"/{kind}/big", body)
    assert answer.json() == ["bytes", len(body), hashlib.sha256(body).hexdigest()]


@both
def test_bodies_at_once(http: Http, kind: str) -> None:
    """Bodies of many requests at once do not mix."""
    bodies = [bytes([number]) * (number * 1000 + 1) for number in range(100)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda body: http.post(f"/{kind}/mirror", body), bodies))
    assert [answer.body for answer in answers] == bodies


# How it answers


@both
def test_answers(server: Orthanc, http: Http, kind: str) -> None:
    """Every plain method of RestOutput has its effect."""
    answer = http.get(f"/{kind}/text")
    assert (answer.text, answer.headers["Content-Type"]) == ("gr\u00fc\u00df", "text/plain")
    assert http.get(f"/{kind}/buffers?as=view").body == b"abc"
    assert http.get(f"/{kind}/buffers?as=array").body == b"abc"
    answer = http.get(f"/{kind}/headers")
    assert (answer.headers["X-One"], answer.headers["Set-Cookie"]) == ("1", "session=abc")
    assert answer.headers["X-Two"].encode("latin-1").decode() == "gr\u00fc\u00df"
    answer = http.get(f"/{kind}/redirect")
    moved = 307 if server.version >= (1, 12, 7) else 301  # Orthanc's own choice
    assert (answer.status, answer.headers["Location"]) == (moved, "../elsewhere")
    answer = http.get(f"/{kind}/unauthorized")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="my realm"')
    answer = http.get(f"/{kind}/not_allowed")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,PUT")
    answer = http.get(f"/{kind}/own_names")
    assert (answer.text, answer.headers["X-One"]) == ("own", "1")
    assert http.get(f"/{kind}/details").status == 503


@both
@pytest.mark.parametrize(
    ("form", "status", "body"),
    [("2", 404, b"nothing"), ("3", 404, b"nothing"), ("code", 503, b"")],
)
def test_status(http: Http, kind: str, form: str, status: int, body: bytes) -> None:
    """SendHttpStatus takes two arguments or three; SendHttpStatusCode the status only."""
    answer = http.get(f"/{kind}/status?as={form}")
    assert (answer.status, answer.body) == (status, body)


@both
def test_images(http: Http, kind: str) -> None:
    """Images are compressed and sent."""
    assert http.get(f"/{kind}/png").body[1:4] == b"PNG"
    assert http.get(f"/{kind}/jpeg").body[:2] == b"\xff\xd8"


@both
def test_multipart(http: Http, kind: str) -> None:
    """Items of a multipart answer arrive in order, with their own headers."""
    answer = http.get(f"/{kind}/multipart")
    assert answer.headers["Content-Type"].startswith("multipart/related")
    places = [
        answer.body.index(word) for word in (b"one", b"two", b"three", b"X-Part: 4", b"four")
    ]
    assert places == sorted(places)


def test_blocking_item(http: Http) -> None:
    """The blocking form of an item raises on the loop, and names the awaited one."""
    assert "send_multipart_item" in http.get("/a/item-blocking").text


@both
def test_client_leaves(server: Orthanc, kind: str) -> None:
    """A client that leaves in the middle of a multipart answer is an exception in the handler."""
    connection = socket.create_connection(("127.0.0.1", server.http_port), 10)
    with connection:
        connection.sendall(f"GET /{kind}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(1000)
    word = {"d": "plain", "a": "async"}[kind]
    notes = server.wait_json(
        "/notes", lambda notes: any(note.startswith(f"{word} Orthanc") for note in notes)
    )
    note = next(note for note in notes if note.startswith(word))
    assert f"/{kind}/stream" in note
    assert server.http.get(f"/{kind}/text").status == 200


def test_works_on(server: Orthanc) -> None:
    """The client has its answer while the handler still works, in both kinds."""
    for kind in ("d", "a"):
        assert server.http.get(f"/{kind}/works-on").text == "at once"
    assert "plain True" not in server.http.get("/notes").json()
    server.http.get("/go-on")
    server.wait_json("/notes", lambda notes: {"plain True", "async True"} <= set(notes))


@both
def test_answer_then_raise(server: Orthanc, kind: str) -> None:
    """An exception after the answer changes nothing at the client, and is logged."""
    assert server.http.get(f"/{kind}/raises_later").text == "answered"
    server.wait_log(rf"raises_later_{kind} \(.*\), GET /{kind}/raises_later raised")


@both
def test_second_answer(server: Orthanc, kind: str) -> None:
    """A second answer is a warning that names the handler; with our own names it raises."""
    assert server.http.get(f"/{kind}/twice").text == "first"
    server.wait_log(rf"^W.*answered already \(.*twice_{kind} \(.*\), GET /{kind}/twice\)")
    assert server.http.get(f"/{kind}/twice_own").text == "first"
    server.wait_log(rf"twice_own_{kind} \(.*\), GET /{kind}/twice_own raised")
    server.wait_log(
        rf"RuntimeError: orthanc\.RestOutput\.send_http_status_code\(\) .*twice_own_{kind}"
    )
    assert server.http.get(f"/{kind}/header_later").text == "answered"


# Bad days


@both
@pytest.mark.parametrize(
    ("route", "words"),
    [
        ("raises", "ValueError"),
        ("exits", "SystemExit"),
        ("silent", "ended without an answer"),
        ("keyword", "TypeError"),
        ("wrong_type", "TypeError"),
        ("too_few", "TypeError"),
        ("bad_header", "ValueError"),
        ("wrong-arguments", "TypeError"),
        ("status?as=1", "TypeError"),
    ],
)
def test_failure(server: Orthanc, kind: str, route: str, words: str) -> None:
    """A handler that fails before its answer is a short 500, and the next request is served."""
    path = f"/{kind}/{route}"
    message = error_of(server.http.get(path), 500, path.partition("?")[0])
    assert words in message
    assert "secret" not in message
    assert server.http.get(f"/{kind}/text").status == 200
    server.wait_log(rf"^E.*GET {path.partition('?')[0]} (raised|has ended without an answer)")


@both
@pytest.mark.parametrize("status", [0, 301, 405, 418, 999])
def test_unsendable_status(server: Orthanc, kind: str, status: int) -> None:
    """A status that Orthanc refuses is a short 500 instead of no answer, and names the handler."""
    for route in ("bad_status", "bad_status_code"):
        answer = server.http.get(f"/{kind}/{route}?s={status}")
        assert f"status {status} " in error_of(answer, 500, f"/{kind}/{route}")
        server.wait_log(rf"^E.*{route}_{kind} .*status {status} ")


@both
def test_broken_multipart(server: Orthanc, kind: str) -> None:
    """A multipart answer that breaks off is no success: the client must not take it for whole."""
    answer = server.http.get(f"/{kind}/broken-multipart")
    assert answer.status == 500
    assert b"first" not in answer.body
    server.wait_log(r"ValueError: in the middle")


@both
def test_traceback(server: Orthanc, kind: str) -> None:
    """The traceback is in the log whole, with its cause and the lines of the script."""
    server.http.get(f"/{kind}/raises")
    server.wait_log(
        r"KeyError: 'inner'\n(.*\n)*.*During handling of the above exception(.*\n)*"
        r".*script\.py\", line \d+, in raises\n(.*\n)*.*ValueError: a secret of the patient"
    )


@both
def test_kept_output(server: Orthanc, kind: str) -> None:
    """An output that a script has kept raises after its call, and names that call."""
    server.http.get(f"/{kind}/keep")
    seen = server.http.get(f"/{kind}/use_kept").json()
    assert f"keep_{kind} (route /{kind}/keep), GET /{kind}/keep" in seen[0]
    for text in seen[1:]:
        assert text.startswith("RuntimeError: ")
        assert f"keep_{kind} (route /{kind}/keep), GET /{kind}/keep" in text
    assert "has ended" in server.http.get(f"/{kind}/kept-item").text


def test_concurrent_failures(server: Orthanc) -> None:
    """Failing and working handlers at once do not disturb each other."""
    routes = ["raises", "text", "silent", "png", "twice", "keep", "use_kept", "exits"]
    paths = [f"/{kind}/{route}" for route in routes for kind in "da"] * 8
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(server.http.get, paths))
    for path, answer in zip(paths, answers, strict=True):
        assert answer.status == (500 if path[3:] in ("raises", "silent", "exits") else 200), path
    assert server.http.get("/system").json()["ApiVersion"]
