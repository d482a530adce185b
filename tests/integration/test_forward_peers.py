"""Destinations with real peers: Orthanc with DICOMweb, as modality and as peer, and S3."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from integration.forward_s3 import client, make_user, moto
from orthanc_async._server_net import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).with_name("forward_script.py")
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SECRET = "an-s3-secret-of-this-test"


def held(server: Any) -> dict[str, bytes]:
    """Return all files of an Orthanc by their identifiers."""
    found = server.http.get("/instances").json()
    return {name: server.http.get(f"/instances/{name}/file").body for name in found}


@pytest.fixture
def target(orthanc_server: Any) -> Any:
    """An Orthanc that takes all: DICOMweb, C-STORE, REST."""
    return orthanc_server(
        plugins=[DICOMWEB],
        dicom_port=0,
        config={"DicomAlwaysAllowStore": True, "DicomCheckModalityHost": False},
    )


@pytest.fixture
def source(orthanc_server: Any, target: Any) -> Any:
    """An Orthanc with our plugin, that knows the target."""
    return orthanc_server(
        SCRIPT,
        environment={"TARGET": target.url},
        config={
            "DicomModalities": {"target": ["TARGET", "127.0.0.1", target.dicom_port]},
            "OrthancPeers": {"target": [f"{target.url}/"]},
        },
        dicom_port=0,
    )


def send(source: Any, kind: str) -> dict[str, Any]:
    """Send the one study there is."""
    (study,) = source.http.get("/studies").json()
    answer = source.http.post(f"/send/{kind}/{study}")
    assert answer.status == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.mark.parametrize("kind", ["dicomweb", "modality", "peer"])
def test_a_study_arrives(source: Any, target: Any, dicom_files: list[Path], kind: str) -> None:
    """The other side holds the study, byte for byte where no DICOM association is between."""
    for file in dicom_files:
        source.upload(file)
    assert send(source, kind) == {}
    there, here = held(target), held(source)
    assert there.keys() == here.keys()
    assert len(there) == 11
    if kind != "modality":
        assert there == here
    for name, stored in there.items():
        one, other = (pydicom.dcmread(io.BytesIO(data)) for data in (stored, here[name]))
        assert one == other
    assert send(source, kind) == {}, "a second time does no harm"


def test_an_instance_that_is_refused(
    orthanc_server: Any, dicom_files: list[Path], tmp_path: Path
) -> None:
    """What a DICOMweb server does not store is named with its reason; the rest is there."""
    script = tmp_path / "refuse.py"
    refused = pydicom.dcmread(dicom_files[4]).SOPInstanceUID
    script.write_text(
        "from orthanc_async import incoming\n"
        "@incoming.instance_filter\n"
        "def check(dicom):\n"
        f"    assert {str(refused)!r} not in dicom.GetInstanceSimplifiedJson()\n"
        "    return True\n"
    )
    from orthanc_async._server_config import plugin_library

    target = orthanc_server(script, plugins=[DICOMWEB, plugin_library()], errors=[".*"])
    source = orthanc_server(SCRIPT, environment={"TARGET": target.url})
    for file in dicom_files:
        source.upload(file)
    result = send(source, "dicomweb")
    assert len(held(target)) == 10, result
    assert str(refused) in result["text"]
    assert "1 of 11" in result["text"]


def test_a_modality_that_is_not_there(orthanc_server: Any, dicom_file: Path) -> None:
    """A modality that does not answer, and one that is not known, are named."""
    source = orthanc_server(
        SCRIPT,
        config={
            "DicomModalities": {"target": ["TARGET", "127.0.0.1", free_port()]},
            "OrthancPeers": {"other": ["http://127.0.0.1:1/"]},
        },
        errors=[".*"],
    )
    source.upload(dicom_file)
    result = send(source, "modality")
    assert result["error"] == "Down"
    assert "TCP Initialization Error" in result["text"]  # DCMTK's words
    result = send(source, "peer")
    assert result["error"] == "RetryLater"
    assert "knows no 'target'" in result["text"]


def test_anonymized_on_the_way(source: Any, target: Any, dicom_files: list[Path]) -> None:
    """Nothing identifies the patient, the study stays together, and a second time is the same."""
    for file in dicom_files:
        source.upload(file)
    assert send(source, "anonymous") == {}
    first = held(target)
    assert len(first) == 11
    assert send(source, "anonymous") == {}
    assert held(target).keys() == first.keys()
    assert len(target.http.get("/studies").json()) == 1
    originals = [pydicom.dcmread(io.BytesIO(data)) for data in held(source).values()]
    copies = [pydicom.dcmread(io.BytesIO(data)) for data in first.values()]
    assert len(target.http.get("/series").json()) == len(source.http.get("/series").json())
    old = {
        str(element.value)
        for data in originals
        for element in data.iterall()
        if element.VR == "UI" and "Class" not in element.name and not
        str(element.value).startswith("1.2.840.10008.")
    }  # fmt: skip
    for copy in copies:
        assert copy.StudyDescription == originals[0].StudyDescription
        assert copy.PatientName != originals[0].PatientName
        assert copy.PatientID == str(copy.PatientName) == copies[0].PatientID
        assert copy.SOPInstanceUID == copy.file_meta.MediaStorageSOPInstanceUID
        values = {str(element.value) for element in copy.iterall() if element.VR == "UI"}
        assert not values & old
        # A reference to another instance still leads to it.
        for element in copy.iterall():
            if element.keyword == "FrameOfReferenceUID":
                assert element.value.startswith("2.25.")
    frames = {data.get("FrameOfReferenceUID") for data in originals}
    assert len({copy.get("FrameOfReferenceUID") for copy in copies}) == len(frames)


@pytest.fixture
def s3() -> Iterator[str]:
    """A server that speaks like S3."""
    with moto() as url:
        yield url


def test_s3(orthanc_server: Any, s3: str, dicom_files: list[Path]) -> None:
    """Each instance is an object; signatures are verified; secrets are in no log."""
    keys = make_user(s3)
    bucket = client(s3, "s3", keys)
    bucket.create_bucket(Bucket="studies")
    source = orthanc_server(
        SCRIPT,
        environment={
            "S3": s3, "S3_KEY": keys["AccessKeyId"], "S3_SECRET": keys["SecretAccessKey"],
        },
        verbose=True,
    )  # fmt: skip
    uids = {}
    for file in dicom_files:
        identifier = source.upload(file)["ID"]
        data = pydicom.dcmread(file)
        key = f"{data.StudyInstanceUID}/{data.SeriesInstanceUID}/{data.SOPInstanceUID}.dcm"
        uids[key] = identifier
    assert send(source, "s3") == {}
    listed = bucket.list_objects_v2(Bucket="studies")["Contents"]
    assert {one["Key"] for one in listed} == uids.keys()
    here = held(source)
    for key, identifier in uids.items():
        body = bucket.get_object(Bucket="studies", Key=key)["Body"].read()
        assert body == here[identifier]
    assert send(source, "anonymous-s3") == {}
    names = {one["Key"] for one in bucket.list_objects_v2(Bucket="studies")["Contents"]}
    new = names - uids.keys()
    assert len(new) == 11
    assert all(re.fullmatch(r"[0-9A-F]{16}/[0-9a-f-]{44}/2\.25\.\d+", name) for name in new)
    assert len({name.rpartition("/")[0] for name in new}) == 1
    assert keys["SecretAccessKey"] not in source.log_text()

    wrong = orthanc_server(
        SCRIPT,
        environment={"S3": s3, "S3_KEY": keys["AccessKeyId"], "S3_SECRET": SECRET},
        verbose=True,
    )
    wrong.upload(dicom_files[0])
    result = send(wrong, "s3")
    assert result["error"] == "GiveUp"
    assert "SignatureDoesNotMatch" in result["text"]
    assert SECRET not in wrong.log_text() + result["text"]


def test_an_instance_that_is_gone(orthanc_server: Any, tmp_path: Path) -> None:
    """Orthanc says of a file that is not there that it is an unknown resource."""
    script = """
        import orthanc
        from orthanc_async import rest
        from orthanc_async.forward import _source

        @rest.get("/read")
        async def read(request):
            try:
                await _source.load(_source.Item("1" * 8, "", "", 1, ""), None)
            except orthanc.OrthancException as error:
                same = error.code == orthanc.ErrorCode.UNKNOWN_RESOURCE
                return {"code": error.code, "same": same}
    """
    server = orthanc_server(script, errors=["invoking plugin service"])
    assert server.http.get("/read").json() == {"code": 17, "same": True}
