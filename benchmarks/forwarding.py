"""Send a study of 1 GB by a destination of ours, and by curl, to the same receiver.

One receiver is another Orthanc, whose DICOMweb plugin stores what it gets; the other only reads.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import data, servers
from benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTANCES = 2000
SIDE = 512  # 0.5 MB a file
BOUNDARY = "a-boundary-of-the-benchmark"
CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
CURL_DEADLINE = 120
RECEIVERS = {"forward": "dicomweb", "forward-only": "reader"}  # by the rows' names
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
READER = Path(__file__).parent / "scripts" / "reader.py"


class Bench:
    """A server that holds the study, the same study as a body in a file, and the receivers."""

    def __init__(
        self, server: servers.Server, dicomweb: servers.Server, study: str, body: Path, port: int
    ) -> None:
        self._server = server
        self._dicomweb = dicomweb
        self._study = study
        self._body = body
        self._urls = {
            "dicomweb": dicomweb.url("/dicom-web"),
            "reader": f"http://127.0.0.1:{port}",
        }

    def ours(self, receiver: str) -> tuple[float, float]:
        """Send it by ours; return the seconds and the memory that Orthanc took more, in MB."""
        self._server.reset_peak()
        before = self._server.memory("VmRSS")
        question = json.dumps({"study": self._study, "url": self._urls[receiver]}).encode()
        seconds = float(self._server.json("POST", "/bench/forward", question)["seconds"])
        memory = self._server.memory("VmHWM") - before
        self._check(receiver)
        return seconds, memory

    def curl(self, receiver: str) -> float:
        """Send the body by curl; return the seconds."""
        seconds = self._curl(f"{self._urls[receiver]}/studies")
        self._check(receiver)
        return seconds

    def _check(self, receiver: str) -> None:
        """See that the other Orthanc has all of it, and empty it."""
        if receiver != "dicomweb":
            return
        counted = self._dicomweb.json("GET", "/statistics")["CountInstances"]
        if counted != INSTANCES:
            raise BenchmarkError(f"the receiver has {counted} of {INSTANCES} instances")
        self._dicomweb.request("DELETE", f"/studies/{self._study}")

    def _curl(self, url: str) -> float:
        command = ["curl", "--silent", "--show-error", "--fail", "--request", "POST"]
        command += ["--header", f"Content-Type: {CONTENT_TYPE}", "--header", "Expect:"]
        command += ["--upload-file", str(self._body), url]
        start = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=CURL_DEADLINE
        )
        if done.returncode:
            raise BenchmarkError(f"curl failed: {done.stderr}")
        return time.monotonic() - start


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Start everything and store the study."""
    if shutil.which("curl") is None:
        raise BenchmarkError("curl is missing: `apt-get install curl`")
    if not DICOMWEB.is_file():
        raise BenchmarkError(f"{DICOMWEB} is missing: `apt-get install orthanc-dicomweb`")
    server = servers.Server(servers.ours("forward.py"), folder / "ours")
    dicomweb = servers.Server(servers.Contender("dicomweb", DICOMWEB), folder / "dicomweb")
    with servers.running(server), servers.running(dicomweb), _reader() as port:
        body = folder / "body"
        with body.open("wb") as written:

            def files() -> Iterator[bytes]:
                for file in data.files("forward", instances=INSTANCES, side=SIDE):
                    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n"
                    written.write(head.encode() + file + b"\r\n")
                    yield file
                written.write(f"--{BOUNDARY}--\r\n".encode())

            study, _ = data.upload(server, files())
        yield Bench(server, dicomweb, study, body, port)


@contextlib.contextmanager
def _reader() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, str(READER)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"(\d+)\n", line)
        if found is None:
            raise BenchmarkError(f"{READER} did not start")
        port = int(found[1])
        socket.create_connection(("127.0.0.1", port), 5).close()
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
