"""DICOMweb documents, with a function that decides how binary tags are written."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("dicom_web_script.py")
FORMS = pytest.mark.parametrize("form", ["loop", "thread", "awaited"])
BULK = (0x0042, 0x0011)  # EncapsulatedDocument, OB


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """One Orthanc for all of them."""
    return shared_orthanc(SCRIPT, errors=["Not a valid DICOM|Bad file format|DCMTK"])


@pytest.fixture(scope="module")
def file(dicom_file: Path) -> bytes:
    """A DICOM file with two binary tags, one of them inside a sequence."""
    dataset = pydicom.dcmread(dicom_file)
    dataset.add_new(BULK, "OB", b"abcd")
    item, inner = Dataset(), Dataset()
    inner.add_new(BULK, "OB", b"wxyz")
    item.ReferencedSeriesSequence = Sequence([Dataset(), inner])
    dataset.ReferencedStudySequence = Sequence([item])
    target = io.BytesIO()
    dataset.save_as(target)
    return target.getvalue()


def encode(server: Orthanc, form: str, function: str, mode: str, file: bytes) -> Any:
    """Have the script encode a file."""
    return server.http.post(f"/encode/{form}/{function}/{mode}", file).json()


@FORMS
@pytest.mark.parametrize(
    "function", ["EncodeDicomWebJson", "EncodeDicomWebJson2", "GetInstanceDicomWebJson"]
)
def test_json(server: Orthanc, file: bytes, form: str, function: str) -> None:
    """The function gets each binary tag with its place, and decides how it is written."""
    answer = encode(server, form, function, "uri", file)
    document = json.loads(answer["document"])
    dataset = pydicom.dcmread(io.BytesIO(file))
    assert document["00100020"] == {"vr": "LO", "Value": [dataset.PatientID]}
    assert document["00420011"] == {"vr": "OB", "BulkDataURI": "../bulk/00420011"}
    assert [[], "00420011", "OB"] in answer["calls"]
    levels = [[0x0008, 0x1110, 0], [0x0008, 0x1115, 1]]
    assert [levels, "00420011", "OB"] in answer["calls"]
    assert "7fe00010" in [tag for _, tag, _ in answer["calls"]]
    assert answer["late"].startswith("RuntimeError: orthanc.DicomWebNode.SetBinaryNode()")


def test_inline_and_nothing(server: Orthanc, file: bytes) -> None:
    """Inline, the bytes stand in the document; a tag for which nobody decides is left out."""
    answer = encode(server, "thread", "EncodeDicomWebJson2", "inline", file)
    inline = json.loads(answer["document"])["00420011"]
    assert base64.b64decode(inline["InlineBinary"]) == b"abcd"
    for mode in ("nothing", "none"):
        answer = encode(server, "thread", "EncodeDicomWebJson2", mode, file)
        assert "InlineBinary" not in answer["document"]
        assert "BulkDataURI" not in answer["document"]


@FORMS
@pytest.mark.parametrize(
    "function", ["EncodeDicomWebXml", "EncodeDicomWebXml2", "GetInstanceDicomWebXml"]
)
def test_xml(server: Orthanc, file: bytes, form: str, function: str) -> None:
    """The same as XML."""
    answer = encode(server, form, function, "uri", file)
    root = ElementTree.fromstring(answer["document"])
    names = [
        node.get("uri") or node.get("URI") or ""
        for node in root.iter()
        if node.tag.endswith("BulkData")
    ]
    assert names.count("../bulk/00420011") == 2


@FORMS
@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("raises", "LookupError: not this tag"),
        ("no-uri", "ValueError: orthanc.DicomWebNode.SetBinaryNode()"),
        ("async", "TypeError: the function for binary tags is called while Orthanc encodes"),
        ("number", "TypeError"),
    ],
)
def test_errors(server: Orthanc, file: bytes, form: str, mode: str, text: str) -> None:
    """What the function raises is raised where the document was asked for."""
    answer = encode(server, form, "EncodeDicomWebJson2", mode, file)
    assert text in answer["error"]
    if mode == "raises":
        assert len(answer["calls"]) == 1


def test_no_dicom(server: Orthanc) -> None:
    """What is no DICOM file raises the SDK's exception."""
    answer = encode(server, "thread", "EncodeDicomWebJson2", "none", b"no DICOM")
    assert answer["error"].startswith("OrthancException")


def test_stored_instance(server: Orthanc, file: bytes) -> None:
    """Awaited on a stored instance, the document is made of the file that is read again."""
    server.upload(file)
    patient = pydicom.dcmread(io.BytesIO(file)).PatientID
    server.wait_json("/stored", lambda value: value == [patient])
