"""`async def` change handlers: in order for one resource, concurrently over all others."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pydicom
import pydicom.data
import pydicom.uid
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

# Every event notes its begin and its end. `hold` tells which events wait at a gate.
GATED = """
    import asyncio, json, threading
    import orthanc

    seen, running, most = [], 0, 0
    gate = None
    hold = set()

    async def gated(kind, level, resource):
        global running, most, gate
        if kind != orthanc.ChangeType.UPDATED_METADATA:
            return
        running += 1
        most = max(most, running)
        seen.append(["begin", resource])
        if gate is None:
            gate = asyncio.Event()
        if resource in hold or "*" in hold:
            await gate.wait()
        else:
            await asyncio.sleep(0)
        seen.append(["end", resource])
        running -= 1

    quick = []

    async def never_waits(kind, level, resource):
        assert threading.current_thread() is threading.main_thread()
        assert type(kind) is orthanc.ChangeType and type(level) is orthanc.ResourceType
        quick.append([int(kind), int(level), resource])
        if kind == orthanc.ChangeType.UPDATED_METADATA:
            raise ValueError("each of these is logged")

    orthanc.RegisterOnChangeCallback(gated)
    orthanc.RegisterOnChangeCallback(never_waits)

    async def state(output, uri, **request):
        answer = {"seen": seen, "most": most, "running": running, "quick": quick}
        output.AnswerBuffer(json.dumps(answer), "application/json")

    async def control(output, uri, **request):
        global hold, gate, most
        hold = set(json.loads(request["body"]))
        if not hold and gate is not None:
            gate.set()
            gate = None
            most = 0
        seen.clear()
        quick.clear()
        output.AnswerBuffer("", "text/plain")

    orthanc.RegisterRestCallback("/state", state)
    orthanc.RegisterRestCallback("/control", control)
"""

BARRIER = """
    import asyncio, json
    import orthanc

    arrived, passed = 0, 0
    everybody = asyncio.Event()

    async def meet(kind, level, resource):
        global arrived, passed
        if (kind, level) != (orthanc.ChangeType.DELETED, orthanc.ResourceType.INSTANCE):
            return
        arrived += 1
        if arrived == 100:
            everybody.set()
        await everybody.wait()
        passed += 1

    orthanc.RegisterOnChangeCallback(meet)

    async def state(output, uri, **request):
        output.AnswerBuffer(json.dumps([arrived, passed]), "application/json")

    orthanc.RegisterRestCallback("/state", state)
"""


def copies(count: int) -> list[bytes]:
    """Give the bytes of so many instances of one new series."""
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small.dcm") or "")
    dataset.StudyInstanceUID = pydicom.uid.generate_uid()
    dataset.SeriesInstanceUID = pydicom.uid.generate_uid()
    result = []
    for _ in range(count):
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        file = io.BytesIO()
        dataset.save_as(file)
        result.append(file.getvalue())
    return result


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with a concurrency of three."""
    return shared_orthanc(
        GATED, config={"Python": {"EventConcurrency": 3}}, errors=["script.never_waits"]
    )


@pytest.fixture(scope="module")
def instances(server: Orthanc) -> list[str]:
    """The identifiers of six instances."""
    return [server.upload(data)["ID"] for data in copies(6)]


def control(server: Orthanc, *hold: str) -> None:
    """Let the handlers of these resources wait (`*`: all); of none: open the gate."""
    assert server.http.post("/control", json.dumps(hold)).status == 200


def touch(server: Orthanc, instance: str, value: str = "x") -> None:
    """Cause one UPDATED_METADATA of an instance."""
    assert server.http.put(f"/instances/{instance}/metadata/1100", value).status == 200


def quick(state: Any) -> int:
    """Count what the quick handler has seen of UPDATED_METADATA."""
    return sum(event[0] == 13 for event in state["quick"])


def test_slow_resource(server: Orthanc, instances: list[str]) -> None:
    """A resource's events wait for each other; other resources and handlers go on."""
    slow, other = instances[:2]
    control(server, slow)
    for _ in range(3):
        touch(server, slow)
    for _ in range(3):
        touch(server, other)
    state = server.wait_json("/state", lambda state: len(state["seen"]) == 7)
    assert state["seen"][0] == ["begin", slow]
    assert state["seen"][1:] == [["begin", other], ["end", other]] * 3
    assert state["running"] == 1
    server.wait_json("/state", lambda state: quick(state) == 6)
    control(server)
    after = server.wait_json("/state", lambda state: len(state["seen"]) == 5)["seen"]
    assert after == [["end", slow], *[["begin", slow], ["end", slow]] * 2]
    server.wait_log(r"script\.never_waits.*UPDATED_METADATA of INSTANCE .* raised", count=6)


def test_limit(server: Orthanc, instances: list[str]) -> None:
    """At most EventConcurrency handlers run at once; the others follow in their order."""
    control(server, "*")
    for instance in instances:
        touch(server, instance)
    # The quick handler has had them all, so they have reached the queues.
    state = server.wait_json("/state", lambda state: quick(state) == 6)
    assert state["seen"] == [["begin", instance] for instance in instances[:3]]
    control(server)
    state = server.wait_json(
        "/state", lambda state: sum(s[0] == "end" for s in state["seen"]) == 6
    )
    assert [event[1] for event in state["seen"] if event[0] == "begin"] == instances[3:]
    assert state["most"] <= 3


def test_hundred_at_once(orthanc_server: OrthancFactory) -> None:
    """The hundred deletions of one study are handled at the same time."""
    server = orthanc_server(BARRIER)
    for data in copies(100):
        answer = server.upload(data)
    assert server.http.delete(f"/studies/{answer['ParentStudy']}").status == 200
    server.wait_json("/state", lambda state: state == [100, 100])


def test_started_and_stopped(
    orthanc_server: OrthancFactory, tmp_path: Path, dicom_files: list[Path]
) -> None:
    """ORTHANC_STARTED is the first event, ORTHANC_STOPPED the last, after all that waited."""
    server = orthanc_server(
        """
        import asyncio, json
        import orthanc

        events = []
        gate = asyncio.Event()

        async def handler(*event):
            system = json.loads(await orthanc.rest_api_get("/system"))
            events.append([*event, system["ApiVersion"]])
            if event[0] == orthanc.ChangeType.NEW_INSTANCE:
                await asyncio.sleep(0.3)  # Orthanc has begun to stop before these are through
                events.append("slow")
            if event[0] == orthanc.ChangeType.ORTHANC_STOPPED:
                with open("events.json", "w") as file:
                    json.dump(events, file)

        orthanc.RegisterOnChangeCallback(handler)
        """
    )
    for file in dicom_files:
        server.upload(file)
    server.stop()
    events = json.loads((tmp_path / "events.json").read_text())
    assert events[0][:3] == [10, 4, ""]
    assert events[-1][:3] == [11, 4, ""]
    counts = Counter(event if event == "slow" else event[0] for event in events)
    assert counts["slow"] == counts[3] == len(dicom_files)
