"""ORTHANC_STARTED, ORTHANC_STOPPED and what scripts run between them, on both plugins."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pynetdicom
import pytest
from orthanc_async._server import ServerError

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter
    from compatibility.known_failures import KnownFailures
    from integration.conftest import Orthanc

SCRIPT = Path(__file__).with_name("ends_script.py")
USER = {"Authorization": "Basic bWU6c2VjcmV0"}  # me:secret


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both plugins with the same script, and pynetdicom at hand; ours first."""
    extra = tmp_path_factory.mktemp("extra")
    for package in (pydicom, pynetdicom):
        folder = Path(str(package.__file__)).parent
        for part in folder, *folder.parent.glob(f"{folder.name}-*.dist-info"):
            (extra / part.name).symlink_to(part)
    text = SCRIPT.read_text("utf-8")
    settings: dict[str, Any] = {
        "config": {"AuthenticationEnabled": True, "RegisteredUsers": {"me": "secret"}},
        "environment": {"PYTHONPATH": str(extra), "PYTHONUNBUFFERED": "1"},
    }
    return ours(text, **settings), official(text, **settings)


def folder_of(server: Orthanc) -> Path:
    """Give the working directory of a running Orthanc."""
    return Path(f"/proc/{server.pid}/cwd").readlink()


def wait_for(file: Path) -> str:
    """Give the text of a file that the script writes."""
    deadline = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline, f"{file.name} has not been written"
        time.sleep(0.02)
    return file.read_text("utf-8")


def test_started(pair: Pair) -> None:
    """In ORTHANC_STARTED REST and HTTP with the authorization token work."""
    mine, other = (json.loads(wait_for(folder_of(server) / "started.json")) for server in pair)
    for found in (mine, other):
        assert (found["level"], found["resource"], found["thread"]) == (4, "", "_DummyThread")
        assert found["rest"]
        assert found["http"] == [200, 200, 401]
        assert found["post"] == []
        assert found["worker"]


def test_own_dicom_server(pair: Pair, dicom_file: Path) -> None:
    """A pynetdicom server that ORTHANC_STARTED started answers and stores into Orthanc."""
    for server in pair:
        port = wait_for(folder_of(server) / "port")
        subprocess.run(["echoscu", "127.0.0.1", port], check=True, timeout=30)
        subprocess.run(["storescu", "127.0.0.1", port, dicom_file], check=True, timeout=30)
        assert len(server.http.get("/instances", headers=USER).json()) == 1


def test_threads(pair: Pair) -> None:
    """Threads and timers use the SDK, print and log while Orthanc runs."""
    for server in pair:
        server.wait_log("logged about start")
        server.wait_log("worked on start")


def test_stopped(pair: Pair, known: KnownFailures) -> None:
    """Orthanc waits for ORTHANC_STOPPED, where HTTP still works and threads are joined.

    What is left over, an endless thread of a callback among it, keeps nothing from ending.
    """
    found = []
    for server in pair:
        wait_for(folder_of(server) / "started.json")
        folder = folder_of(server)
        server.stop()
        found.append(json.loads((folder / "stopped.json").read_text("utf-8")))
        assert server.processes() == []
    mine, other = found
    assert (mine["level"], mine["resource"], mine["thread"]) == (4, "", "_DummyThread")
    assert mine["http"] == [200, 200, 401]
    assert mine["done"] == [["start", True], ["stop", True]]
    assert mine["rest"]
    assert mine["ticked"]
    assert not mine["worker"]
    assert mine == other
    assert pair[0].exit_code == 0
    assert pair[1].exit_code == 0


def end_of(server: Orthanc) -> int | None:
    """Stop an Orthanc; give its exit code, or None when it has to be killed."""
    try:
        return server.stop()
    except ServerError:
        return None


INSIDE_A_JOB = """
import json
import orthanc

def change(change_type, level, resource):
    if change_type == orthanc.ChangeType.NEW_STUDY:
        orthanc.RestApiPost("/modalities/deaf/store", json.dumps({"Resources": [resource]}))

orthanc.RegisterOnChangeCallback(change)
"""


def test_stop_inside_a_job(
    ours: Starter, official: Starter, known: KnownFailures, dicom_file: Path
) -> None:
    """A change handler that waits for a job does not keep Orthanc from ending."""
    fails = "stop inside a job" in known
    for start, ends in (ours, True), (official, not fails):
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            modality = ["DEAF", "127.0.0.1", deaf.getsockname()[1]]
            config = {"DicomModalities": {"deaf": modality}, "DicomScuTimeout": 1}
            server = start(INSIDE_A_JOB, config=config, stop_timeout=20 if ends else 6)
            server.upload(dicom_file)
            deaf.settimeout(20)
            connection, _ = deaf.accept()
            with connection:  # the job gives up after a second
                code = end_of(server)
                assert not ends or code == 0
    if fails:
        known.tell("stop inside a job")
