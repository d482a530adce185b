"""Jobs written in Python: run, shown, paused, cancelled, saved and run again by Orthanc."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("jobs_script.py")
ERRORS = (
    r"jobs_script\.",
    "Traceback",
    r"^E.*  File |ValueError|TypeError|SystemExit",
    "Cannot serialize",
)
ENDED = {"Success", "Failure"}


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """One Orthanc that runs several jobs at once."""
    return shared_orthanc(SCRIPT, errors=ERRORS, config={"ConcurrentJobs": 8})


def submit(server: Orthanc, type_: str = "Count", **arguments: Any) -> str:
    """Submit a job of a decorated function; return its identifier."""
    answer = server.http.post(f"/jobs-of/{type_}", json.dumps(arguments)).json()
    assert "ID" in answer, answer
    return str(answer["ID"])


def create(server: Orthanc, kind: str) -> str:
    """Submit a job made by the SDK's function; return its identifier."""
    return str(server.http.get(f"/create/{kind}").json()["ID"])


def ended(server: Orthanc, job: str) -> Any:
    """Wait for a job's end; return what Orthanc tells of it."""
    return server.wait_json(f"/jobs/{job}", lambda value: value["State"] in ENDED)


def in_state(server: Orthanc, job: str, state: str) -> Any:
    """Wait until a job is in a state; return what Orthanc tells of it."""
    return server.wait_json(f"/jobs/{job}", lambda value: value["State"] == state)


def beyond(server: Orthanc, job: str, number: int) -> None:
    """Wait until a counting job has counted further than this."""
    server.wait_json(f"/jobs/{job}", lambda value: value["Content"].get("Number", 0) > number)


def seen(server: Orthanc) -> dict[str, Any]:
    """What the script has noted."""
    value: dict[str, Any] = server.http.get("/seen").json()
    return value


def test_result(server: Orthanc) -> None:
    """A job's type, priority, progress, content and result stand in /jobs/{id}."""
    job = ended(server, submit(server, until=4, priority=7))
    assert job["State"] == "Success"
    assert (job["Type"], job["Priority"], job["Progress"]) == ("Count", 7, 100)
    assert job["Content"] == {
        "Started": 0,
        "Number": 4,
        "Result": {"Counted": 4, "Progress": 1.0},
    }


def test_progress(server: Orthanc) -> None:
    """Progress and content are shown while one long step runs."""
    job = submit(server, until=100_000)
    beyond(server, job, 10)
    beyond(server, job, server.http.get(f"/jobs/{job}").json()["Content"]["Number"])
    server.http.post(f"/jobs/{job}/cancel")
    assert ended(server, job)["ErrorDescription"] == "This job was canceled"


def test_failure(server: Orthanc) -> None:
    """What the function raises fails the job, with the error in its content and the log."""
    job = ended(server, submit(server, until=3, fail_at=1))
    assert job["State"] == "Failure"
    assert job["Content"]["Error"] == "ValueError: no further"
    assert job["Content"]["Number"] == 1
    server.wait_log(r"jobs_script\.count \(job Count\) raised")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("result", "Object of type object is not JSON serializable"),
        ("progress", "takes a number from 0 to 1, not 2"),
        ("content", "job.content takes a dict, not list"),
        ("cancelled", None),
        ("exit", None),
    ],
)
def test_strange(server: Orthanc, kind: str, text: str | None) -> None:
    """Nonsense from the function fails the job and says what was expected."""
    job = ended(server, submit(server, "Strange", kind=kind))
    assert job["State"] == "Failure"
    if text is not None:
        assert text in job["Content"]["Error"]


def test_pause_and_resume(server: Orthanc) -> None:
    """A paused job stands still at its checkpoint, and goes on from there."""
    job = submit(server, until=100_000)
    beyond(server, job, 3)
    server.http.post(f"/jobs/{job}/pause")
    in_state(server, job, "Paused")
    previous = -1

    def stands(value: dict[str, Any]) -> bool:
        nonlocal previous
        stood, previous = bool(value["number"] == previous), value["number"]
        # Its steps of 10 ms are over by the time that another request has gone round.
        return stood and bool(seen(server)["number"] == previous)

    server.wait_json("/seen", stands)
    server.http.post(f"/jobs/{job}/resume")
    beyond(server, job, previous + 3)
    assert seen(server)["started"] == 0
    server.http.post(f"/jobs/{job}/cancel")
    ended(server, job)


def test_cancel_and_resubmit(server: Orthanc) -> None:
    """A cancelled job's task is cancelled; resubmitted it begins anew."""
    before = seen(server)["cancelled"]
    job = submit(server, until=100_000)
    beyond(server, job, 50)
    server.http.post(f"/jobs/{job}/cancel")
    assert ended(server, job)["State"] == "Failure"
    assert seen(server)["cancelled"] == before + 1
    server.http.post(f"/jobs/{job}/resubmit")
    value = server.wait_json(
        f"/jobs/{job}",
        lambda value: value["State"] == "Running" and value["Content"].get("Number"),
    )
    assert value["Content"]["Started"] == 0
    server.http.post(f"/jobs/{job}/pause")
    in_state(server, job, "Paused")
    server.http.post(f"/jobs/{job}/cancel")  # while its task waits at the checkpoint
    assert ended(server, job)["State"] == "Failure"
    server.http.post(f"/jobs/{job}/resubmit")
    in_state(server, job, "Running")
    server.http.post(f"/jobs/{job}/cancel")
    ended(server, job)


@pytest.mark.parametrize(
    ("type_", "arguments", "text"),
    [
        ("Unknown", {}, "LookupError: jobs.submit: Unknown is not decorated"),
        ("Count", {}, "TypeError: jobs.submit: jobs_script.count: missing a required"),
        ("Count", {"until": 1, "other": 2}, "got an unexpected keyword argument 'other'"),
    ],
)
def test_submit_refuses(server: Orthanc, type_: str, arguments: dict[str, Any], text: str) -> None:
    """A wrong submission raises at once and names what is wrong."""
    answer = server.http.post(f"/jobs-of/{type_}", json.dumps(arguments)).json()
    assert text in answer["Error"]


@pytest.mark.parametrize("kind", ["three", "async"])
def test_create_job(server: Orthanc, kind: str) -> None:
    """A job made with CreateJob runs step by step, `def` or `async def`, and is told its end."""
    job = ended(server, create(server, kind))
    assert job["State"] == "Success"
    assert (job["Type"], job["Progress"], job["Content"]) == ("Plain", 100, {"Steps": 3})
    assert seen(server)["stopped"][-1] == "Plain <JobStopReason.SUCCESS: 1>"


@pytest.mark.parametrize("kind", ["raises", "nonsense"])
def test_create_job_fails(server: Orthanc, kind: str) -> None:
    """A step that raises or returns nonsense fails its job; resubmitted, it is reset first."""
    before = seen(server)["reset"]
    job = create(server, kind)
    assert ended(server, job)["State"] == "Failure"
    assert seen(server)["stopped"][-1] == "Plain <JobStopReason.FAILURE: 3>"
    server.http.post(f"/jobs/{job}/resubmit")
    server.wait_json("/seen", lambda value: value["reset"] == before + 1)
    ended(server, job)


def test_plain_steps_are_paused_and_cancelled(server: Orthanc) -> None:
    """Orthanc pauses and cancels a job between two `def` steps."""
    job = create(server, "endless")
    in_state(server, job, "Running")
    server.http.post(f"/jobs/{job}/pause")
    in_state(server, job, "Paused")
    server.http.post(f"/jobs/{job}/resume")
    in_state(server, job, "Running")
    server.http.post(f"/jobs/{job}/cancel")
    ended(server, job)
    assert seen(server)["stopped"][-2:] == [
        "Plain <JobStopReason.PAUSED: 2>",
        "Plain <JobStopReason.CANCELED: 4>",
    ]


def test_second_submission(server: Orthanc) -> None:
    """A job that Orthanc has is not submitted again."""
    answer = server.http.get("/create/three").json()
    assert "Orthanc has this job already" in answer["Again"]


def test_refused(server: Orthanc) -> None:
    """What cannot work raises at once: on the loop, wrong values, wrong functions."""
    answer = server.http.get("/refused").json()
    assert "use `await orthanc.Job.submit_job(…)`" in answer["blocking"]
    assert answer["progress"].startswith("ValueError")
    assert answer["content"].startswith("ValueError")
    assert 'the field "Type" is Orthanc' in answer["serialized"]
    assert answer["step"].startswith("TypeError")
    assert answer["function"].startswith("TypeError")
    assert answer["keyword"].startswith("TypeError")


def test_released(server: Orthanc) -> None:
    """What belongs to a job is let go once Orthanc has forgotten it."""
    before = seen(server)["finalized"]
    for _ in range(15):  # Orthanc remembers ten
        ended(server, create(server, "three"))
    server.wait_json("/seen", lambda value: value["finalized"] >= before + 5)


def test_restart(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """A job that runs when Orthanc stops goes on at the next start, from its last state."""
    config = {
        "StorageDirectory": str(tmp_path / "db"),
        "IndexDirectory": str(tmp_path / "db"),
        "ConcurrentJobs": 8,
    }
    first = orthanc_server(SCRIPT, config=config)
    job, plain = submit(first, until=100_000), create(first, "endless")
    lost = submit(first, "Unsaved")
    beyond(first, job, 20)
    for identifier in (plain, lost):
        in_state(first, identifier, "Running")
    first.stop()
    second = orthanc_server(SCRIPT, config=config)
    value = second.wait_json(f"/jobs/{job}", lambda value: value["Content"].get("Number", 0) > 20)
    assert value["Content"]["Started"] >= 20
    in_state(second, plain, "Running")
    assert second.http.get(f"/jobs/{lost}").status == 404
    assert seen(second)["asked"] in {"Count", "Plain"}


EXAMPLE = Path(__file__).parents[2] / "examples" / "check_study_job.py"


def test_example(orthanc_server: OrthancFactory, dicom_files: list[Path]) -> None:
    """The example's job reads every instance of a study."""
    server = orthanc_server(EXAMPLE)
    study = ""
    for file in dicom_files:
        study = server.upload(file)["ParentStudy"]
    job = ended(server, server.http.post(f"/studies/{study}/check").json()["ID"])
    assert job["State"] == "Success", job
    assert job["Content"]["Checked"] == len(dicom_files)
    assert job["Content"]["Result"] == {
        "Bytes": sum(file.stat().st_size for file in dicom_files),
        "Unreadable": [],
    }


def test_reset(orthanc_server: OrthancFactory) -> None:
    """At /tools/reset a job goes on in the same process, with the scripts imported afresh."""
    server = orthanc_server(SCRIPT, errors=ERRORS, config={"ConcurrentJobs": 8})
    job = submit(server, until=100_000)
    beyond(server, job, 20)
    server.http.post("/tools/reset")
    server.wait_log("Orthanc has started", count=2)
    value = server.wait_json(f"/jobs/{job}", lambda value: value["Content"].get("Number", 0) > 20)
    assert value["Content"]["Started"] >= 20
