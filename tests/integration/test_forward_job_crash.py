"""Jobs of Orthanc that send: found again after a crash, cancelled, and forgotten by Orthanc."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pynetdicom
import pytest
from integration.forward_receiver import Receiver
from pynetdicom import evt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parent
SCRIPTS = [FOLDER / "durable_script.py", FOLDER / "forward_job_crash_script.py"]
KILLED = -9


class Peer:
    """Takes what comes as a modality and as a peer.

    Attributes:
        delay: Seconds that each instance takes.
    """

    def __init__(self, http: Receiver) -> None:
        self.delay = 0.0
        self._received: list[str] = []
        self._http = http
        entity = pynetdicom.AE("TARGET")
        for context in pynetdicom.AllStoragePresentationContexts:
            entity.add_supported_context(
                context.abstract_syntax or "", pynetdicom.ALL_TRANSFER_SYNTAXES
            )
        handlers: Any = [(evt.EVT_C_STORE, self._store)]
        server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.dicom = server

    def _store(self, event: Any) -> int:
        self._received.append(str(event.request.AffectedSOPInstanceUID))
        time.sleep(self.delay)
        return 0

    def slow_down(self, seconds: float) -> None:
        """Let each instance take so many seconds."""
        self.delay = self._http.delay = seconds

    @property
    def config(self) -> dict[str, Any]:
        """What Orthanc must know of it."""
        return {
            "DicomModalities": {"target": ["TARGET", "127.0.0.1", self.dicom.server_address[1]]},
            "OrthancPeers": {"target": [f"{self._http.url}/"]},
        }

    @property
    def count(self) -> int:
        """How many instances have come, those that came twice twice."""
        return len(self._received) + len(self._http.requests)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Give a receiver."""
    with Receiver() as http:
        one = Peer(http)
        yield one
        one.dicom.shutdown()


@pytest.fixture
def start(orthanc_server: Any, tmp_path: Path, peer: Peer) -> Callable[..., Any]:
    """Give a function that starts an Orthanc which sends what it gets."""

    def start(
        kind: str,
        *,
        moment: str | None = None,
        environment: dict[str, str] | None = None,
        config: dict[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        storage = tmp_path / "storage"
        if moment is not None:
            (tmp_path / "moment").write_text(moment)
        server = orthanc_server(
            SCRIPTS,
            config={"StableAge": 1, **peer.config, **(config or {})},
            environment={"KIND": kind, "STORAGE": str(storage), **(environment or {})},
            storage=storage,
            **more,
        )
        server.wait_json("/subscribed", lambda _: True, timeout=30)
        return server

    return start


def wait_done(server: Any) -> dict[str, Any]:
    """Wait until the one delivery is done; return it."""
    found = server.wait_json(
        "/entries", lambda all_: [one["state"] for one in all_] == ["done"], timeout=40
    )
    result: dict[str, Any] = found[0]
    return result


@pytest.mark.parametrize("moment", ["begun", "kept", "succeeded"])
@pytest.mark.parametrize("kind", ["modality", "peer"])
def test_killed_before_the_job_is_noted(
    start: Callable[..., Any],
    peer: Peer,
    dicom_files: list[Path],
    kind: str,
    moment: str,
) -> None:
    """After the kill the job is found again, and no second one sends the same, if it was kept."""
    server = start(kind, moment=moment, exit_code=None, errors=[".*"])
    peer.slow_down(0.0 if moment == "succeeded" else 0.2)
    for file in dicom_files:
        server.upload(file)
    assert server.wait(40) == KILLED
    peer.slow_down(0.0)
    server.start()
    found = wait_done(server)
    assert (found["attempts"], found["interruptions"]) == (0, 1)
    (job,) = server.http.get("/jobs?expand").json()
    assert (job["State"], job["Content"]["InstancesCount"]) == ("Success", len(dicom_files))
    if moment == "succeeded":
        assert peer.count == len(dicom_files)
    assert ("is of no use" in server.log_text()) <= (moment == "begun")


@pytest.mark.parametrize("kind", ["modality", "peer"])
def test_cancelled_between_two_attempts(
    start: Callable[..., Any], peer: Peer, dicom_files: list[Path], kind: str
) -> None:
    """A delivery that waits for its next attempt is cancelled with the job that goes on."""
    server = start(kind, environment={"TIMEOUT": "0.5"})
    peer.slow_down(0.5)
    for file in dicom_files:
        server.upload(file)
    (entry,) = server.wait_json(
        "/entries", lambda all_: all_ and all_[0]["attempts"] == 1, timeout=30
    )
    assert entry["state"] == "waiting"
    (job,) = server.http.get("/jobs?expand").json()
    assert job["State"] == "Running"
    assert server.http.post(f"/cancel/{entry['id']}").json() == {"done": True}
    (job,) = server.wait_json("/jobs?expand", lambda all_: all_[0]["State"] == "Failure")
    assert "canceled" in job["ErrorDescription"]
    assert peer.count < len(dicom_files)


@pytest.mark.parametrize("kind", ["modality", "peer"])
def test_orthanc_forgets_its_jobs_at_once(
    start: Callable[..., Any], peer: Peer, dicom_files: list[Path], kind: str
) -> None:
    """A job of which Orthanc keeps nothing is known to have succeeded, and is the only one."""
    server = start(kind, config={"JobsHistorySize": 0})
    for file in dicom_files:
        server.upload(file)
    assert wait_done(server)["attempts"] == 0
    assert server.http.get("/jobs").json() == []
    assert peer.count == len(dicom_files)
