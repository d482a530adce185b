"""A destination that is down, stalls or fails does not hold up the others of its script."""

from __future__ import annotations

import io
import shutil
import socket
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pydicom.data
import pytest
from integration.forward_receiver import Receiver
from orthanc_async._server_net import free_port
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED = Path(__file__).with_name("durable_script.py")
SCRIPT = """
    import os
    from orthanc_async import forward, on_new_instance, rest
    from durable_script import running

    def to(name):
        return forward.to_http(
            os.environ[name], path="/{instance}", stall_timeout=600,
            retry=forward.Retry(10**6, forward.Backoff(0.2, 0.5)),
            breaker=forward.Breaker(3, first=0.2, longest=0.5),
        )

    on_new_instance(to("HEALTHY"), durable="healthy")
    if os.environ["OTHER"]:
        on_new_instance(to("OTHER"), durable="other")

    @rest.get("/durations")
    async def durations(request):
        entries = await running().store.entries(queue="healthy", limit=100_000)
        return [e.changed_at - e.created_at for e in entries if e.state == "done"]
"""
BESIDE = ("refuses", "stalls", "fails")
MOST = 1.2


@pytest.fixture(params=BESIDE)
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """A destination that delivers nothing, each in its own way."""
    if request.param == "refuses":
        yield f"http://127.0.0.1:{free_port()}"
    elif request.param == "stalls":
        # Connections are made, and nobody ever answers.
        with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
            yield f"http://127.0.0.1:{silent.getsockname()[1]}"
    else:
        with Receiver() as failing:
            failing.status = 500
            yield failing.url


def start(orthanc_server: Any, folder: Path, healthy: str, other: str) -> Any:
    """Start an Orthanc that sends what it gets to both, or to the healthy one alone."""
    folder.mkdir(exist_ok=True)
    shutil.copy(SHARED, folder)
    server = orthanc_server(
        [folder / SHARED.name, SCRIPT],
        environment={"HEALTHY": healthy, "OTHER": other},
        cwd=folder,
        config={"StableAge": 9999, "OverwriteInstances": True},
    )
    server.wait_json("/subscribed", lambda _: True)
    return server


def upload(server: Any, count: int, first: int = 0) -> None:
    """Store so many instances of one series."""
    file = pydicom.data.get_testdata_file("MR_small.dcm")
    data = pydicom.dcmread(str(file))
    for number in range(first, first + count):
        uid = pydicom.uid.UID(f"1.2.3.{number + 1}")
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid
        buffer = io.BytesIO()
        data.save_as(buffer)
        server.upload(buffer.getvalue())


def test_the_others_go_on(orthanc_server: Any, tmp_path: Path, other: str) -> None:
    """All that is for the healthy destination arrives; what is for the other one waits."""
    with Receiver() as receiver:
        server = start(orthanc_server, tmp_path, receiver.url, other)
        upload(server, 30)
        wait_until(lambda: len(receiver.files) >= 30, "30 files", timeout=30)
        entries = server.wait_json(
            "/entries",
            lambda all_: sum(one["state"] == "done" for one in all_) == 30 and len(all_) == 60,
        )
        assert {one["queue"] for one in entries if one["state"] == "done"} == {"healthy"}
        left = [one for one in entries if one["queue"] == "other"]
        assert {one["state"] for one in left} <= {"waiting", "running"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_others_are_as_quick(orthanc_server: Any, tmp_path: Path, other: str) -> None:
    """The healthy one's median delivery takes at most 1.2 times of what it takes alone."""
    alone: list[float] = []
    beside: list[float] = []
    with Receiver() as receiver:
        receiver.keep = False
        # In turns, so that what else the machine does counts for both.
        for turn in range(6):
            for found, url in ((alone, ""), (beside, other)):
                folder = tmp_path / f"{turn}{'other' if url else ''}"
                server = start(orthanc_server, folder, receiver.url, url)
                for number in range(50):  # one at a time: not how deep a queue is
                    upload(server, 1, number)
                    server.wait_json("/durations", lambda all_, n=number: len(all_) > n)
                found.extend(server.http.get("/durations").json()[:-5])  # not the first ones
                server.stop()
    ratio = statistics.median(beside) / statistics.median(alone)
    figures = [f"{1000 * statistics.median(some):.1f} ms" for some in (alone, beside)]
    print(f"alone {figures[0]}, beside {figures[1]}, {len(alone)} deliveries each: {ratio:.2f}")
    assert ratio <= MOST
