"""Streamed answers, from Orthanc 1.12.6 on; what takes their place before."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.conftest import build_version

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("streams_script.py")
EXPECTED_ERRORS = (
    r"\braised|\bfailed$",
    "Error encountered within the plugin engine|Error in the network protocol",
    "Plugin invoking unknown service: 201[45]",  # a newer SDK than Orthanc
)
both = pytest.mark.parametrize("kind", ["d", "a"])


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with all routes of this module."""
    return shared_orthanc(SCRIPT, errors=EXPECTED_ERRORS)


@both
def test_stream(server: Orthanc, kind: str) -> None:
    """Chunks arrive in order under a header of the handler's own; before 1.12.6 there are none."""
    answer = server.http.get(f"/{kind}/stream")
    if server.streams:
        assert (answer.status, answer.body) == (200, b"one;two;three")
        assert answer.headers["Content-Type"] == "text/plain"
        assert answer.headers["X-Kind"] == {"d": "plain", "a": "async"}[kind]
        assert answer.headers["Content-Length"] is None
    else:
        assert answer.status == 500
        server.wait_log("has no attribute '(Start|start_)|needs Orthanc 1.12.6 or newer")


def test_blocking_chunk(server: Orthanc) -> None:
    """The blocking form of a chunk raises on the loop, and names the awaited one."""
    answer = server.http.get("/a/blocking")
    if build_version() >= (1, 12, 6):
        assert "send_stream_chunk" in answer.text
    else:
        assert answer.status == 500


@both
def test_client_leaves(server: Orthanc, kind: str) -> None:
    """A client that leaves in the middle of a stream is an exception in the handler."""
    if not server.streams:
        assert server.http.get(f"/{kind}/endless").status == 500
        return
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as connection:
        connection.sendall(f"GET /{kind}/endless HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(1000)
    notes = server.wait_json("/notes", lambda found: any(note[0] == kind for note in found))
    (note,) = [note for note in notes if note[0] == kind]
    assert note.startswith(f"{kind} OrthancException")
    assert f"/{kind}/endless" in note


@both
def test_parts(server: Orthanc, kind: str) -> None:
    """An iterator is streamed, or collected where Orthanc cannot stream."""
    answer = server.http.get(f"/{kind}/parts")
    assert (answer.status, answer.body) == (200, b"one;two")
    assert (answer.headers["Content-Type"], answer.headers["X-A"]) == ("text/plain", "b")
    assert (answer.headers["Content-Length"] is None) == server.streams


def test_sent_at_once(server: Orthanc) -> None:
    """A part is at the client while the handler waits for the next one."""
    if not server.streams:
        server.http.get("/go-on")
        assert server.http.get("/slow").body == b"at oncelater"
        return
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
    connection.request("GET", "/slow")
    answer = connection.getresponse()
    assert answer.read(7) == b"at once"
    assert server.http.get("/go-on").status == 204
    assert answer.read() == b"later"
    connection.close()


@both
def test_breaks_off(server: Orthanc, kind: str) -> None:
    """A failure after the first part of a stream is in the log; one that is collected, a 500."""
    answer = server.http.get(f"/{kind}/broken")
    if server.streams:
        # Orthanc ends a stream by closing the connection, whether it is whole or not.
        assert (answer.status, answer.body) == (200, b"first")
    else:
        assert answer.status == 500
    server.wait_log("ValueError: in the middle")
    assert server.http.get(f"/{kind}/parts").status == 200
