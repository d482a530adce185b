"""Orthanc's HTTP client and bodies in chunks, against a real HTTP server and a second Orthanc."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("http_script.py")
ERRORS = ("HttpClient|NetworkProtocol|network protocol|http_script|Traceback|^E.*  File |Error",)
GET, POST, PUT, DELETE = 1, 2, 3, 4
BOTH = pytest.mark.parametrize("form", ["blocking", "awaited"])


class Remote:
    """An HTTP server in a thread, with what it has seen."""

    def __init__(self) -> None:
        self.chunks = 0
        self.received = 0
        self.broken = threading.Event()
        self.left = threading.Event()
        self.url = ""

    async def echo(self, request: web.Request) -> web.StreamResponse:
        """Answer with the method, a header and the body that came."""
        if request.headers.get("Transfer-Encoding") == "chunked":
            self.chunks += 1
        body = (await request.read()).decode()
        answer = {"method": request.method, "asked": request.headers.get("X-Asked"), "body": body}
        return web.json_response(answer, headers={"X-Answered": "yes"})

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Count what comes, also when it breaks off."""
        self.received = 0
        try:
            async for data in request.content.iter_any():
                self.received += len(data)
        except BaseException:  # also the cancellation when the client has gone
            self.broken.set()
            raise
        return web.Response(text=str(self.received))

    async def missing(self, request: web.Request) -> web.StreamResponse:
        """Answer 404 with a body."""
        await request.read()
        return web.Response(status=404, text="nothing here")

    async def endless(self, request: web.Request) -> web.StreamResponse:
        """Send chunks until the client goes."""
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(bytes(10_000))
                await asyncio.sleep(0)
        finally:
            self.left.set()

    async def large(self, _request: web.Request) -> web.StreamResponse:
        """Answer with 10 MB in chunks."""
        answer = web.StreamResponse()
        await answer.prepare(_request)
        for _ in range(100):
            await answer.write(bytes(100_000))
        return answer

    async def serve(self, ready: threading.Event, end: asyncio.Event) -> None:
        """Serve until the end."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/echo", self.echo)
        app.router.add_route("*", "/take", self.take)
        app.router.add_route("*", "/missing", self.missing)
        app.router.add_get("/endless", self.endless)
        app.router.add_get("/large", self.large)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = runner.addresses[0]
        self.url = f"http://127.0.0.1:{address[1]}"
        ready.set()
        await end.wait()
        await runner.cleanup()


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    """Run the HTTP server beside the tests."""
    server = Remote()
    loop = asyncio.new_event_loop()
    ready, end = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(ready, end),))
    thread.start()
    assert ready.wait(15)
    yield server
    loop.call_soon_threadsafe(end.set)
    thread.join(15)
    loop.close()


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc whose peer is another one with the same script."""
    peer = shared_orthanc(SCRIPT, errors=ERRORS)
    peers = {"other": [f"http://127.0.0.1:{peer.http_port}/"]}
    return shared_orthanc(SCRIPT, errors=ERRORS, config={"OrthancPeers": peers})


def ask(server: Orthanc, path: str, **fields: Any) -> Any:
    """POST fields to a route of the script; return its JSON."""
    answer = server.http.post(path, json.dumps(fields))
    assert answer.status == 200, answer.text
    return answer.json()


@BOTH
@pytest.mark.parametrize(
    ("method", "name"), [(GET, "GET"), (POST, "POST"), (PUT, "PUT"), (DELETE, "DELETE")]
)
def test_http_client(server: Orthanc, remote: Remote, form: str, method: int, name: str) -> None:
    """HttpClient gives status, headers and body, and sends what it is given."""
    body = "sent" if method in {POST, PUT} else ""
    answer = ask(
        server, "/http-client", form=form, method=method, url=f"{remote.url}/echo", body=body
    )
    assert answer["status"] == 200
    assert {key.lower(): value for key, value in answer["headers"].items()}["x-answered"] == "yes"
    if method == DELETE and not answer["body"]:  # Orthanc 1.10.1 drops it
        return
    assert json.loads(answer["body"]) == {"method": name, "asked": "yes", "body": body}


def is_missing(answer: dict[str, Any]) -> bool:
    """Whether this is a 404: Orthanc 1.10.1's client makes an error of it."""
    return answer.get("status") == 404 or "Unknown resource (17)" in answer["error"]


@BOTH
def test_http_client_fails(server: Orthanc, remote: Remote, form: str) -> None:
    """A status of failure, and no server at all."""
    answer = ask(server, "/http-client", form=form, method=GET, url=f"{remote.url}/missing")
    assert is_missing(answer), answer
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        answer = ask(server, "/http-client", form=form, method=GET, url=url)
    assert answer["error"].startswith("OrthancException"), answer


@BOTH
def test_call_rest_api(server: Orthanc, form: str) -> None:
    """CallRestApi gives status, headers and body, of Orthanc's own API and of plugins' routes."""
    answer = ask(server, "/call-rest-api", form=form, method=GET, url="/system", after=0)
    assert answer["status"] == 200
    assert "Version" in json.loads(answer["body"])
    answer = ask(
        server, "/call-rest-api", form=form, method=POST, url="/mirror", body="sent", after=1
    )
    assert json.loads(answer["body"]) == {"method": "POST", "asked": "yes", "body": "sent"}
    answer = ask(server, "/call-rest-api", form=form, method=GET, url="/nowhere", after=0)
    assert answer["status"] == 404


@BOTH
def test_rest_api_get2(server: Orthanc, form: str) -> None:
    """RestApiGet2 hands its headers on."""
    assert ask(server, "/rest-api-get2", form=form) == {"method": "GET", "asked": "yes"}


@BOTH
def test_call_peer_api(server: Orthanc, form: str) -> None:
    """CallPeerApi gives status, headers and body of another Orthanc."""
    answer = ask(server, "/call-peer", form=form, method=POST, url="/mirror", body="sent")
    assert answer["status"] == 200
    assert json.loads(answer["body"]) == {"method": "POST", "asked": "yes", "body": "sent"}
    answer = ask(server, "/call-peer", form=form, method=GET, url="/nowhere")
    assert is_missing(answer), answer


@BOTH
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("text", "whole"),
        ("bytes", "whole"),
        ("list", "abc"),
        ("generator", "part 0;part 1;part 2;part 3;part 4;"),
        ("async", "part 0;part 1;part 2;part 3;part 4;"),
        ("empty", ""),
    ],
)
def test_chunked_body(server: Orthanc, remote: Remote, form: str, body: str, text: str) -> None:
    """The body of a request in chunks is a buffer, an iterable or an async iterable."""
    before = remote.chunks
    answer = ask(server, "/chunked-client", form=form, url=f"{remote.url}/echo", body=body)
    assert answer.get("status") == 200, answer
    assert json.loads(answer["body"]) == {"method": "POST", "asked": "yes", "body": text}
    assert "x-answered" in [name.lower() for name in answer["headers"]]
    assert remote.chunks == before + 1


@BOTH
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_chunked_answer(server: Orthanc, remote: Remote, form: str, kind: str) -> None:
    """Each chunk of an answer is handed to a function, `def` or `async def`."""
    answer = ask(
        server, "/chunked-client", form=form, method=GET, url=f"{remote.url}/large", answer=kind
    )
    assert (answer["status"], answer["chunks"], answer["body"]) == (200, 10_000_000, "")


@BOTH
def test_chunked_large(server: Orthanc, remote: Remote, form: str) -> None:
    """Ten megabytes go out whole."""
    answer = ask(server, "/chunked-client", form=form, url=f"{remote.url}/take", body="large")
    assert answer["body"] == "10000000"


@BOTH
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("fails", "ValueError: no more body"),
        ("fails-async", "ValueError: no more async body"),
        ("numbers", "TypeError: body must be bytes, text"),
        ("number", "TypeError: body must be bytes, text"),
    ],
)
def test_chunked_body_fails(
    server: Orthanc, remote: Remote, form: str, body: str, text: str
) -> None:
    """What the body raises is raised; the other side never takes the begun body for whole."""
    remote.broken.clear()
    answer = ask(server, "/chunked-client", form=form, url=f"{remote.url}/take", body=body)
    assert answer["error"].startswith(text), answer
    if body.startswith("fails"):
        assert remote.broken.wait(15)


@BOTH
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("fails", "ValueError: enough, plain"),
        ("fails-async", "ValueError: enough"),
        ("number", "TypeError: answer must be a function"),
    ],
)
def test_chunked_answer_fails(
    server: Orthanc, remote: Remote, form: str, kind: str, text: str
) -> None:
    """What the function for the answer raises is raised, and the transfer is broken off."""
    remote.left.clear()
    answer = ask(
        server, "/chunked-client", form=form, method=GET, url=f"{remote.url}/endless", answer=kind
    )
    assert answer["error"].startswith(text), answer
    if kind != "number":
        assert remote.left.wait(15)


def test_chunked_cancelled(server: Orthanc, remote: Remote) -> None:
    """When who awaits a transfer is cancelled, it is broken off."""
    remote.left.clear()
    assert ask(server, "/cancelled-client", url=f"{remote.url}/endless") == {"cancelled": True}
    assert remote.left.wait(15)


@BOTH
def test_chunked_fails(server: Orthanc, remote: Remote, form: str) -> None:
    """A status of failure is told; no server raises."""
    answer = ask(server, "/chunked-client", form=form, url=f"{remote.url}/missing", body="text")
    assert is_missing(answer), answer
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        answer = ask(server, "/chunked-client", form=form, url=url, body="text")
    assert answer["error"].startswith("OrthancException"), answer


def send(server: Orthanc, path: str, method: str, chunks: int, *, end: bool = True) -> str:
    """Send a body in chunks over a socket; return the answer's last line."""
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=30) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n")
        for _ in range(chunks):
            connection.sendall(b"%x\r\n" % 50_000 + bytes(50_000) + b"\r\n")
        if not end:
            return ""
        connection.sendall(b"0\r\n\r\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer.decode().rpartition("\n")[2]


@pytest.mark.parametrize("kind", ["async", "plain"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_receive(server: Orthanc, kind: str, method: str) -> None:
    """A body in chunks, or with its length, reaches the handler chunk by chunk."""
    path = f"/receive-{kind}/x"
    assert send(server, path, method, 40) == f"{kind} {method} 2000000"
    if kind == "async":
        seen = server.http.get(path).json()["chunks"]
        assert len(seen) > 1
        assert sum(seen) == 2_000_000
    answer = server.http.request(method, path, bytes(300_000))
    assert answer.text == f"{kind} {method} 300000"
    assert server.http.request(method, path, b"").text == f"{kind} {method} 0"


def test_receive_other_methods(server: Orthanc) -> None:
    """GET and DELETE reach the same handler, without a body."""
    assert server.http.get("/receive-async/x").status == 200
    assert server.http.delete("/receive-async/x").status == 200


@pytest.mark.parametrize("kind", ["async", "plain"])
def test_receive_broken(server: Orthanc, kind: str) -> None:
    """When the client goes, reading raises ConnectionError."""
    before = server.http.get("/receive-async/x").json()["broken"]
    send(server, f"/receive-{kind}/x", "POST", 3, end=False)
    seen = server.wait_json("/receive-async/x", lambda value: len(value["broken"]) > len(before))
    assert seen["broken"][-1] == (
        f"{kind} the client has gone before the request's body was whole"
    )


def test_receive_unread(server: Orthanc) -> None:
    """A handler may answer without reading, or raise: the rest of the body is thrown away."""
    assert send(server, "/receive-async/early", "POST", 40) == "unread"
    answer = server.http.post("/receive-async/raises", bytes(3_000_000))
    assert answer.status == 500
    assert "ValueError" in answer.text


def test_decorators(server: Orthanc) -> None:
    """`chunked=True` gives `request.chunks`; other methods of the path have their whole body."""
    answer = server.http.put("/take/x", bytes(200_000)).json()
    assert (answer["name"], answer["size"]) == ("x", 200_000)
    assert "comes in chunks" in answer["body"]
    assert server.http.post("/take/x", bytes(200_000)).json() == {"whole": 200_000}
    assert "does not come in chunks" in server.http.get("/take/x").text
    assert server.http.post("/take-plain", bytes(200_000)).json() == {"size": 200_000}
    assert server.http.put("/take-plain", bytes(200_000)).json() == {"whole": 200_000}
    assert server.http.delete("/take/x").status == 405


def test_decorators_refuse(server: Orthanc) -> None:
    """Where Orthanc cannot hand chunks over, the declaration says so."""
    first, mounted = server.http.get("/refused").json()
    assert "declare it before the path's other handlers" in first
    assert "choose a path outside /mounted" in mounted
