"""Deliveries that Orthanc's own jobs carry out, with another Orthanc as target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

SHARED = Path(__file__).with_name("durable_script.py")
SLOW = """
    import time
    from orthanc_async import incoming

    @incoming.instance_filter
    def slowly(dicom):
        time.sleep(0.3)
        return True
"""
SCRIPT = """
    from orthanc_async import forward, on_stable_study

    on_stable_study(forward.to_{kind}("target"), durable="archive")
"""
TYPES = {"modality": "DicomModalityStore", "peer": "OrthancPeerStore"}


@pytest.fixture
def target(orthanc_server: Any) -> Any:
    """An Orthanc that takes its time for each instance."""
    return orthanc_server(
        SLOW,
        name="slow.py",
        dicom_port=0,
        config={"DicomAlwaysAllowStore": True, "DicomCheckModalityHost": False},
    )


def start(orthanc_server: Any, target: Any, kind: str, files: list[Path]) -> Any:
    """Start an Orthanc that sends what it gets, and give it a study."""
    server = orthanc_server(
        [SHARED, SCRIPT.format(kind=kind)],
        config={
            "StableAge": 1,
            # Room for jobs of the plugin's own beside Orthanc's.
            "ConcurrentJobs": 4,
            "DicomModalities": {"target": ["TARGET", "127.0.0.1", target.dicom_port]},
            "OrthancPeers": {"target": [f"{target.url}/"]},
        },
        dicom_port=0,
    )
    server.wait_json("/subscribed", lambda _: True)
    for file in files:
        server.upload(file)
    return server


@pytest.mark.parametrize("kind", ["modality", "peer"])
def test_one_job(orthanc_server: Any, target: Any, dicom_files: list[Path], kind: str) -> None:
    """The job that sends is the only one: the delivery has none of its own."""
    server = start(orthanc_server, target, kind, dicom_files)
    jobs: dict[str, str] = {}

    def look() -> list[str]:
        for job in server.http.get("/jobs?expand").json():
            jobs[job["ID"]] = job["Type"]
        return [entry["state"] for entry in server.http.get("/entries").json()]

    wait_until(look, "the delivery", done=lambda states: states == ["done"], timeout=40)
    assert list(jobs.values()) == [TYPES[kind]]
    assert len(target.http.get("/instances").json()) == 11


@pytest.mark.parametrize("kind", ["modality", "peer"])
def test_cancelled_with_its_job(
    orthanc_server: Any, target: Any, dicom_files: list[Path], kind: str
) -> None:
    """Whoever cancels the delivery ends the job that sends."""
    server = start(orthanc_server, target, kind, dicom_files)
    target.wait_json("/instances", lambda found: len(found) >= 2, timeout=30)
    (entry,) = server.http.get("/entries").json()
    assert server.http.post(f"/cancel/{entry['id']}").json() == {"done": True}
    (job,) = server.wait_json("/jobs?expand", lambda all_: all_[0]["State"] == "Failure")
    assert "canceled" in job["ErrorDescription"]
    (entry,) = server.http.get("/entries").json()
    assert entry["state"] == "cancelled"
    assert len(target.http.get("/instances").json()) < 11
