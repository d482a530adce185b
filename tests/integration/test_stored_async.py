"""`async def` handlers of stored instances: after the storing, with a snapshot that stays."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pydicom.uid
import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import asyncio, base64, json
    import orthanc

    gates, plain, awaited, uploads, ended = {}, {}, {}, {}, []

    def gate(instance):
        return gates.setdefault(instance, asyncio.Event())

    METHODS = {
        "GetInstanceData": (), "GetInstanceJson": (), "GetInstanceSimplifiedJson": (),
        "GetInstanceAdvancedJson": (1, 0, 0), "HasInstancePixelData": (),
        "GetInstanceFramesCount": (), "GetInstanceRawFrame": (0,),
        "GetInstanceDecodedFrame": (0,), "SerializeDicomInstance": (),
    }

    async def stored(_dicom, _which):
        refused = {}
        for method, arguments in METHODS.items():
            try:
                getattr(_dicom, method)(*arguments)
            except RuntimeError as error:
                refused[method] = str(error)
        plain[_which] = {
            "size": _dicom.GetInstanceSize(),
            "origin": _dicom.GetInstanceOrigin().name,
            "aet": _dicom.GetInstanceRemoteAet(),
            "syntax": _dicom.GetInstanceTransferSyntaxUid(),
            "metadata": {name: _dicom.GetInstanceMetadata(name) for name in (
                "Origin", "RemoteIP", "RemoteAET", "CalledAET", "ReceptionDate", "SopClassUid",
                "TransferSyntax", "Nothing")},
            "has": [bool(_dicom.HasInstanceMetadata(name)) for name in ("Origin", "Nothing")],
            "refused": refused,
        }
        if _dicom.GetInstanceOrigin() != orthanc.InstanceOrigin.PLUGIN:
            await gate(_which).wait()
        result = awaited[_which] = {}
        try:
            result["size"] = await _dicom.get_instance_size()
            result["origin"] = int(await _dicom.get_instance_origin())
            result["metadata"] = await _dicom.get_instance_metadata("Origin")
            result["data"] = base64.b64encode(await _dicom.get_instance_data()).decode()
            result["json"] = json.loads(await _dicom.get_instance_json())
            several = await asyncio.gather(*[call() for _ in range(10) for call in (
                _dicom.get_instance_simplified_json, _dicom.get_instance_data,
                _dicom.get_instance_frames_count, _dicom.has_instance_pixel_data)])
            result["several"] = [several[2], bool(several[3]), len(set(map(str, several)))]
            image = await _dicom.get_instance_decoded_frame(0)
            result["frame"] = [image.GetImageWidth(), image.GetImageHeight()]
            result["raw"] = len(await _dicom.get_instance_raw_frame(0))
            # An object of our own: the calls take turns, and none fails.
            own = orthanc.CreateDicomInstance(await _dicom.get_instance_data())
            own_calls = await asyncio.gather(*[call() for _ in range(20) for call in (
                own.get_instance_json, own.get_instance_simplified_json,
                own.serialize_dicom_instance, own.get_instance_frames_count)])
            result["own"] = len(own_calls)
            calls = asyncio.gather(*[own.get_instance_json() for _ in range(200)])
            while not calls.done():
                try:
                    own.GetInstanceJson()
                except RuntimeError as error:
                    result["busy"] = str(error)
                await asyncio.sleep(0)
            result["beside"] = own.GetInstanceOrigin().name
        except orthanc.OrthancException as error:
            result["error"] = [int(error.args[0]), error.args[1]]
        ended.append(_which)

    async def uploads_again(dicom, instance):
        # An upload in a handler of an upload; once only.
        if dicom.GetInstanceOrigin() == orthanc.InstanceOrigin.PLUGIN:
            return
        tags = {"Tags": {"PatientID": "made", "StudyDescription": instance,
                         "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}}
        made = json.loads(await orthanc.rest_api_post("/tools/create-dicom", json.dumps(tags)))
        data = await orthanc.get_dicom_for_instance(made["ID"])
        again = json.loads(await orthanc.rest_api_post("/instances", data))
        uploads[instance] = [made["ID"], again["Status"]]

    orthanc.RegisterOnStoredInstanceCallback(stored)
    orthanc.RegisterOnStoredInstanceCallback(uploads_again)

    async def state(output, uri, **request):
        instance = request["groups"][0]
        answer = {"plain": plain.get(instance), "awaited": awaited.get(instance),
                  "uploads": uploads.get(instance), "ended": instance in ended}
        output.AnswerBuffer(json.dumps(answer), "application/json")

    async def go(output, uri, **request):
        gate(request["groups"][0]).set()
        output.AnswerBuffer("", "text/plain")

    orthanc.RegisterRestCallback("/state/(.*)", state)
    orthanc.RegisterRestCallback("/go/(.*)", go)
"""


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with the script above."""
    return shared_orthanc(
        SCRIPT,
        dicom_port=0,
        errors=["Unknown resource|unknown resource|inexistent|Exception while invoking"],
    )


@pytest.fixture
def stored(server: Orthanc, dicom_files: list[Path]) -> tuple[str, bytes]:
    """An instance whose handler waits at its gate, and its bytes; it is new each time."""
    file = dicom_files[0]
    for instance in server.http.get("/instances").json():
        server.http.delete(f"/instances/{instance}")
    dataset = pydicom.dcmread(file)
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = Path(server.folder) / "new.dcm"
    dataset.save_as(path)
    # The upload returns although the handler has only begun.
    instance = server.upload(path)["ID"]
    return instance, path.read_bytes()


def state(server: Orthanc, instance: str, key: str) -> Any:
    """Wait until a handler has noted something of an instance."""
    return server.wait_json(f"/state/{instance}", lambda state: state[key])[key]


def test_plain_reads(server: Orthanc, stored: tuple[str, bytes]) -> None:
    """Size, origin, transfer syntax and metadata are read at once; the data is refused."""
    instance, data = stored
    plain = state(server, instance, "plain")
    header = pydicom.dcmread(Path(server.folder) / "new.dcm")
    assert plain["size"] == len(data)
    assert plain["origin"] == "REST_API"
    assert plain["aet"] == ""
    assert plain["syntax"] == header.file_meta.TransferSyntaxUID
    assert plain["metadata"]["Origin"] == "RestApi"
    assert plain["metadata"]["RemoteIP"] == "127.0.0.1"
    assert plain["metadata"]["SopClassUid"] == header.SOPClassUID
    assert plain["metadata"]["TransferSyntax"] == header.file_meta.TransferSyntaxUID
    assert plain["metadata"]["ReceptionDate"].startswith("20")
    assert plain["metadata"]["Nothing"] is None
    assert plain["has"] == [True, False]
    assert len(plain["refused"]) == 9
    assert "use `await dicom.get_instance_data(…)`" in plain["refused"]["GetInstanceData"]
    assert "dicom.has_instance_pixel_data" in plain["refused"]["HasInstancePixelData"]
    assert server.http.get(f"/state/{instance}").json()["awaited"] is None
    server.http.get(f"/go/{instance}")
    state(server, instance, "ended")


def test_awaited(server: Orthanc, stored: tuple[str, bytes]) -> None:
    """The data is awaited later, by several calls at once too."""
    instance, data = stored
    server.http.get(f"/go/{instance}")
    state(server, instance, "ended")
    awaited = state(server, instance, "awaited")
    assert "error" not in awaited
    assert base64.b64decode(awaited["data"]) == data
    assert awaited["size"] == len(data)
    assert awaited["origin"] == 3
    assert awaited["metadata"] == "RestApi"
    dataset = pydicom.dcmread(Path(server.folder) / "new.dcm")
    assert awaited["json"]["0008,0018"]["Value"] == dataset.SOPInstanceUID
    assert awaited["several"] == [1, True, 3]
    assert awaited["frame"] == [dataset.Columns, dataset.Rows]
    assert awaited["raw"] == len(dataset.PixelData)
    assert awaited["own"] == 80
    # The loop does not wait for its turn on an instance that a worker reads.
    assert "use `await dicom.get_instance_json(…)` here" in awaited["busy"]
    assert awaited["beside"] == "PLUGIN"


def test_deleted_meanwhile(server: Orthanc, stored: tuple[str, bytes]) -> None:
    """What was deleted before it is read again gives UnknownResource; plain reads still work."""
    instance, data = stored
    state(server, instance, "plain")
    assert server.http.delete(f"/instances/{instance}").status == 200
    server.http.get(f"/go/{instance}")
    state(server, instance, "ended")
    awaited = state(server, instance, "awaited")
    assert awaited["size"] == len(data)
    assert awaited["error"][0] == 17
    assert f"GetInstanceData() of instance {instance}" in awaited["error"][1]


def test_uploads_inside(server: Orthanc, stored: tuple[str, bytes]) -> None:
    """A handler that stores while Orthanc calls handlers for it does not lock up."""
    instance, _ = stored
    made, status = state(server, instance, "uploads")
    assert status == "AlreadyStored"
    assert state(server, made, "plain")["origin"] == "PLUGIN"
    server.http.get(f"/go/{instance}")
    state(server, instance, "ended")
    state(server, made, "ended")


def test_c_store(server: Orthanc, stored: tuple[str, bytes]) -> None:
    """The snapshot of an instance that came by C-STORE tells who sent it."""
    instance, _ = stored
    server.http.get(f"/go/{instance}")
    state(server, instance, "ended")
    file = Path(server.folder) / "new.dcm"
    dataset = pydicom.dcmread(file)
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(file)
    command = ["storescu", "-aec", "RECEIVER", "127.0.0.1", str(server.dicom_port), str(file)]
    # It ends although the handler waits at the gate.
    subprocess.run(command, check=True, timeout=30)
    [found] = server.http.post("/tools/lookup", dataset.SOPInstanceUID).json()
    plain = state(server, found["ID"], "plain")
    assert plain["origin"] == "DICOM_PROTOCOL"
    assert plain["aet"] == plain["metadata"]["RemoteAET"] == "STORESCU"
    assert plain["metadata"]["CalledAET"] == "RECEIVER"
    assert server.http.get(f"/state/{found['ID']}").json()["ended"] is False
    server.http.get(f"/go/{found['ID']}")
    state(server, found["ID"], "ended")
    awaited = state(server, found["ID"], "awaited")
    assert awaited["json"]["0008,0018"]["Value"] == dataset.SOPInstanceUID
    assert awaited["size"] == plain["size"]


def test_stored_in_a_burst(orthanc_server: OrthancFactory, dicom_files: list[Path]) -> None:
    """Handlers of different instances run together; a second handler is not held up."""
    server = orthanc_server(
        """
        import asyncio, json
        import orthanc

        met, other = [], []
        everybody = asyncio.Event()

        async def meet(dicom, instance):
            met.append(instance)
            if len(met) == 11:
                everybody.set()
            await everybody.wait()

        async def quick(dicom, instance):
            other.append((instance, len(met)))
            raise ValueError("refused on purpose")

        orthanc.RegisterOnStoredInstanceCallback(meet)
        orthanc.RegisterOnStoredInstanceCallback(quick)

        async def state(output, uri, **request):
            answer = [len(met), everybody.is_set(), len(other)]
            output.AnswerBuffer(json.dumps(answer), "application/json")

        orthanc.RegisterRestCallback("/state", state)
        """,
        errors=["script.quick.*raised"],
    )
    for number, file in enumerate(dicom_files, 1):
        server.upload(file)
        if number == 10:
            server.wait_json("/state", lambda state: state == [10, False, 10])
    server.wait_json("/state", lambda state: state == [11, True, 11])
    assert json.loads(server.http.get("/statistics").text)["CountInstances"] == 11
    server.wait_log(r"script\.quick \(stored instance\), instance \S+ raised", count=11)
