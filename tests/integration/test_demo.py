"""The examples and the demo, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async._server_net import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).absolute().parents[2]
EXAMPLES = ROOT / "examples"
DEMO = ROOT / "scripts" / "_demo.py"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Run examples/receiver.py; give its address and its folder."""
    folder = tmp_path / "received"
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "receiver.py", "--port", "0", "--folder", folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[2], folder
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_hello(orthanc_server: Any) -> None:
    """The README's script answers."""
    server = orthanc_server(EXAMPLES / "hello.py")
    assert server.http.get("/hello/world").json() == {"message": "Hello, world"}


def test_forward_example(
    orthanc_server: Any, receiver: tuple[str, Path], dicom_files: list[Path]
) -> None:
    """A stable study arrives at the receiver whole, byte for byte, with its summary."""
    url, folder = receiver
    server = orthanc_server(
        EXAMPLES / "forward_stable_studies.py",
        config={"StableAge": 1},
        environment={"FORWARD_URL": url},
        verbose=True,  # an INFO line is awaited below
    )
    assert server.http.get("/forward/status").json() == {"to": url, "studies": {}}
    sent = {server.upload(file)["ID"]: file.read_bytes() for file in dicom_files}
    server.wait_log(r"Study \S+: 11 files forwarded")
    ((study, state),) = server.http.get("/forward/status").json()["studies"].items()
    assert state == {"state": "forwarded", "sent": 11, "files": 11}
    stored = {file.stem: file.read_bytes() for file in (folder / study).glob("*.dcm")}
    assert stored == sent
    summary = json.loads((folder / study / "summary.json").read_bytes())
    assert summary["study"] == study
    assert summary["patient"]["PatientName"] == "Doe^Peter"
    assert summary["bytes"] == sum(map(len, sent.values()))
    assert sorted(summary["instances"]) == sorted(sent)


def test_forward_example_without_its_service(orthanc_server: Any, dicom_file: Path) -> None:
    """When the service cannot be reached, the status says so and the log holds the reason."""
    server = orthanc_server(
        EXAMPLES / "forward_stable_studies.py",
        config={"StableAge": 1},
        environment={"FORWARD_URL": f"http://127.0.0.1:{free_port()}"},
        errors=[".*"],
    )
    server.upload(dicom_file)
    server.wait_log(r"nobody listens there")
    (state,) = server.http.get("/forward/status").json()["studies"].values()
    assert state["state"] == "failed"


def test_receiver_refuses_other_names(receiver: tuple[str, Path]) -> None:
    """What is no identifier of Orthanc never becomes a file's name."""
    url, folder = receiver
    for path in ("/studies/x/summary", "/studies/..%2F..%2Fx/instances/y"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url + path, data=b"x", timeout=20)
        assert caught.value.code == 400
        caught.value.close()
    assert not folder.exists()


def test_demo_once(tmp_path: Path) -> None:
    """`--once` exits with 0 after a delivery that a kill of Orthanc has cut off."""
    answer = subprocess.run(
        [sys.executable, DEMO, "--once"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stderr == ""
    lines = answer.stdout.splitlines()
    assert all(re.match(r" *\d+\.\d\d s  \S", line) for line in lines), answer.stdout
    steps = (
        r"Orthanc \(process (?P<first>\d+)\) serves",
        r"11 DICOM files uploaded",
        r"kill -9 (?P=first): \d+ of 11 files had arrived",
        r"Orthanc \(process (?!(?P=first)\))\d+\) is started again",
        r"GET /async/entries answers in \S+ ms meanwhile",
        r"GET /async/entries/\d+: \S+ is done, interruptions: 1",
        r"the receiver's 11 files \(\d+ bytes\) are those in Orthanc, byte for byte",
        r"shown on http://127\.0\.0\.1:\d+/async/app/",
    )
    assert re.search(".*?".join(steps), answer.stdout, re.DOTALL), answer.stdout


def test_demo_without_a_delivery(tmp_path: Path) -> None:
    """When nothing arrives at the receiver, the demo ends with 1 and says so."""
    code = (
        f"import sys; sys.path.insert(0, {str(DEMO.parent)!r}); import _demo;"
        "_demo.FILE_DELAY = 1000; _demo.DEADLINE = 2;"
        "sys.argv[1:] = ['--once']; sys.exit(_demo.main())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 1
    assert "FAILED: no file of the study arrived within 2 s" in answer.stdout, answer.stdout


def test_demo_tells_a_failure(tmp_path: Path) -> None:
    """Without an Orthanc the demo ends with 1 and the reason."""
    answer = subprocess.run(
        [sys.executable, DEMO, "--once"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
        env={**os.environ, "ORTHANC": "/none/Orthanc"},
    )
    assert answer.returncode == 1
    assert "FAILED: ORTHANC names '/none/Orthanc'" in answer.stdout


def test_demo_serves_until_ctrl_c(tmp_path: Path) -> None:
    """Without `--once` it shows what to try, serves, and ends cleanly at Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, DEMO],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    guard = threading.Timer(120, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "storescu" in line:
                break
        assert process.poll() is None, "".join(lines)
        shown = "".join(lines)
        for path, expected in (
            ("/forward/status", b'"forwarded"'),
            ("/async/app/", b"<html"),
            ("/async/entries", b'"done"'),
        ):
            address = re.search(rf"http\S+{path}(?=\s)", shown)
            assert address, shown
            with urllib.request.urlopen(address[0], timeout=20) as answer:
                assert expected in answer.read()
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0, "".join(lines) + rest
        assert time.monotonic() - began < 30
        assert "Traceback" not in rest
    finally:
        guard.cancel()
        process.kill()
        process.wait()
