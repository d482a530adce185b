"""Orthanc is killed again and again while it delivers; every study arrives, byte for byte.

The moments are random; $ORTHANC_ASYNC_SEED sets the seed, which is printed.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from orthanc_async._server_net import free_port
from pydicom.uid import generate_uid
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import os
    from orthanc_async import forward, on_stable_study

    archive = forward.to_http(
        os.environ["RECEIVER"],
        path="/{instance}",
        retry=forward.Retry(attempts=10, backoff=forward.Backoff(first=0.2, longest=2)),
    )
    on_stable_study(archive, durable="archive")
"""


class Receiver:
    """The web service in a process of its own, which can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it serves."""
        program = Path(__file__).parent / "file_receiver.py"
        self._process = subprocess.Popen([sys.executable, program, str(self.port), self.folder])
        wait_until(self._serves, "the receiver to serve")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _serves(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def files(self) -> dict[str, bytes]:
        """Return what it has got: the bytes by Orthanc's identifiers of the instances."""
        kept = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        return {path.name: path.read_bytes() for path in kept}


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """Give a receiver that runs."""
    one = Receiver(tmp_path / "received")
    one.start()
    yield one
    one.kill()


def make_studies(file: Path, studies: int, instances: int) -> list[list[bytes]]:
    """Make DICOM files of so many studies, each of so many instances, out of one file."""
    dataset = pydicom.dcmread(file)
    made = []
    for number in range(studies):
        dataset.PatientID = f"kill{number}"
        dataset.StudyInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = generate_uid()
        files = []
        for _ in range(instances):
            uid = generate_uid()
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
            stream = io.BytesIO()
            dataset.save_as(stream, enforce_file_format=True)
            files.append(stream.getvalue())
        made.append(files)
    return made


class Uploader(threading.Thread):
    """Stores the studies in an Orthanc that may be gone: each file until it is answered with 200.

    Attributes:
        stored: The bytes by Orthanc's identifiers of the instances.
    """

    def __init__(self, server: Orthanc, studies: Sequence[Sequence[bytes]], pause: float) -> None:
        super().__init__(daemon=True)
        self.stored: dict[str, bytes] = {}
        self.stopped = threading.Event()
        self._server = server
        self._studies = studies
        self._pause = pause

    def run(self) -> None:
        """Store one file after another."""
        for files in self._studies:
            for data in files:
                while not self.stopped.is_set() and not self._store(data):
                    self.stopped.wait(0.1)
            self.stopped.wait(self._pause)

    def _store(self, data: bytes) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self._server.http.post("/instances", data, timeout=10)
            if answer.status == 200:
                self.stored[answer.json()["ID"]] = data
                return True
        return False


def ended(server: Orthanc) -> dict[str, int]:
    """Return how many deliveries there are in each state."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer = server.http.get("/async/queues/archive")
        if answer.status == 200:
            counts: dict[str, int] = answer.json()["States"]
            return counts
    return {}


@pytest.mark.timeout(1500)
def test_killed_again_and_again(
    orthanc_server: OrthancFactory,
    receiver: Receiver,
    dicom_file: Path,
    *,
    long_form: bool,
) -> None:
    """Nothing is lost and nothing is dead-lettered, whenever Orthanc is killed."""
    kills, count = (50, 200) if long_form else (5, 20)
    seed = int(os.environ.get("ORTHANC_ASYNC_SEED") or random.randrange(1 << 32))
    print(f"ORTHANC_ASYNC_SEED={seed}")
    moments = random.Random(seed)
    studies = make_studies(dicom_file, count, 3)
    server = orthanc_server(
        SCRIPT,
        config={"StableAge": 1},
        environment={"RECEIVER": receiver.url},
        errors=[".*"],
        exit_code=None,
    )
    uploader = Uploader(server, studies, pause=kills * 1.5 / count)
    uploader.start()
    restarts = set(moments.sample(range(kills), 2))
    try:
        for kill in range(kills):
            time.sleep(moments.uniform(0.05, 3))
            server.kill()
            if kill in restarts:
                receiver.kill()
            server.start()
            if kill in restarts:
                receiver.start()
        uploader.join(120)
        assert not uploader.is_alive()
        wanted = uploader.stored
        assert len(wanted) == 3 * count
        wait_until(
            lambda: len(receiver.files()),
            "all files",
            done=lambda n: n >= len(wanted),
            timeout=180,
        )
    finally:
        uploader.stopped.set()
    assert receiver.files() == wanted
    states = wait_until(
        lambda: ended(server),
        "all deliveries to be marked as done",
        done=lambda found: found.get("running", 0) == found.get("waiting", 0) == 0,
        timeout=60,
    )
    # A study that was called stable before its last file was there is delivered again.
    assert states.get("dead", 0) == states.get("cancelled", 0) == 0
    assert states["done"] >= count
