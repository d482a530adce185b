"""Attempts that run, as Orthanc jobs, on a stand-in for engine and store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async._durable import job
from waiting import wait_until

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("durable_surface_script.py")


@pytest.fixture(scope="module")
def shared(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with the stand-in engine, and Orthanc's default of two concurrent jobs."""
    return shared_orthanc(SCRIPT, config={"JobsHistorySize": 1000})


@pytest.fixture
def server(shared: Orthanc) -> Orthanc:
    """The same, without an entry and without a job that has not ended."""
    post(shared, "/test/fill/0")
    shared.wait_json("/jobs?expand", lambda found: all(ended(one) for one in found))
    return shared


def post(server: Orthanc, path: str, body: Any = None) -> Any:
    """Command the stand-in, or Orthanc."""
    answer = server.http.post(path, json.dumps(body))
    assert answer.status in {200, 204}, answer.text
    return answer.json() if answer.body else None


def ended(found: dict[str, Any]) -> bool:
    """Tell whether a job is over."""
    return found["State"] in {"Success", "Failure"}


def start(server: Orthanc, **fields: Any) -> int:
    """Add an entry and begin an attempt at it."""
    (number,) = post(server, "/test/put", [fields])
    post(server, f"/test/start/{number}")
    return int(number)


def shown(server: Orthanc, number: int) -> str:
    """Wait for the job that shows an entry; return its path."""
    entry = server.wait_json(f"/async/entries/{number}", lambda found: found["Job"])
    return f"/jobs/{entry['Job']}"


def test_progress(server: Orthanc) -> None:
    """An attempt that takes long is a job: with its progress, what it is about, and its end."""
    number = start(server, resource="/studies/abc")
    path = shown(server, number)
    post(server, f"/test/advance/{number}", {"done": 3, "total": 12, "bytes": 1234})
    found = server.wait_json(path, lambda one: one["Progress"] == 25)
    assert found["State"] == "Running"
    assert found["Type"] == "DurableDelivery"
    assert found["Content"] == {
        "Description": "to-archive: /studies/abc",
        "Queue": "to-archive",
        "Entry": number,
        "Key": f"Study/{number}",
        "Resource": "/studies/abc",
        "Attempt": 1,
        "Done": 3,
        "Total": 12,
        "Bytes": 1234,
    }
    post(server, f"/test/end/{number}", {"state": "done"})
    assert server.wait_json(path, ended)["State"] == "Success"
    server.wait_json(f"/async/entries/{number}", lambda entry: entry["Job"] is None)


def test_types(server: Orthanc) -> None:
    """A task has a type of its own; what shows a job of Orthanc's gets no second one."""
    own = start(server, queue="to-modality")
    task = start(server, queue="thumbnails")
    path = shown(server, task)
    assert server.http.get(path).json()["Type"] == "DurableTask"
    assert server.http.get(f"/async/entries/{own}").json()["Job"] is None
    post(server, f"/test/end/{task}", {"state": "done"})
    server.wait_json(path, ended)


@pytest.mark.parametrize(
    ("state", "words"), [("dead", "HTTP 403"), ("waiting", "HTTP 403 (it is tried again)")]
)
def test_failure(server: Orthanc, state: str, words: str) -> None:
    """An attempt that fails is a job that has failed, and says whether another one follows."""
    number = start(server)
    path = shown(server, number)
    post(server, f"/test/end/{number}", {"state": state, "error": "HTTP 403"})
    found = server.wait_json(path, ended)
    assert found["State"] == "Failure"
    assert found["Content"]["Error"] == words


def test_one_at_a_time(server: Orthanc) -> None:
    """With two concurrent jobs one is ours at most, and a synchronous job gets through."""
    numbers = [start(server) for _ in range(4)]
    study = server.upload(dicom_bytes())["ParentStudy"]
    while numbers:
        jobs = server.wait_json("/jobs?expand", lambda found: any(not ended(one) for one in found))
        running = [one for one in jobs if not ended(one)]
        assert len(running) == 1
        number = running[0]["Content"]["Entry"]
        assert number in numbers
        answer = server.http.post(
            f"/studies/{study}/anonymize", '{"Synchronous": true}', timeout=30
        )
        assert answer.status == 200
        numbers.remove(number)
        post(server, f"/test/end/{number}", {"state": "done"})
        server.wait_json(f"/jobs/{running[0]['ID']}", ended)


def dicom_bytes() -> bytes:
    """Return a small DICOM file."""
    from pydicom.data import get_testdata_file

    return Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()


def test_cancel(server: Orthanc) -> None:
    """Cancelling the job cancels the delivery."""
    number = start(server)
    path = shown(server, number)
    server.wait_json(path, lambda one: one["State"] == "Running")
    post(server, f"{path}/cancel", {})
    server.wait_json(path, ended)
    server.wait_json(f"/async/entries/{number}", lambda entry: entry["State"] == "cancelled")


def test_cancelled_delivery(server: Orthanc) -> None:
    """Cancelling the delivery ends the job."""
    number = start(server)
    path = shown(server, number)
    post(server, f"/async/entries/{number}/cancel")
    found = server.wait_json(path, ended)
    assert found["State"] == "Failure"
    assert found["Content"]["State"] == "cancelled"


def test_pause(server: Orthanc) -> None:
    """A paused job is resumed, and says that a delivery cannot be paused; cancelling it works."""
    number = start(server)
    path = shown(server, number)
    server.wait_json(path, lambda one: one["State"] == "Running")
    post(server, f"{path}/pause", {})
    server.wait_log(f"entry {number} of to-archive cannot be paused")
    found = server.wait_json(
        path, lambda one: one["State"] == "Running" and "Note" in one["Content"]
    )
    assert "cannot be paused" in found["Content"]["Note"]
    assert server.http.get(f"/async/entries/{number}").json()["State"] == "running"
    post(server, f"{path}/cancel", {})
    server.wait_json(f"/async/entries/{number}", lambda entry: entry["State"] == "cancelled")


def test_resubmit(server: Orthanc) -> None:
    """Resubmitting a job whose delivery is dead retries it; one that waits is left alone."""
    number = start(server)
    path = shown(server, number)
    post(server, f"/test/end/{number}", {"state": "dead", "error": "HTTP 403"})
    server.wait_json(path, ended)
    post(server, f"{path}/resubmit", {})
    found = server.wait_json(path, lambda one: one["State"] == "Success")
    assert found["Content"]["Note"] == "this is tried again"
    assert server.http.get(f"/async/entries/{number}").json()["State"] == "waiting"


def test_cancelled_before_it_runs(orthanc_server: OrthancFactory) -> None:
    """A job that is cancelled while it waits for a worker cancels its delivery too."""
    text = """
        import asyncio
        from orthanc_async import jobs, rest

        go = asyncio.Event()

        @jobs.job("Block", saved=False)
        async def block(job):
            await go.wait()

        @rest.post("/test/block")
        async def start(_request):
            return [await jobs.submit(block) for _ in range(2)]

        @rest.post("/test/go")
        async def end(_request):
            go.set()
    """
    server = orthanc_server([SCRIPT.read_text("utf-8"), text])
    blocking = post(server, "/test/block")
    number = start(server)
    path = shown(server, number)
    assert server.http.get(path).json()["State"] == "Pending"
    post(server, f"{path}/cancel", {})
    server.wait_json(f"/async/entries/{number}", lambda entry: entry["State"] == "cancelled")
    post(server, "/test/go", {})
    for one in blocking:
        server.wait_json(f"/jobs/{one}", ended)
    number = start(server)
    assert shown(server, number) != path


@pytest.mark.parametrize("concurrent", [1])
def test_no_room(orthanc_server: OrthancFactory, concurrent: int) -> None:
    """With one worker no delivery is shown as a job: it would keep Orthanc's own from running."""
    server = orthanc_server(SCRIPT, config={"ConcurrentJobs": concurrent})
    number = start(server)
    study = server.upload(dicom_bytes())["ParentStudy"]
    answer = server.http.post(f"/studies/{study}/anonymize", '{"Synchronous": true}')
    assert answer.status == 200
    assert server.http.get(f"/async/entries/{number}").json()["Job"] is None


def test_room() -> None:
    """One of ConcurrentJobs is left to Orthanc; 0 means the processor's cores, the default 2."""
    assert job.most("{}") == 1
    assert job.most('{"ConcurrentJobs": 1}') == 0
    assert job.most('{"ConcurrentJobs": 8}') == 7
    assert job.most('{"ConcurrentJobs": 0}') == (os.cpu_count() or 1) - 1


def test_stop_and_start(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """A job that runs at the stop does not hold it up, and is not there after the next start."""
    server = orthanc_server(SCRIPT, storage=tmp_path / "storage")
    number = start(server)
    path = shown(server, number)
    server.wait_json(path, lambda one: one["State"] == "Running")
    server.stop()
    again = orthanc_server(SCRIPT, storage=tmp_path / "storage")
    assert again.http.get("/jobs").json() == []


def test_reset(orthanc_server: OrthancFactory) -> None:
    """After a reset of Orthanc deliveries are shown again."""
    server = orthanc_server(SCRIPT)
    shown(server, start(server))
    post(server, "/tools/reset", {})
    server.wait_started(2)
    number = wait_until(lambda: _start_when_ready(server), "the script's routes")
    assert number is not None
    assert server.http.get(shown(server, number)).json()["Content"]["Entry"] == number


def _start_when_ready(server: Orthanc) -> int | None:
    try:
        answer = server.http.post("/test/put", "[{}]")
    except OSError:
        return None
    if answer.status != 200:
        return None
    (number,) = answer.json()
    post(server, f"/test/start/{number}")
    return int(number)
