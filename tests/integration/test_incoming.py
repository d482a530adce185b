"""Received instances, instance filters and C-STORE filters, as their senders see them."""

from __future__ import annotations

import base64
import http.server
import io
import json
import re
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pydicom.uid
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("incoming_script.py")
EXAMPLE = Path(__file__).parents[2] / "examples" / "deidentify.py"
REFUSED = "Refused: OutOfResources"  # 0xA700
RECEIVED = [
    "received_def",
    "received_async",
    "received_decorated_def",
    "received_decorated_async",
]
DICOM = [name.replace("received", "dicom") for name in RECEIVED]
C_STORE = [name.replace("received", "c_store") for name in RECEIVED]


@pytest.fixture(scope="module")
def shared(shared_orthanc: OrthancFactory) -> Orthanc:
    """One Orthanc for all tests, whose errors are provoked."""
    return shared_orthanc(SCRIPT, dicom_port=0, errors=["."])


@pytest.fixture
def server(shared: Orthanc) -> Iterator[Orthanc]:
    """The same with nothing stored, where every handler lets pass."""
    tell(shared)
    yield shared
    tell(shared)
    for instance in shared.http.get("/instances").json():
        shared.http.delete(f"/instances/{instance}")


@pytest.fixture
def file(dicom_file: Path, tmp_path: Path) -> Path:
    """A DICOM file that Orthanc has not seen."""
    dataset = pydicom.dcmread(dicom_file)
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName = "Name"
    file = tmp_path / "new.dcm"
    dataset.save_as(file)
    return file


def tell(server: Orthanc, **mode: str) -> None:
    """Set what handlers do."""
    assert server.http.post("/mode", json.dumps(mode)).status == 200


def notes(server: Orthanc) -> Any:
    """Return what handlers have noted."""
    return server.http.get("/notes").json()


def store(server: Orthanc, file: Path, sender: str = "STORESCU") -> str:
    """Send by C-STORE; return the status in dcmtk's words."""
    command = ["storescu", "-v", "-aet", sender, "127.0.0.1", str(server.dicom_port), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    output = result.stdout + result.stderr
    status = re.search(r"Received Store Response \((.*)\)", output)
    assert status, output
    assert (result.returncode == 0) == (status[1] == "Success"), output
    return status[1]


def count(server: Orthanc) -> int:
    """Return how many instances are stored."""
    return int(server.http.get("/statistics").json()["CountInstances"])


REFUSALS = [
    *[(name, "1/0") for name in [*RECEIVED, *DICOM]],
    *[(name, "3") for name in [*RECEIVED, *DICOM]],
    *[(name, "slow()") for name in [*RECEIVED, *DICOM] if name.endswith("decorated_async")],
    # A coroutine that a `def` returns.
    ("received_def", "slow()"),
    ("received_def", "None"),
    ("received_def", "(MODIFY, None)"),
    ("received_def", "(MODIFY, b'')"),
    ("received_async", "(MODIFY, b'')"),
    ("received_async", "(MODIFY, 'text')"),
    ("received_async", "(7, None)"),
    ("received_async", "(KEEP,)"),
    ("received_async", "[DISCARD, None]"),
    ("received_async", "(None, None)"),
    ("received_decorated_def", "b''"),
    ("received_decorated_async", "(KEEP, None)"),
    ("dicom_def", "None"),
    ("dicom_async", "-1"),
    ("dicom_async", "'1'"),
    ("dicom_async", "10**30"),
    ("dicom_decorated_def", "1"),
]


@pytest.mark.parametrize(("name", "does"), REFUSALS)
def test_refused(server: Orthanc, file: Path, name: str, does: str) -> None:
    """A handler that fails refuses: both kinds of senders see a failure, and nothing is stored."""
    before = len(re.findall(rf"\b{name} .*: refused$", server.log_text(), re.MULTILINE))
    tell(server, **{name: does})
    assert server.http.post("/instances", file.read_bytes()).status == 500
    assert store(server, file) == REFUSED
    assert count(server) == 0
    server.wait_log(rf"\b{name} .*: refused$", count=before + 2)


C_STORE_REFUSALS = [
    *[(name, "1/0") for name in C_STORE],
    *[(name, "'x'") for name in C_STORE],
    ("c_store_decorated_async", "slow()"),
    ("c_store_def", "None"),
    ("c_store_def", "True"),
    ("c_store_async", "0x10000"),
    ("c_store_async", "-1"),
    # Statuses of success and warning, with which the instance would be lost.
    ("c_store_decorated_def", "0x0001"),
    ("c_store_decorated_def", "0xB000"),
    ("c_store_decorated_async", "0x0107"),
]


@pytest.mark.parametrize(("name", "does"), C_STORE_REFUSALS)
def test_c_store_refused(server: Orthanc, file: Path, name: str, does: str) -> None:
    """A C-STORE filter that fails refuses with 0xA700, and does not concern uploads by HTTP."""
    tell(server, **{name: does})
    assert store(server, file) == REFUSED
    assert count(server) == 0
    server.upload(file)
    assert count(server) == 1


@pytest.mark.parametrize("name", C_STORE)
def test_c_store_status(server: Orthanc, file: Path, name: str) -> None:
    """The sender gets the status that a filter returns, and later filters are not asked."""
    tell(server, **{name: "0x0122"})
    assert "SOPClassNotSupported" in store(server, file) or "0x122" in store(server, file)
    assert count(server) == 0
    assert notes(server)["seen"][-1] == name
    tell(server)
    assert store(server, file) == "Success"
    assert count(server) == 1
    asked = [name for name in notes(server)["seen"] if name.startswith("c_store")]
    assert asked == C_STORE


@pytest.mark.parametrize("name", [*RECEIVED, *DICOM])
def test_discarded(server: Orthanc, file: Path, name: str) -> None:
    """A handler that discards on purpose ends the matter, and the sender is told success."""
    discards = {"received_def": "(DISCARD, None)", "received_async": "(DISCARD, None)"}
    default = "Discard()" if name.startswith("received") else "False"
    tell(server, **{name: discards.get(name, default)})
    assert server.http.post("/instances", file.read_bytes()).status == 200
    assert notes(server)["seen"][-1] == name
    assert store(server, file) == "Success"
    assert notes(server)["seen"][-1] == name
    assert count(server) == 0


def test_pipeline(server: Orthanc, file: Path) -> None:
    """Each handler gets what the one before has made of the instance."""
    tell(
        server,
        received_def="(MODIFY, renamed_bytes(it, 'A'))",
        received_async="(MODIFY, memoryview(bytearray(renamed_bytes(it, 'B'))))",
        received_decorated_def="renamed(it.data, 'C')",
        received_decorated_async="bytearray(renamed_bytes(it.data, 'D'))",
        dicom_async="described(it, 1)",
    )
    stored = server.upload(file)
    data = server.http.get(f"/instances/{stored['ID']}/file").body
    assert str(pydicom.dcmread(io.BytesIO(data)).PatientName) == "NameABCD"
    found = notes(server)
    assert found["dicom"]["name"] == "NameABCD"
    assert found["origin"] == ["bytes", "<InstanceOrigin.REST_API: 3>"]
    assert [name for name in found["seen"] if name.startswith("received")] == RECEIVED


def test_kept(server: Orthanc, file: Path) -> None:
    """What all handlers keep is stored as it came, byte for byte."""
    stored = server.upload(file)
    assert server.http.get(f"/instances/{stored['ID']}/file").body == file.read_bytes()
    assert notes(server)["seen"] == [*RECEIVED, *DICOM]


@pytest.mark.parametrize(
    ("name", "answer"), [("dicom_async", 1), ("c_store_async", 0), ("dicom_decorated_async", True)]
)
def test_borrowed(server: Orthanc, file: Path, name: str, answer: int) -> None:
    """A filter on the loop reads the borrowed instance, which is no longer usable afterwards."""
    tell(server, **{name: f"described(it, {answer!r})"})
    assert store(server, file) == "Success"
    found = notes(server)
    data = base64.b64decode(found["dicom"]["data"])
    assert str(pydicom.dcmread(io.BytesIO(data)).PatientName) == found["dicom"]["name"] == "Name"
    assert found["dicom"]["size"] == found["dicom"]["same"] == len(data)
    assert found["dicom"]["aet"] == "STORESCU"
    assert found["dicom"]["origin"] == "DICOM_PROTOCOL"
    assert "was called after the call it belongs to has ended" in found["late"]


@pytest.mark.parametrize(
    ("name", "does"),
    [
        ("received_async", "tries(it)"),
        ("dicom_async", "tries(b'')"),
        ("c_store_async", "tries(b'')"),
    ],
)
def test_what_would_hang(server: Orthanc, file: Path, name: str, does: str) -> None:
    """What waits for the lock of the sender's thread raises inside an `async def` handler."""
    tell(server, **{name: does})
    store(server, file)
    hangs = notes(server)["hangs"]
    assert "RestApiGet('/system') inside" in hangs["system"]
    assert "would wait for ever" in hangs["system"]
    assert "RestApiPost('/instances'" in hangs["store"]
    assert "GenerateRestApiAuthorizationToken() inside" in hangs["token"]
    assert hangs["statistics"] == "ok"


@pytest.mark.parametrize("name", ["received_def", "dicom_def", "c_store_def"])
def test_def_stores(server: Orthanc, file: Path, name: str) -> None:
    """A `def` handler may store another instance: the lock is its own thread's."""
    keep = {"received_def": "(KEEP, None)", "dicom_def": "1", "c_store_def": "0"}[name]
    other = pydicom.dcmread(file)
    other.SOPInstanceUID = pydicom.uid.generate_uid()
    other.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    path = file.with_name("other.dcm")
    other.save_as(path)
    data = f"renamed_bytes(open({str(path)!r}, 'rb').read(), 'X')"
    once = f"seen.count({name!r}) == 1"
    tell(
        server,
        **{
            name: f"[{once} and orthanc.RestApiGet('/system') and "
            f"orthanc.RestApiPost('/instances', {data}), {keep}][-1]"
        },
    )
    assert store(server, file) == "Success"
    assert count(server) == 2


def test_stop_while_one_is_pending(orthanc_server: OrthancFactory, file: Path) -> None:
    """Orthanc stops although a handler waits; its sender sees a failure and nothing is stored."""
    server = orthanc_server(SCRIPT, dicom_port=0, errors=["."])
    tell(server, received_async="held()")
    answers: list[str] = []
    sender = threading.Thread(target=lambda: answers.append(store(server, file)))
    sender.start()
    server.wait_json("/notes", lambda found: "received_async" in found["seen"])
    server.stop()
    sender.join(30)
    assert answers == [REFUSED]
    assert server.exit_code == 0
    assert not any(path.is_file() for path in server.storage.glob("??/??/*"))


def test_reset(orthanc_server: OrthancFactory, file: Path) -> None:
    """After /tools/reset the new session's handlers are asked, once each."""
    server = orthanc_server(SCRIPT, dicom_port=0, errors=["."])
    assert server.http.post("/tools/reset", "{}").status == 200
    server.wait_log("Orthanc has started", count=2)
    assert store(server, file) == "Success"
    assert notes(server)["seen"] == [*RECEIVED, *DICOM, *C_STORE]
    tell(server, received_async="1/0")
    assert server.http.post("/instances", file.read_bytes()).status == 500


def test_accept(orthanc_server: OrthancFactory, file: Path) -> None:
    """With OnFilterError "accept" failing handlers are left out, which the log says."""
    server = orthanc_server(
        SCRIPT, dicom_port=0, errors=["."], config={"Python": {"OnFilterError": "accept"}}
    )
    assert 'OnFilterError is "accept"' in server.log_text()
    tell(
        server,
        received_def="(MODIFY, renamed_bytes(it, 'A'))",
        received_async="1/0",
        received_decorated_async="slow()",
        dicom_def="1/0",
        c_store_async="'x'",
    )
    assert store(server, file) == "Success"
    [stored] = server.http.get("/instances").json()
    data = server.http.get(f"/instances/{stored}/file").body
    assert str(pydicom.dcmread(io.BytesIO(data)).PatientName) == "NameA"
    for name in ("received_async", "received_decorated_async", "dicom_def", "c_store_async"):
        server.wait_log(rf"\b{name} .*let through without it")


def test_hooks_store(orthanc_server: OrthancFactory, file: Path) -> None:
    """What on_startup and on_shutdown store is handled, as the hooks' own calls wait for it."""
    server = orthanc_server(
        f"""
        from pathlib import Path
        import orthanc
        from orthanc_async import on_received_instance, on_shutdown, on_startup

        data = Path({str(file)!r}).read_bytes()
        ready = []

        @on_received_instance
        async def received(instance):
            orthanc.LogWarning(f"received, ready: {{ready}}")

        @on_startup
        async def start():
            await orthanc.rest_api_post("/instances", data)
            ready.append(True)

        @on_shutdown
        async def stop():
            await orthanc.rest_api_post("/instances", data)
            orthanc.LogWarning("stored at the stop")
        """,
        dicom_port=0,
    )
    # A C-STORE that comes before waits for the hook, with the lock that the hook's own call needs.
    server.wait_log(r"received, ready: \[\]")
    assert store(server, file) == "Success"
    assert server.wait_log(r"received, ready: .*", count=2) == [
        "received, ready: []",
        "received, ready: [True]",
    ]
    server.stop()
    server.wait_log("stored at the stop")
    server.wait_log("received, ready: ", count=3)


@pytest.fixture
def authorization() -> Iterator[tuple[str, list[str]]]:
    """A web service that allows who has the right token; its address, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            right = self.headers["Authorization"] == "Bearer right"
            self.send_response(200 if right else 403)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Be quiet."""

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{service.server_port}/authorize", asked
    finally:
        service.shutdown()
        thread.join()
        service.server_close()


def test_example(
    orthanc_server: OrthancFactory, file: Path, authorization: tuple[str, list[str]]
) -> None:
    """The example takes names out, refuses unknown senders, and asks its service once a minute."""
    url, asked = authorization
    server = orthanc_server(
        EXAMPLE,
        dicom_port=0,
        environment={"AUTHORIZE_URL": url},
        errors=["."],
        config={"DicomModalities": {"ct": ["HOSPITAL_CT", "127.0.0.1", 104]}},
    )
    asked.clear()  # the start has asked too
    right = {"Authorization": "Bearer right"}
    assert server.http.get("/system").status == 403
    assert [server.http.get("/system", headers=right).status for _ in range(3)] == [200] * 3
    assert asked.count("/authorize?uri=/system&method=GET") == 2
    assert "NotAuthorized" in (status := store(server, file)) or "0x124" in status
    assert store(server, file, "HOSPITAL_CT") == "Success"
    [stored] = server.http.get("/instances", headers=right).json()
    tags = server.http.get(f"/instances/{stored}/simplified-tags", headers=right).json()
    assert tags["PatientName"] == ""
    assert tags["PatientID"]
