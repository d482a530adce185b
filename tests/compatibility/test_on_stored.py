"""Handlers of stored instances in the official plugin's style, on both plugins."""

from __future__ import annotations

import io
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pydicom.data
import pydicom.uid
import pytest

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter
    from integration.conftest import Orthanc

SCRIPT = Path(__file__).with_name("on_stored_script.py")


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter) -> Pair:
    """Both plugins with the same script; ours first."""
    text = SCRIPT.read_text("utf-8")
    settings: dict[str, Any] = {"dicom_port": 0, "config": {"OverwriteInstances": True}}
    return ours(text, **settings), official(text, **settings)


def dicom(patient: str) -> bytes:
    """Give a CT image of pydicom's with another patient and identifier."""
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm") or "")
    dataset.PatientName = patient
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def calls(server: Orthanc, instance: str) -> list[dict[str, Any]]:
    """Give what the handler has noted for an instance; it has ended when the upload has."""
    result: list[dict[str, Any]] = server.http.get(f"/calls/{instance}").json()
    return result


def store(server: Orthanc, data: bytes) -> tuple[str, dict[str, Any]]:
    """Upload a file; give its identifier and what the handler has noted in its first call."""
    instance = server.upload(data)["ID"]
    return instance, calls(server, instance)[0]


def test_read(pair: Pair) -> None:
    """Each method gives the same values and types, and the same errors."""
    data = dicom("read")
    (_, mine), (_, other) = (store(server, data) for server in pair)
    assert other["read"]["data"] == mine["read"]["data"]
    assert mine["read"]["size"] == ["int", str(len(data))]
    # The official plugin does not look at the arguments of a method that takes none.
    assert (mine["too many"], other["too many"]) == ("TypeError", mine["read"]["size"])
    for topic in ("read", "surroundings"):
        for key, value in other[topic].items():
            assert (key, mine[topic][key]) == (key, value)


def test_surroundings(pair: Pair) -> None:
    """Both run it in place, on a foreign thread whose threads are daemons, with REST at hand."""
    for server in pair:
        _, call = store(server, dicom("read"))
        found = call["surroundings"]
        assert (found["thread"], found["daemon"]) == ("_DummyThread", True)
        assert found["run"]
        assert found["stored"] == found["dicom"] == call["read"]["data"]
        assert found["unknown"] == found["plugin bypassed"] == ["OrthancException", 2, 17]
        assert found["after plugins"][0] == "bytes"
        assert call["id"] == "str"


def test_c_store(pair: Pair, tmp_path: Path) -> None:
    """What came by C-STORE tells who sent it, alike."""
    data = dicom("read")
    (tmp_path / "file.dcm").write_bytes(data)
    found = []
    for server in pair:
        command = ["storescu", "-aet", "STORESCU", "-aec", "RECEIVER", "127.0.0.1"]
        command += [str(server.dicom_port), str(tmp_path / "file.dcm")]
        subprocess.run(command, check=True, timeout=30)
        [instance] = server.http.post(
            "/tools/lookup", pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID
        ).json()
        [call] = calls(server, instance["ID"])
        found.append(call["read"])
    assert found[0] == found[1]
    assert found[0]["metadata"]["RemoteAET"] == "STORESCU"
    assert found[0]["metadata"]["CalledAET"] == "RECEIVER"


def test_nested(pair: Pair) -> None:
    """Uploads inside the handler, of the same and of other instances, call it on its thread."""
    for server in pair:
        instance, first = store(server, dicom("nest"))
        assert first["again"] == "Success"
        own = calls(server, instance)
        assert [call["depth"] for call in own] == [1, 2, 3]
        [inner, again] = calls(server, first["inner"])
        assert (inner["depth"], again["depth"]) == (2, 3)
        assert {call["ident"] for call in (*own, inner, again)} == {first["ident"]}


def test_delete(pair: Pair) -> None:
    """The handler deletes its instance, and the object still tells."""
    for server in pair:
        data = dicom("delete")
        instance, call = store(server, data)
        assert call["after"][:2] == ["bytes", len(data)]
        assert server.http.get(f"/instances/{instance}").status == 404


@pytest.mark.parametrize("patient", ["raise", "sdk error", "nonsense"])
def test_what_goes_wrong(pair: Pair, patient: str) -> None:
    """A handler that raises or returns nonsense changes nothing for the sender."""
    for server in pair:
        instance, _ = store(server, dicom(patient))
        assert server.http.get(f"/instances/{instance}").status == 200
        if patient != "nonsense":
            server.wait_log({"raise": "refused on purpose", "sdk error": "raised-here"}[patient])


def test_another_thread(pair: Pair) -> None:
    """A thread that the handler waits for uses the instance."""
    data = dicom("thread")
    (_, mine), (_, other) = (store(server, data) for server in pair)
    assert mine["read"] == other["read"]


def test_many_uploads(pair: Pair) -> None:
    """Several uploads at once, nesting ones among them, each have their own call."""
    for server in pair:
        files = [dicom("nest" if number % 2 else "plain") for number in range(12)]
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(server.upload, files))
        for number, answer in enumerate(answers):
            depths = [call["depth"] for call in calls(server, answer["ID"])]
            assert depths == ([1, 2, 3] if number % 2 else [1])


def test_second_registration(pair: Pair) -> None:
    """A second handler is welcome with ours; the official plugin refuses it."""
    mine, other = (server.http.get("/again").json() for server in pair)
    assert mine == ["NoneType", "None"]
    assert other == "RuntimeError"
