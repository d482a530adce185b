"""Filters and received instances in the official plugin's style, on both plugins."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compatibility.conftest import Pair, Starter
    from compatibility.known_failures import KnownFailures
    from integration.conftest import Orthanc

SCRIPT = Path(__file__).with_name("filters_script.py")
REFUSED = "Refused: OutOfResources"


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter) -> Pair:
    """Both plugins with the same script; ours first."""
    text = SCRIPT.read_text("utf-8")
    return ours(text, dicom_port=0), official(text, dicom_port=0)


def observed(server: Orthanc, file: Path, mode: dict[str, str]) -> dict[str, object]:
    """Send a file by HTTP and by C-STORE; return what senders and handlers have seen."""
    for instance in server.http.get("/instances").json():
        server.http.delete(f"/instances/{instance}")
    server.http.post("/mode", json.dumps(mode))
    seen: dict[str, object] = {}
    answer = server.http.post("/instances", file.read_bytes())
    seen["http"] = answer.status
    seen["answer"] = answer.json() if answer.status == 200 else None
    seen["stored by http"] = instances(server)
    command = ["storescu", "-v", "127.0.0.1", str(server.dicom_port), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    status = re.search(r"Received Store Response \((.*)\)", result.stdout + result.stderr)
    seen["c-store"] = status and status[1]
    seen["stored"] = instances(server)
    seen["handlers"] = server.http.get("/mode").json()
    return seen


def instances(server: Orthanc) -> list[tuple[str, bytes]]:
    """Return the stored instances and their files."""
    found = server.http.get("/instances").json()
    return [(name, server.http.get(f"/instances/{name}/file").body) for name in found]


ACTION = "orthanc.ReceivedInstanceAction."
MODES = {
    "keep": {},
    "keep, with bytes": {"received": f"({ACTION}KEEP_AS_IS, b'ignored')"},
    "numbers": {"received": "(1, None)"},
    "discard": {"received": f"({ACTION}DISCARD, None)"},
    "modify": {"received": f"({ACTION}MODIFY, receivedDicom.replace(b'MR', b'CT'))"},
    "modify to nothing": {"received": f"({ACTION}MODIFY, b'')"},
    "modify to no bytes": {"received": f"({ACTION}MODIFY, None)"},
    "status": {"c_store": "0xA700"},
    "other status": {"c_store": "0x0110"},
    "warning": {"c_store": "0xB000"},
    "False": {"c_store": "False"},
    "not a status": {"c_store": "None"},
    "too large": {"c_store": "0x10000"},
    "negative": {"c_store": "-1"},
    "raises": {"c_store": "1/0"},
}


@pytest.mark.parametrize("name", MODES)
def test_same(pair: Pair, dicom_file: Path, name: str) -> None:
    """Senders and handlers see the same, and the same is stored."""
    mine, other = (observed(server, dicom_file, MODES[name]) for server in pair)
    assert mine == other
    assert mine["handlers"]


@pytest.mark.parametrize("does", ["1/0", "None", "3", f"({ACTION}KEEP_AS_IS,)"])
def test_failure_does_not_let_through(
    pair: Pair, known: KnownFailures, dicom_file: Path, does: str
) -> None:
    """A handler of received instances that fails refuses, so that the sender sees it."""
    mine, other = (observed(server, dicom_file, {"received": does}) for server in pair)
    assert (mine["http"], mine["c-store"], mine["stored"]) == (500, REFUSED, [])
    if "failed handler lets through" in known:
        assert (other["http"], other["c-store"]) == (200, "Success")
        known.tell("failed handler lets through")
    assert mine == other


@pytest.mark.parametrize("does", ["True", "False", "1/0", "1", "None"])
def test_same_http(pair: Pair, does: str) -> None:
    """An HTTP filter sees the same request, and its answer has the same effect."""
    seen = []
    for server in pair:
        server.http.post("/mode", json.dumps({"http": does}))
        answer = server.http.get("/changes?limit=1&b", headers={"X-Mine": "A"})
        seen.append((answer.status, server.http.get("/mode").json()))
    assert seen[0] == seen[1]
    assert seen[0][0] == {"True": 200, "False": 403}.get(does, 500)


class Guard(BaseHTTPRequestHandler):
    """Says yes to friends only."""

    def do_GET(self) -> None:
        """Answer by the path."""
        self.send_response(200 if self.path == "/friend" else 403)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def guard() -> Iterator[str]:
    """The address of a web service that knows who may do what."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Guard) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("who", "status"), [("friend", 200), ("foe", 500)])
def test_authorization_by_a_service(pair: Pair, guard: str, who: str, status: int) -> None:
    """An HTTP filter asks another server; what that refuses, urllib raises, and it fails."""
    asks = f"urllib.request.urlopen('{guard}/' + request['headers']['x-mine'])"
    seen = []
    for server in pair:
        server.http.post("/mode", json.dumps({"http": f"{asks}.status == 200"}))
        answer = server.http.get("/changes?limit=1", headers={"X-Mine": who})
        seen.append((answer.status, server.http.get("/mode").json()))
    assert seen[0] == seen[1]
    assert seen[0][0] == status
