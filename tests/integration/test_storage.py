"""Storage areas: where Orthanc keeps its files, in `def`, in `async def` and as a class."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pynetdicom import AE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("storage_script.py")
CONFIG = {"MaximumStorageCacheSize": 0, "OverwriteInstances": True}


@pytest.fixture(scope="module", params=["def", "async", "class"])
def area(request: pytest.FixtureRequest, shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc whose files are in a script's memory."""
    return shared_orthanc(
        SCRIPT, errors=["."], config=CONFIG, environment={"STYLE": request.param}, dicom_port=0
    )


@pytest.fixture(autouse=True)
def usual(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave the shared area as it should be, and empty."""
    yield
    if "area" in request.fixturenames:
        server = request.getfixturevalue("area")
        behave(server)
        for instance in server.http.get("/instances").json():
            server.http.delete(f"/instances/{instance}")
        assert state(server)["files"] == {}


def behave(server: Orthanc, **mode: str) -> None:
    """Tell the area how to behave, and forget what was noted."""
    assert server.http.post("/mode", json.dumps(mode)).status == 204


def state(server: Orthanc) -> dict[str, Any]:
    """Return what the area holds and has noted."""
    result: dict[str, Any] = server.http.get("/area").json()
    return result


def send(server: Orthanc, file: Path) -> subprocess.CompletedProcess[str]:
    """Send a file by DICOM."""
    return subprocess.run(
        ["storescu", "-v", "-R", "-xs", "127.0.0.1", str(server.dicom_port), str(file)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_files_go_through_the_area(area: Orthanc, dicom_file: Path) -> None:
    """A stored file is what the area was given, is read from it, and is removed from it."""
    instance = area.upload(dicom_file)["ID"]
    created = next(call for call in state(area)["calls"] if call[0] == "create")
    size = dicom_file.stat().st_size
    assert created[2:] == ["ContentType", 1, "bytes", size]
    assert area.http.get(f"/instances/{instance}/file").body == dicom_file.read_bytes()
    assert created[1] in state(area)["files"]
    assert area.http.get(f"/dicom/{instance}").body == dicom_file.read_bytes()
    area.http.delete(f"/instances/{instance}")
    assert state(area)["files"] == {}


def test_a_file_of_any_kind(area: Orthanc, dicom_file: Path) -> None:
    """An attachment, also an empty one, comes back as it was."""
    instance = area.upload(dicom_file)["ID"]
    for content in (b"", b"\0\xff" * 3_000_000):
        path = f"/instances/{instance}/attachments/1024"
        assert area.http.put(path, content).status == 200
        assert area.http.get(path + "/data").body == content
        assert area.http.delete(path).status == 200


def test_the_sender_sees_that_create_has_failed(area: Orthanc, dicom_file: Path) -> None:
    """What the area refuses is refused, by HTTP and by DICOM, and Orthanc does not know it."""
    behave(area, create="raise")
    assert area.http.post("/instances", dicom_file.read_bytes()).status == 500
    sent = send(area, dicom_file)
    assert "Success" not in sent.stdout + sent.stderr
    assert "Received Store Response" in sent.stdout + sent.stderr
    assert area.http.get("/instances").json() == []
    area.wait_log("OSError: create is broken", count=2)
    behave(area)
    sent = send(area, dicom_file)
    assert "Received Store Response (Success)" in sent.stdout + sent.stderr
    assert len(area.http.get("/instances").json()) == 1


@pytest.mark.parametrize("what", ["raise", "str", "none"])
def test_a_reader_gets_an_error(area: Orthanc, dicom_file: Path, what: str) -> None:
    """A read that raises or returns no bytes is an error, and the next one works."""
    instance = area.upload(dicom_file)["ID"]
    behave(area, read=what, range=what)
    assert area.http.get(f"/instances/{instance}/file").status == 500
    behave(area)
    assert area.http.get(f"/instances/{instance}/file").body == dicom_file.read_bytes()


def test_a_file_that_cannot_be_removed_is_logged(area: Orthanc, dicom_file: Path) -> None:
    """Orthanc forgets the instance, and its log names the file that is left."""
    instance = area.upload(dicom_file)["ID"]
    behave(area, remove="raise")
    assert area.http.delete(f"/instances/{instance}").status == 200
    left = state(area)["files"]
    assert left
    for uuid in left:
        area.wait_log(rf"Unable to remove an attachment.*{uuid}")
    assert area.http.post("/forget").status == 204


def test_remove_does_not_hang_on_the_index(area: Orthanc, dicom_file: Path) -> None:
    """A handler of remove that reads the index gets an error instead of waiting for ever."""
    instance = area.upload(dicom_file)["ID"]
    behave(area, remove="index")
    assert area.http.delete(f"/instances/{instance}", timeout=20).status == 200
    refused = state(area)["refused"]
    assert refused
    assert "would wait for ever" in refused[0]
    assert "'/statistics'" in refused[0]


def test_read_does_not_hang_inside_get_dicom_for_instance(area: Orthanc, dicom_file: Path) -> None:
    """On an Orthanc that holds its mutex there, a REST call in read gets an error."""
    instance = area.upload(dicom_file)["ID"]
    behave(area, read="api", range="api")
    answer = area.http.get(f"/dicom/{instance}", timeout=20)
    assert answer.body == dicom_file.read_bytes()
    old = area.http.get("/system").json()["Version"] in {"1.10.1", "1.12.1"}
    refused = state(area)["refused"]
    assert [("would wait for ever" in text) for text in refused] == [True] * old
    behave(area, read="api", range="api")
    assert area.http.get(f"/instances/{instance}/file", timeout=20).status == 200
    assert state(area)["refused"] == []


def test_an_area_comes_with_the_start(area: Orthanc) -> None:
    """Later registrations have no effect in Orthanc, so they raise."""
    assert "only while it starts" in area.http.get("/late").text


def server_of(orthanc_server: OrthancFactory, name: str, **settings: Any) -> Orthanc:
    """Start a server of its own with one of the styles."""
    return orthanc_server(
        SCRIPT, errors=["."], config=CONFIG, environment={"STYLE": name}, **settings
    )


def test_ranges(orthanc_server: OrthancFactory, dicom_file: Path) -> None:
    """With read_range, Orthanc reads exactly what it needs, and a short answer is an error."""
    server = server_of(orthanc_server, "class")
    instance = server.upload(dicom_file)["ID"]
    paths = [f"/instances/{instance}/tags", f"/instances/{instance}/file"]
    behave(server, range="short")
    # Which of them Orthanc reads in parts depends on its version.
    assert {server.http.get(path).status for path in paths} != {200}
    server.wait_log("bytes from 0 on, 1 came back")
    behave(server)
    assert server.http.get(paths[0]).status == 200
    assert server.http.get(paths[1]).body == dicom_file.read_bytes()
    ranges = [call for call in state(server)["calls"] if call[0] == "range"]
    assert ranges
    assert all(call[5] <= dicom_file.stat().st_size for call in ranges)


def test_a_slow_create(orthanc_server: OrthancFactory, dicom_file: Path) -> None:
    """A create beyond its timeout refuses the file; so does one that returns False."""
    server = server_of(orthanc_server, "class")
    behave(server, create="slow")
    assert server.http.post("/instances", dicom_file.read_bytes()).status == 500
    server.wait_log(r"Memory\.create \(@storage\.area\).*has not answered within 1 s")
    behave(server, create="false")
    assert server.http.post("/instances", dicom_file.read_bytes()).status == 500
    server.wait_log("returned False, where nothing is expected")
    assert server.http.get("/instances").json() == []


def test_two_areas(orthanc_server: OrthancFactory) -> None:
    """There is one storage area; the error names both places."""
    text = """
        import orthanc

        def make(*arguments): ...

        orthanc.RegisterStorageArea(make, make, make)
        async def create_2(*arguments): ...
        orthanc.RegisterStorageArea2(create_2, make, None, make)
    """
    log = orthanc_server.fails(text).log
    assert "only one handler" in log
    assert "script.make (storage area)" in log
    assert "script.create_2 (storage area)" in log
    assert "script.py:4" in log
    assert "script.py:7" in log


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("orthanc.RegisterStorageArea(print, print, 3)", "not int"),
        ("storage.area(object())", "needs a method create(self, uuid, content_type, data)"),
        ("storage.area(timeout=0)", "timeout must be above 0"),
    ],
)
def test_wrong_areas(orthanc_server: OrthancFactory, code: str, message: str) -> None:
    """What is no storage area keeps Orthanc from starting, and the log says what is missing."""
    log = orthanc_server.fails(f"import orthanc\nfrom orthanc_async import storage\n{code}\n").log
    assert message in log


DISK = """
import os
import orthanc
from orthanc_async import rest, storage

FOLDER = os.environ["FOLDER"]

@storage.area
class Disk:
    def path(self, uuid):
        return os.path.join(FOLDER, uuid)
    async def create(self, uuid, content_type, data):
        with open(self.path(uuid), "wb") as file:
            file.write(data)
    async def read(self, uuid, content_type):
        with open(self.path(uuid), "rb") as file:
            return file.read()
    async def remove(self, uuid, content_type):
        os.remove(self.path(uuid))
"""


def test_start_stop_and_reset(
    orthanc_server: OrthancFactory, dicom_files: list[Path], tmp_path: Path
) -> None:
    """The area serves after /tools/reset and after a restart of Orthanc."""
    folder = tmp_path / "files"
    folder.mkdir()
    settings: dict[str, Any] = {
        "config": {**CONFIG, "StorageCompression": True},
        "environment": {"FOLDER": str(folder)},
        "storage": tmp_path / "index",
    }
    server = orthanc_server(DISK, **settings)
    sent = {server.upload(file)["ID"]: file.read_bytes() for file in dicom_files[:3]}
    for number in (2, 3):
        assert server.http.post("/tools/reset", "{}").status == 200
        server.wait_log("main.cpp.*Orthanc has started", count=number, timeout=30)
        assert set(server.http.get("/instances").json()) == set(sent)
    read = {instance: server.http.get(f"/instances/{instance}/file").body for instance in sent}
    assert read == sent
    server.stop()
    server = orthanc_server(DISK, **settings)
    read = {instance: server.http.get(f"/instances/{instance}/file").body for instance in sent}
    assert read == sent
    for instance in sent:
        server.http.delete(f"/instances/{instance}")
    assert list(folder.iterdir()) == []


def test_stop_while_a_file_is_stored(orthanc_server: OrthancFactory, dicom_file: Path) -> None:
    """A create that never ends does not keep Orthanc from stopping; its sender sees a failure."""
    server = server_of(orthanc_server, "async")
    behave(server, create="slow")
    with ThreadPoolExecutor() as threads:
        upload = threads.submit(server.http.post, "/instances", dicom_file.read_bytes())
        server.wait_json("/area", lambda found: found["calls"])
        server.stop()
        assert upload.result(timeout=30).status == 500


def test_a_sender_when_the_script_has_ended(
    orthanc_server: OrthancFactory, dicom_file: Path
) -> None:
    """What a modality sends when only Orthanc's own end is left is refused, and not in silence."""
    server = server_of(orthanc_server, "async", dicom_port=0)
    dataset = pydicom.dcmread(dicom_file)
    sender = AE("STORESCU")  # whom the configuration knows
    sender.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = sender.associate("127.0.0.1", server.dicom_port)
    assert association.is_established
    assert association.send_c_store(dataset).Status == 0
    with ThreadPoolExecutor() as threads:
        stop = threads.submit(server.stop)
        # Orthanc closes its HTTP port when ORTHANC_STOPPED has returned.
        wait_refused(server.http_port)
        answer = association.send_c_store(dataset)
        association.abort()
        stop.result(timeout=30)
    if "Status" in answer:  # else Orthanc was faster and has closed the association
        assert answer.Status != 0
        assert "the storage area of the script is not there" in server.log_text()


def wait_refused(port: int) -> None:
    """Wait until nobody listens there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            return
        time.sleep(0.01)
    pytest.fail(f"port {port} is still open")


def test_stored_while_orthanc_starts_and_stops(
    orthanc_server: OrthancFactory, dicom_file: Path
) -> None:
    """An `async def` area serves what the script's own start and end store, read and remove."""
    text = (
        DISK.replace('os.environ["FOLDER"]', "os.getcwd()")
        + f"""
import json
from orthanc_async import on_shutdown, on_startup

@on_startup
async def first():
    await store("started")

@on_shutdown
async def last():
    await store("stopped")

async def store(when):
    data = open({str(dicom_file)!r}, "rb").read()
    instance = json.loads(await orthanc.rest_api_post("/instances", data))["ID"]
    data = await orthanc.rest_api_get(f"/instances/{{instance}}/file")
    await orthanc.rest_api_delete(f"/instances/{{instance}}")
    orthanc.LogWarning(f"{{when}}: stored and removed {{len(data)}} bytes")
"""
    )
    server = orthanc_server(text, config=CONFIG)
    server.wait_log(f"started: stored and removed {dicom_file.stat().st_size} bytes")
    server.stop()
    server.wait_log(f"stopped: stored and removed {dicom_file.stat().st_size} bytes")
