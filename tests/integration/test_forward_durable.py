"""Destinations as durable subscriptions: what goes wrong in between is made good."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pynetdicom
import pytest
from integration.forward_receiver import Receiver
from orthanc_async._server_net import free_port
from pynetdicom import evt
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED = Path(__file__).with_name("durable_script.py")
KILLED = -9
SECRET = "a-secret-that-nobody-may-see"
TO_HTTP = """
    import os
    from orthanc_async import forward, on_stable_study

    archive = forward.to_http(
        os.environ["TARGET"], path="/{instance}", at_once=1,
        auth=forward.Bearer(forward.secret_from_env("SECRET")),
        retry=forward.Retry(backoff=forward.Backoff(0.2, 0.2)),
        breaker=forward.Breaker(3, first=0.2, longest=0.2),
    )
    on_stable_study(archive, durable="archive")
"""
TO_MODALITY = """
    from orthanc_async import forward, on_stable_study

    archive = forward.to_modality("slow", batch=6)
    on_stable_study(archive, durable="archive")
"""


@pytest.fixture
def start(orthanc_server: Any, tmp_path: Path) -> Callable[..., Any]:
    """Give a function that starts an Orthanc on the test's one storage folder."""
    shutil.copy(SHARED, tmp_path)

    def start(script: str, target: str = "", **more: Any) -> Any:
        server = orthanc_server(
            [tmp_path / SHARED.name, script],
            config={"StableAge": 1, **more.pop("config", {})},
            storage=tmp_path / "storage",
            environment={"TARGET": target, "SECRET": SECRET},
            **more,
        )
        server.wait_json("/entries", lambda _: True, timeout=30)
        return server

    return start


def entry(server: Any, state: str) -> dict[str, Any]:
    """Wait until the one entry is in a state."""
    found = server.wait_json(
        "/entries", lambda all_: [one["state"] for one in all_] == [state], timeout=40
    )
    result: dict[str, Any] = found[0]
    return result


def files(server: Any) -> dict[str, bytes]:
    """Return what the receiver should have."""
    found = server.http.get("/instances").json()
    return {f"/{name}": server.http.get(f"/instances/{name}/file").body for name in found}


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_goes_on_where_it_was(
    start: Callable[..., Any], dicom_files: list[Path], end: str
) -> None:
    """After a kill or a stop in the middle, the rest is sent, not all of it again."""
    with Receiver() as receiver:
        receiver.delay = 0.3
        server = start(TO_HTTP, receiver.url, exit_code=KILLED if end == "kill" else 0)
        for file in dicom_files:
            server.upload(file)
        # Long enough that what it has come to was written.
        wait_until(lambda: len(receiver.requests) >= 7, "seven files")
        getattr(server, end)()
        before = len(receiver.requests)
        receiver.delay = 0.0
        server = start(TO_HTTP, receiver.url)
        found = entry(server, "done")
        assert (found["attempts"], found["interruptions"]) == (0, 1)
        assert receiver.files == files(server)
        again = len(receiver.requests) - 11
        # After a kill, what was sent since the last save (about a second before) comes twice.
        assert 0 <= again <= (6 if end == "kill" else 1), (before, receiver.requests)
        keys = {headers["Idempotency-Key"] for headers in receiver.headers}
        assert len(keys) == 11
        server.stop()
        assert SECRET not in server.log_text()


def test_refused_and_retried_by_hand(
    start: Callable[..., Any], dicom_files: list[Path], tmp_path: Path
) -> None:
    """A 403 is a dead letter at once, with the reason, and no secret is kept anywhere."""
    with Receiver() as receiver:
        receiver.status = 403
        server = start(TO_HTTP, receiver.url, verbose=True)
        server.upload(dicom_files[0])
        found = entry(server, "dead")
        assert found["reason"] == "http-403"
        assert found["error"].startswith(f"{receiver.url}/")
        assert "answers 403" in found["error"]
        assert found["attempts"] <= 1
        assert receiver.headers[0]["Authorization"] == f"Bearer {SECRET}"
        server.stop()
        kept = [file for file in (tmp_path / "storage").rglob("*") if file.is_file()]
        assert not any(SECRET.encode() in file.read_bytes() for file in kept)
        assert SECRET not in server.log_text()


def test_down_for_a_while(start: Callable[..., Any], dicom_files: list[Path]) -> None:
    """A receiver that is not there for a while gets everything when it is back."""
    port = free_port()
    server = start(TO_HTTP, f"http://127.0.0.1:{port}")
    for file in dicom_files:
        server.upload(file)
    server.wait_json(
        "/entries", lambda all_: all_ and all_[0]["attempts"] >= 3 and all_[0]["error"], timeout=40
    )
    with Receiver(port) as receiver:
        entry(server, "done")
        assert receiver.files == files(server)


def test_reset_opens_new_connections(start: Callable[..., Any], dicom_files: list[Path]) -> None:
    """After /tools/reset deliveries go on, and nothing of before is left open."""
    with Receiver() as receiver:
        server = start(TO_HTTP, receiver.url)
        server.upload(dicom_files[0])
        entry(server, "done")
        server.http.post("/tools/reset")
        server.wait_started(2)
        server.upload(dicom_files[-1])
        server.wait_json(
            "/entries", lambda all_: [one["state"] for one in all_] == ["done"] * 2, timeout=40
        )
        assert "Unclosed" not in server.log_text()


def test_a_job_that_outlives_a_restart(start: Callable[..., Any], dicom_files: list[Path]) -> None:
    """A C-STORE job goes on after the restart, and no instance is sent by two jobs."""
    received: list[str] = []
    slow = 0.4

    def store(event: Any) -> int:
        received.append(str(event.request.AffectedSOPInstanceUID))
        import time

        time.sleep(slow)
        return 0

    entity = pynetdicom.AE("SLOW")
    for context in pynetdicom.AllStoragePresentationContexts:
        entity.add_supported_context(
            context.abstract_syntax or "", pynetdicom.ALL_TRANSFER_SYNTAXES
        )
    peer = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    assert peer is not None
    try:
        port = peer.server_address[1]
        config = {"DicomModalities": {"slow": ["SLOW", "127.0.0.1", port]}}
        server = start(TO_MODALITY, config=config)
        for file in dicom_files:
            server.upload(file)
        wait_until(lambda: len(received) >= 3, "three instances")
        server.stop()
        slow = 0.0
        server = start(TO_MODALITY, config=config)
        entry(server, "done")
        jobs = server.http.get("/jobs?expand").json()
        assert {job["State"] for job in jobs} == {"Success"}
        assert sorted(job["Content"]["InstancesCount"] for job in jobs) == [5, 6]
        uids = {str(pydicom.dcmread(file).SOPInstanceUID) for file in dicom_files}
        assert set(received) == uids
        assert len(received) <= 12, "only the one that was under way comes twice"
    finally:
        peer.shutdown()
