"""The demo: Orthanc is killed while it forwards a study, and nothing is lost; step by step.

Called by scripts/demo. Nothing is left behind but the installed packages.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pydicom.data
from orthanc_async._server import OrthancServer, ServerError, StartError
from pydicom import dcmread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

EXAMPLES = Path(__file__).absolute().parent.parent / "examples"
SCRIPT = EXAMPLES / "forward_stable_studies.py"
STABLE_AGE = 1  # seconds without a new file, then a study is stable
QUEUE = "forward"  # the name of the durable subscription in SCRIPT
FILE_DELAY = 0.5  # seconds the service takes for a file, as one over the internet might
DEADLINE = 60.0
POLL = 0.05


class DemoError(Exception):
    """The demo did not come to its end; the text is the reason."""


class Steps:
    """Prints one line a step, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._start:6.2f} s  {text}", flush=True)


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="end after one study: 0 if all went well, else 1"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _as_interrupt)
    step = Steps()
    folder = Path(tempfile.mkdtemp(prefix="orthanc-async-demo-"))
    server: OrthancServer | None = None
    try:
        with receiver(folder / "received", step) as receiver_url:
            server = OrthancServer(
                [SCRIPT],
                config={"Name": "Demo", "StableAge": STABLE_AGE},
                environment={"FORWARD_URL": receiver_url},
                storage=folder / "storage",
                dicom_port=0,
            )
            with server:
                step(f"Orthanc (process {server.pid}) serves with examples/{SCRIPT.name}")
                show_main_job(server, receiver_url, folder / "received", step)
                if not options.once:
                    serve(server, receiver_url, folder / "received")
            check_end(server)
            step("Orthanc has ended. All went well.")
    except KeyboardInterrupt:
        print("\nEnded.")
        return 1 if options.once else 0
    except (DemoError, ServerError, OSError) as error:
        step(f"FAILED: {error}")
        log = error.log if isinstance(error, StartError) else server.log_text() if server else ""
        if log:
            print(f"\nOrthanc's log:\n{log}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def show_main_job(server: OrthancServer, receiver_url: str, received: Path, step: Steps) -> None:
    """Upload a study, kill Orthanc while it is forwarded, start it again, compare what came."""
    files, title = shipped_study()
    identifiers = {upload(server, file) for file in files}
    study = study_of(server, next(iter(identifiers)))
    step(f"{len(identifiers)} DICOM files uploaded: {title}")
    step(f"waiting until the study is stable ({STABLE_AGE} s without a new file) …")
    kill_in_the_middle(server, received / study, len(identifiers), step)
    server.start()
    step(f"Orthanc (process {server.pid}) is started again")
    watch(server, study, step)
    whole = get_json(f"{receiver_url}/studies")
    if study not in whole:
        raise DemoError("Orthanc says 'done', but the receiver has no summary of the study")
    compare(server, study, received / study, identifiers)
    size = sum(file.stat().st_size for file in (received / study).glob("*.dcm"))
    step(f"compared: the receiver's {len(identifiers)} files ({size} bytes) are those in Orthanc, "
         f"byte for byte")  # fmt: skip
    step(f"deliveries are shown on {server.url}/async/app/")


def kill_in_the_middle(server: OrthancServer, received: Path, files: int, step: Steps) -> None:
    """Wait for the first file at the receiver, then give Orthanc no time for anything more.

    Raises:
        DemoError: no file came, or all had come before Orthanc ended, or it ended otherwise.
    """
    deadline = time.monotonic() + DEADLINE
    while not any(received.glob("*.dcm")):
        check_alive(server)
        if time.monotonic() > deadline:
            raise DemoError(f"no file of the study arrived within {DEADLINE:g} s")
        time.sleep(POLL)
    process = server.pid
    server.send_signal(signal.SIGKILL)
    code = server.wait(DEADLINE)
    if code != -signal.SIGKILL:
        raise DemoError(f"Orthanc ended with exit code {code}, not by the kill")
    arrived = len(list(received.glob("*.dcm")))
    if (received / "summary.json").exists():
        raise DemoError("the delivery was over before Orthanc was killed")
    step(f"stable: forwarding began. kill -9 {process}: {arrived} of {files} files had arrived")


def watch(server: OrthancServer, study: str, step: Steps) -> None:
    """Ask for the delivery until it is done; Orthanc must answer meanwhile.

    Raises:
        DemoError: it did not end well, or not in time, or was not the one that was cut off.
    """
    deadline = time.monotonic() + DEADLINE
    answered = 0
    while time.monotonic() < deadline:
        check_alive(server)
        began = time.monotonic()
        delivery = delivery_of(server, study)
        took = (time.monotonic() - began) * 1000
        state = delivery["State"] if delivery else "not written yet"
        if delivery and state == "running":
            progress = delivery["Progress"]
            if answered % 10 == 0 and progress["Total"]:
                step(f"GET /async/entries answers in {took:.1f} ms meanwhile: "
                     f"{progress['Done']} of {progress['Total']} files sent")  # fmt: skip
            answered += bool(progress["Total"])
        elif delivery and state == "done":
            if not delivery["Interruptions"]:
                raise DemoError("the delivery is done, but was not cut off by the kill")
            step(f"GET /async/entries/{delivery['ID']}: {delivery['Resource'][:18]}… is {state}, "
                 f"interruptions: {delivery['Interruptions']}")  # fmt: skip
            return
        elif state in ("dead", "cancelled"):
            assert delivery is not None
            raise DemoError(f"the delivery is {state}: {delivery['Error']}")
        time.sleep(POLL)
    raise DemoError(f"the study was not forwarded within {DEADLINE:g} s")


def delivery_of(server: OrthancServer, study: str) -> Any:
    """Return the delivery of a study, None before it has been written."""
    try:
        found = get_json(f"{server.url}/async/entries?queue={QUEUE}")["Entries"]
    except DemoError as error:
        if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == 503:
            return None  # Orthanc answers a moment before the store is open
        raise
    return next((one for one in found if one["Resource"] == f"/studies/{study}"), None)


def compare(server: OrthancServer, study: str, received: Path, uploaded: set[str]) -> None:
    """Compare what the receiver stored with what Orthanc holds.

    Raises:
        DemoError: naming the first difference.
    """
    held = {instance["ID"] for instance in get_json(f"{server.url}/studies/{study}/instances")}
    if held != uploaded:
        raise DemoError(f"Orthanc holds {len(held)} files of the {len(uploaded)} uploaded")
    stored = {file.stem for file in received.glob("*.dcm")}
    if stored != held:
        raise DemoError(f"the receiver has {len(stored)} files, Orthanc holds {len(held)}")
    for instance in sorted(held):
        expected = get(f"{server.url}/instances/{instance}/file")
        if (received / f"{instance}.dcm").read_bytes() != expected:
            raise DemoError(f"instance {instance} differs between Orthanc and the receiver")
    summary = json.loads((received / "summary.json").read_bytes())
    if set(summary["instances"]) != held or summary["study"] != study:
        raise DemoError("the summary does not name the study's instances")


def serve(server: OrthancServer, receiver_url: str, received: Path) -> None:
    """Show what can be tried by hand, until Ctrl-C."""
    first, second = (pydicom.data.get_testdata_file(n) for n in ("CT_small.dcm", "MR_small.dcm"))
    print(
        f"""
Both go on until Ctrl-C. To try by hand:

  {server.url}/async/app/             deliveries: what is under way, what failed and why
  {server.url}/app/explorer.html      Orthanc's own page
  curl {server.url}/async/entries     the deliveries as JSON
  curl {server.url}/forward/status    the script's own async route
  curl {receiver_url}/studies           what the receiver has got
  ls {received}

Send another study (forwarded when {STABLE_AGE} s have passed without a new file):

  curl --data-binary @{first} {server.url}/instances
  storescu 127.0.0.1 {server.dicom_port} {second}
""",
        flush=True,
    )
    code = server.wait()
    raise DemoError(f"Orthanc ended by itself with exit code {code}")


def check_alive(server: OrthancServer) -> None:
    """Refuse an Orthanc that has ended by itself."""
    if server.exit_code is not None:
        raise DemoError(f"Orthanc ended by itself with exit code {server.exit_code}")


def check_end(server: OrthancServer) -> None:
    """Refuse an end that was not a clean one."""
    if server.exit_code != 0:
        raise DemoError(f"Orthanc ended with exit code {server.exit_code}")


@contextlib.contextmanager
def receiver(folder: Path, step: Steps) -> Iterator[str]:
    """Run examples/receiver.py as a process of its own; give its address."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "receiver.py", "--port", "0",
         "--folder", folder, "--delay", str(FILE_DELAY)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        # The line comes when it serves; the end of the stream, when it has failed.
        line = process.stdout.readline()
        words = line.split()
        if len(words) < 3:
            raise DemoError("the receiver did not start")
        step(f"the web service (process {process.pid}) serves on {words[2]}")
        yield words[2]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def shipped_study() -> tuple[list[Path], str]:
    """Return the files of a study that pydicom ships, and what to call it."""
    folder = Path(pydicom.data.get_testdata_file("DICOMDIR") or "").parent / "98892003"
    studies: dict[str, list[Path]] = {}
    for file in sorted(file for file in folder.glob("*/*") if file.is_file()):
        study = dcmread(file, specific_tags=["StudyInstanceUID"]).StudyInstanceUID
        studies.setdefault(study, []).append(file)
    if not studies:
        raise DemoError(f"pydicom's test files are not in {folder}")
    files = max(studies.values(), key=len)
    first = dcmread(files[0], stop_before_pixels=True)
    return files, f"{first.PatientName}, {first.Modality}, {first.StudyDescription}"


def upload(server: OrthancServer, file: Path) -> str:
    """Store a file in Orthanc; return the instance's identifier."""
    body = file.read_bytes()
    request = urllib.request.Request(f"{server.url}/instances", data=body)  # noqa: S310
    return str(json.loads(fetch(request))["ID"])


def study_of(server: OrthancServer, instance: str) -> str:
    """Return the identifier of an instance's study."""
    return str(get_json(f"{server.url}/instances/{instance}/study")["ID"])


def get(url: str) -> bytes:
    """GET an address."""
    return fetch(urllib.request.Request(url))  # noqa: S310 - addresses on this machine


def get_json(url: str) -> Any:
    """GET an address that answers JSON."""
    return json.loads(get(url))


def fetch(request: urllib.request.Request) -> bytes:
    """Send a request; an answer that is no success is a DemoError."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        body = error.read().decode("utf-8", "replace").strip()
        raise DemoError(f"{request.full_url} answers {error.code}: {body}") from error


def _as_interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
