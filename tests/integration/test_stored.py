"""Plain `def` handlers of stored instances: in place, with Orthanc's own object."""

from __future__ import annotations

import base64
import io
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pydicom
import pydicom.data
import pydicom.uid
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

# What it does is chosen by the patient's identifier of the file.
SCRIPT = """
    import asyncio, base64, json, threading
    import orthanc

    calls, kept, depth = {}, {}, threading.local()

    def read(dicom, patient):
        frame = None
        if dicom.HasInstancePixelData() and patient == "read":
            image = dicom.GetInstanceDecodedFrame(0)
            frame = {
                "width": image.GetImageWidth(),
                "height": image.GetImageHeight(),
                "pitch": image.GetImagePitch(),
                "format": int(image.GetImagePixelFormat()),
                "data": base64.b64encode(image.GetImageBuffer()).decode(),
            }
        known = ["RemoteAET", "CalledAET", "RemoteIP", "Origin", "ReceptionDate",
                 "TransferSyntax", "SopClassUid", "HttpUsername", "Nothing"]
        return {
            "data": base64.b64encode(dicom.GetInstanceData()).decode(),
            "types": [type(value).__name__ for value in (
                dicom.GetInstanceData(), dicom.GetInstanceJson(), dicom.SerializeDicomInstance())],
            "size": dicom.GetInstanceSize(),
            "json": json.loads(dicom.GetInstanceJson()),
            "simplified": json.loads(dicom.GetInstanceSimplifiedJson()),
            "advanced": json.loads(dicom.GetInstanceAdvancedJson(
                orthanc.DicomToJsonFormat.SHORT, orthanc.DicomToJsonFlags.INCLUDE_BINARY, 0)),
            "metadata": {name: dicom.GetInstanceMetadata(name)
                         for name in known if dicom.HasInstanceMetadata(name)},
            "nothing": dicom.GetInstanceMetadata("Nothing"),
            "origin": [dicom.GetInstanceOrigin().name, int(dicom.GetInstanceOrigin())],
            "aet": dicom.GetInstanceRemoteAet(),
            "syntax": dicom.GetInstanceTransferSyntaxUid(),
            "pixels": dicom.HasInstancePixelData(),
            "frames": dicom.GetInstanceFramesCount(),
            "raw": base64.b64encode(dicom.GetInstanceRawFrame(0)).decode()
                if dicom.HasInstancePixelData() else None,
            "frame": frame,
            "serialized": base64.b64encode(dicom.SerializeDicomInstance()).decode(),
        }

    async def read_awaiting(dicom):
        return [await dicom.get_instance_size(), len(await dicom.get_instance_data()),
                json.loads(await dicom.get_instance_simplified_json())["PatientID"]]

    def stored(_dicom, _which):
        patient = json.loads(_dicom.GetInstanceSimplifiedJson())["PatientID"]
        level = depth.level = getattr(depth, "level", 0) + 1
        result = {
            "depth": level,
            "ident": threading.get_ident(),
            "thread": type(threading.current_thread()).__name__,
        }
        calls.setdefault(_which, []).append(result)
        if patient.startswith("read"):
            result.update(read(_dicom, patient))
        elif patient == "nest" and level < 3:
            data = orthanc.RestApiPost("/tools/create-dicom", json.dumps(
                {"Tags": {"PatientID": "nest", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}}))
            result["inner"] = json.loads(data)["ID"]
            result["again"] = json.loads(
                orthanc.RestApiPost("/instances", _dicom.GetInstanceData()))["Status"]
        elif patient == "delete":
            orthanc.RestApiDelete("/instances/" + _which)
            result["after"] = len(_dicom.GetInstanceData())
        elif patient == "keep":
            kept["dicom"] = _dicom
        elif patient == "thread":
            got = []
            worker = threading.Thread(target=lambda: got.append(_dicom.GetInstanceData()))
            worker.start()
            worker.join()
            result["thread size"] = len(got[0])
        elif patient == "loop":
            result["awaited"] = asyncio.run(read_awaiting(_dicom))
        elif patient == "gather":
            async def several():
                return await asyncio.gather(*[
                    call() for _ in range(20) for call in (
                        _dicom.get_instance_json, _dicom.get_instance_frames_count,
                        _dicom.get_instance_simplified_json, _dicom.serialize_dicom_instance)])
            result["gathered"] = len(asyncio.run(several()))
        elif patient == "pin":
            # Calls in other threads go on when the handler has returned: each one either
            # works or says clearly that it came too late.
            result["outcomes"] = outcomes = []
            begun = threading.Barrier(5)
            def use():
                begun.wait(20)
                try:
                    while True:
                        assert len(_dicom.GetInstanceJson()) > 100
                except RuntimeError as error:
                    outcomes.append(str(error))
            for _ in range(4):
                threading.Thread(target=use).start()
            begun.wait(20)
        elif patient == "raise":
            depth.level -= 1
            raise ValueError("refused on purpose")
        depth.level -= 1

    counted = []
    orthanc.RegisterOnStoredInstanceCallback(stored)
    orthanc.RegisterOnStoredInstanceCallback(lambda dicom, instance: counted.append(instance))

    def call(output, uri, **request):
        if request["groups"][0] == "late":
            errors = {}
            for name in [name for name in dir(kept["dicom"]) if not name.startswith("_")]:
                arguments = {"GetInstanceMetadata": ["Origin"], "HasInstanceMetadata": ["Origin"],
                             "GetInstanceRawFrame": [0], "GetInstanceDecodedFrame": [0],
                             "GetInstanceAdvancedJson": [1, 0, 0],
                             "GetInstanceDicomWebJson": [None],
                             "GetInstanceDicomWebXml": [None]}.get(name, [])
                if name[0].isupper():
                    try:
                        errors[name] = repr(getattr(kept["dicom"], name)(*arguments))
                    except RuntimeError as error:
                        errors[name] = str(error)
            answer = errors
        else:
            answer = {"calls": calls.get(request["groups"][0], []),
                      "counted": counted.count(request["groups"][0])}
        output.AnswerBuffer(json.dumps(answer), "application/json")

    orthanc.RegisterRestCallback("/calls/(.*)", call)
"""


def dicom(patient: str, name: str = "CT_small.dcm") -> bytes:
    """Give one of pydicom's files with another patient and identifier."""
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file(name) or "")
    dataset.PatientID = patient
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with the script above."""
    return shared_orthanc(
        SCRIPT,
        dicom_port=0,
        config={"OverwriteInstances": True, "HttpThreadsCount": 20},
        errors=["script.stored.*raised"],
    )


def calls(server: Orthanc, instance: str) -> list[dict[str, Any]]:
    """Give what the handler has noted in its calls for an instance, in their order."""
    answer = server.http.get(f"/calls/{instance}").json()
    # The upload has returned, so both handlers have ended.
    assert answer["counted"] == len(answer["calls"]) > 0
    assert all(call["thread"] == "_DummyThread" for call in answer["calls"])
    result: list[dict[str, Any]] = answer["calls"]
    return result


def store(server: Orthanc, patient: str) -> tuple[str, dict[str, Any]]:
    """Upload a file of a patient; give its identifier and what the handler has noted."""
    instance = server.upload(dicom(patient))["ID"]
    return instance, calls(server, instance)[0]


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "test-SR.dcm"]
)
def test_read(server: Orthanc, name: str) -> None:
    """Everything that the instance tells is what pydicom reads in the uploaded bytes."""
    # Orthanc's own decoder knows no JPEG 2000.
    patient = "read raw" if name == "JPEG2000.dcm" else "read"
    data = dicom(patient, name)
    [call] = calls(server, server.upload(data)["ID"])
    dataset = pydicom.dcmread(io.BytesIO(data))
    assert bytes_of(call["data"]) == data
    assert call["types"] == ["bytes", "str", "bytes"]
    assert call["size"] == len(data)
    assert call["json"]["0010,0020"]["Value"] == patient
    assert call["json"]["0008,0018"]["Value"] == dataset.SOPInstanceUID
    assert call["simplified"]["SOPInstanceUID"] == dataset.SOPInstanceUID
    assert call["simplified"]["Modality"] == dataset.Modality
    assert call["advanced"]["0008,0060"] == dataset.Modality
    assert call["origin"] == ["REST_API", 3]
    assert call["aet"] == ""
    assert call["syntax"] == dataset.file_meta.TransferSyntaxUID
    assert call["nothing"] is None
    assert call["metadata"]["Origin"] == "RestApi"
    assert call["metadata"]["RemoteIP"] == "127.0.0.1"
    assert call["metadata"]["TransferSyntax"] == dataset.file_meta.TransferSyntaxUID
    assert call["metadata"]["SopClassUid"] == dataset.SOPClassUID
    assert pydicom.dcmread(io.BytesIO(bytes_of(call["serialized"]))) == dataset
    assert bool(call["pixels"]) == ("PixelData" in dataset)
    if "PixelData" not in dataset:
        return
    assert call["frames"] == int(dataset.get("NumberOfFrames", 1))
    size = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    line = dataset.Columns * dataset.BitsAllocated // 8
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        assert bytes_of(call["raw"]) in dataset.PixelData
        assert len(bytes_of(call["raw"])) > 100
        return
    assert bytes_of(call["raw"]) == dataset.PixelData[:size]
    frame = call["frame"]
    assert (frame["width"], frame["height"]) == (dataset.Columns, dataset.Rows)
    pixels = [
        bytes_of(frame["data"])[row * frame["pitch"] :][:line] for row in range(dataset.Rows)
    ]
    assert b"".join(pixels) == dataset.PixelData[:size]


def bytes_of(text: str) -> bytes:
    """Decode what the script has encoded."""
    return base64.b64decode(text)


def test_c_store(server: Orthanc, tmp_path: Path) -> None:
    """An instance that came by C-STORE tells who sent it."""
    file = tmp_path / "file.dcm"
    data = dicom("read")
    file.write_bytes(data)
    subprocess.run(
        [
            "storescu",
            "-aet",
            "STORESCU",
            "-aec",
            "RECEIVER",
            "127.0.0.1",
            str(server.dicom_port),
            file,
        ],
        check=True,
        timeout=30,
    )
    uid = pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID
    [instance] = server.http.post("/tools/lookup", uid).json()
    [call] = calls(server, instance["ID"])
    assert call["origin"] == ["DICOM_PROTOCOL", 2]
    assert call["aet"] == "STORESCU"
    assert call["metadata"]["RemoteAET"] == "STORESCU"
    assert call["metadata"]["CalledAET"] == "RECEIVER"
    assert call["metadata"]["Origin"] == "DicomProtocol"
    assert bytes_of(call["data"]) == server.http.get(f"/instances/{instance['ID']}/file").body
    assert call["size"] == len(bytes_of(call["data"]))


def test_nested(server: Orthanc) -> None:
    """A handler that stores has its own handler called inside, on the same thread."""
    instance, first = store(server, "nest")
    assert first["again"] == "Success"  # the same instance once more, overwritten
    own = calls(server, instance)
    assert [call["depth"] for call in own] == [1, 2, 3]
    [inner, again] = calls(server, first["inner"])
    assert inner["depth"] == 2
    assert again["depth"] == 3
    [innermost] = calls(server, inner["inner"])
    assert innermost["depth"] == 3
    idents = {call["ident"] for call in (*own, inner, again, innermost)}
    assert idents == {first["ident"]}


def test_delete(server: Orthanc) -> None:
    """A handler may delete the instance it was called for, and its object still tells."""
    instance, call = store(server, "delete")
    assert call["after"] > 1000
    assert server.http.get(f"/instances/{instance}").status == 404


def test_too_late(server: Orthanc) -> None:
    """A kept object raises in each of its methods once the handler has returned."""
    store(server, "keep")
    errors = server.http.get("/calls/late").json()
    assert len(errors) >= 15
    for name, error in errors.items():
        assert f"DicomInstance.{name}() was called after the call it belongs to" in error


def test_another_thread(server: Orthanc) -> None:
    """Another thread uses the object while the handler waits for it."""
    _, call = store(server, "thread")
    assert call["thread size"] > 1000


def test_own_loop(server: Orthanc) -> None:
    """The awaitable methods work in a loop that the handler runs."""
    _, call = store(server, "loop")
    assert call["awaited"][0] == call["awaited"][1] > 1000
    assert call["awaited"][2] == "loop"


def test_gather(server: Orthanc) -> None:
    """Many awaited methods at once on one object that nobody has read before."""
    for _ in range(5):
        _, call = store(server, "gather")
        assert call["gathered"] == 80


def test_in_use_when_it_ends(server: Orthanc) -> None:
    """Calls in other threads end or raise when the handler returns; Orthanc never crashes."""
    for _ in range(3):
        instance, _ = store(server, "pin")
        answer = server.wait_json(
            f"/calls/{instance}", lambda answer: len(answer["calls"][0]["outcomes"]) == 4
        )
        assert all(
            "after the call it belongs to" in text for text in answer["calls"][0]["outcomes"]
        )


def test_many_uploads(server: Orthanc) -> None:
    """Several uploads at once, nesting ones among them."""
    files = [dicom("nest" if number % 2 else "plain") for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.upload, files))
    for answer in answers:
        assert calls(server, answer["ID"])[0]["depth"] == 1


def test_raises(server: Orthanc) -> None:
    """A handler that raises is logged; the instance stays, and the others are called."""
    instance, _ = store(server, "raise")
    assert server.http.get(f"/instances/{instance}").status == 200
    server.wait_log(rf"script\.stored \(stored instance\), instance {instance} raised")
    server.wait_log("refused on purpose")
