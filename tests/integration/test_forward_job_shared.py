"""Two Orthancs on one PostgreSQL, of which only one has the job that sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import postgresql
import pytest
from integration.forward_receiver import Receiver
from integration.test_forward_shared import INDEX
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = """
    from orthanc_async import forward, on_stable_study

    retry = forward.Retry(backoff=forward.Backoff(120, 120))
    archive = forward.to_peer("target", timeout=1, retry=retry)
    on_stable_study(archive, durable="archive")
"""


@pytest.fixture
def database() -> Iterator[str]:
    """Run PostgreSQL; give the folder of its socket."""
    with postgresql.postgresql() as folder:
        yield str(folder)


@pytest.fixture
def slow() -> Iterator[Receiver]:
    """Give a peer that takes its time for each instance."""
    with Receiver() as receiver:
        receiver.delay = 2.0
        yield receiver


@pytest.mark.timeout(120)
def test_cancelled_by_the_other(
    database: str, orthanc_server: Any, tmp_path: Path, dicom_files: list[Path], slow: Receiver
) -> None:
    """A delivery that waits is cancelled by one server; the other one cancels its job."""
    from orthanc_async import _server_config

    one, two = (
        orthanc_server(
            SCRIPT,
            name=f"{name}.py",
            plugins=[_server_config.plugin_library(), INDEX],
            storage=tmp_path / "storage",
            errors=[".*"],
            exit_code=None,
            config={
                "StableAge": 1,
                "OrthancPeers": {"target": [f"{slow.url}/"]},
                "DatabaseServerIdentifier": name,
                "PostgreSQL": postgresql.orthanc_index(database),
            },
        )
        for name in ("one", "two")
    )
    for file in dicom_files:
        one.upload(file)
    (entry,) = one.wait_json(
        "/async/entries",
        lambda found: [e["Attempts"] for e in found["Entries"]] == [1],
        timeout=60,
    )["Entries"]
    assert entry["State"] == "waiting"
    jobs = {server: server.http.get("/jobs").json() for server in (one, two)}
    owner, other = (one, two) if jobs[one] else (two, one)
    assert (len(jobs[owner]), jobs[other]) == (1, [])
    assert other.http.post(f"/async/entries/{entry['ID']}/cancel").status == 200

    def error() -> str:
        text: str = owner.http.get(f"/jobs/{jobs[owner][0]}").json()["ErrorDescription"]
        return text

    wait_until(error, "the job to be cancelled", done=lambda text: "canceled" in text, timeout=40)
