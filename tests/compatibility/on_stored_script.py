# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: what it does is chosen by the patient's name."""

import asyncio
import hashlib
import json
import threading

import orthanc

calls, depth = {}, threading.local()
METADATA = [
    *("RemoteAET", "CalledAET", "RemoteIP", "Origin", "TransferSyntax", "SopClassUid"),
    *("HttpUsername", "IndexInSeries", "MainDicomTagsSignature", "nothing"),
]


def digest(data):
    return [type(data).__name__, len(data), hashlib.md5(bytes(data)).hexdigest()]


def attempt(function, *arguments, **named):
    """Return what a call gives or raises, without texts that may differ."""
    try:
        result = function(*arguments, **named)
    except orthanc.OrthancException as error:
        return ["OrthancException", len(error.args), int(error.args[0])]
    except Exception as error:
        return type(error).__name__
    if isinstance(result, (bytes, bytearray)):
        return digest(result)
    return [type(result).__name__, repr(result)]


def text(result):
    """Return a JSON text's type and what it holds."""
    return [type(result).__name__, json.loads(result)]


def frame(image):
    data = image.GetImageBuffer()
    line = image.GetImageWidth() * 2
    rows = range(image.GetImageHeight())
    pixels = b"".join(data[row * image.GetImagePitch() :][:line] for row in rows)
    return [image.GetImageWidth(), image.GetImageHeight(), *digest(pixels)]


async def awaited():
    await asyncio.sleep(0)
    return threading.get_ident()


def read(dicom):
    """Use each method of the instance."""
    received = {name: dicom.GetInstanceMetadata(name) for name in METADATA}
    return {
        "data": digest(dicom.GetInstanceData()),
        "size": attempt(dicom.GetInstanceSize),
        "json": text(dicom.GetInstanceJson()),
        "simplified": text(dicom.GetInstanceSimplifiedJson()),
        "advanced": text(dicom.GetInstanceAdvancedJson(orthanc.DicomToJsonFormat.SHORT, 0, 0)),
        "metadata": received,
        "has": [attempt(dicom.HasInstanceMetadata, name) for name in METADATA],
        "origin": int(dicom.GetInstanceOrigin()),
        "same origin": dicom.GetInstanceOrigin() == orthanc.InstanceOrigin.REST_API,
        "aet": attempt(dicom.GetInstanceRemoteAet),
        "syntax": attempt(dicom.GetInstanceTransferSyntaxUid),
        "pixels": attempt(dicom.HasInstancePixelData),
        "frames": attempt(dicom.GetInstanceFramesCount),
        "raw": attempt(dicom.GetInstanceRawFrame, 0),
        "no such frame": attempt(dicom.GetInstanceRawFrame, 7)[0],
        "decoded": frame(dicom.GetInstanceDecodedFrame(0)),
        "serialized": digest(dicom.SerializeDicomInstance()),
        "keyword": attempt(dicom.GetInstanceMetadata, metadata="Origin"),
        "too few": attempt(dicom.GetInstanceMetadata),
        "wrong type": attempt(dicom.GetInstanceMetadata, 3),
        "kind": type(dicom).__name__,
    }


def surroundings(which):
    """What a handler may do besides."""
    started = threading.Thread(target=read)
    return {
        "thread": type(threading.current_thread()).__name__,
        "daemon": started.daemon,
        "run": asyncio.run(awaited()) == threading.get_ident(),
        "stored": digest(orthanc.RestApiGet("/instances/%s/file" % which)),
        "dicom": digest(orthanc.GetDicomForInstance(which)),
        "parent": attempt(lambda: json.loads(orthanc.RestApiGet("/instances/" + which))["Type"]),
        "unknown": attempt(orthanc.RestApiGet, "/instances/nope"),
        "plugin bypassed": attempt(orthanc.RestApiGet, "/route"),
        "after plugins": attempt(orthanc.RestApiGetAfterPlugins, "/route"),
        "attribute": attempt(orthanc.RestApiPut, "/instances/%s/metadata/1025" % which, b"mine"),
    }


def stored(_dicom, _which):
    patient = json.loads(_dicom.GetInstanceSimplifiedJson())["PatientName"]
    level = depth.level = getattr(depth, "level", 0) + 1
    result = {"depth": level, "ident": threading.get_ident(), "id": type(_which).__name__}
    calls.setdefault(_which, []).append(result)
    try:
        if patient == "read":
            result["read"] = read(_dicom)
            result["surroundings"] = surroundings(_which)
            result["too many"] = attempt(_dicom.GetInstanceSize, 3)
        elif patient == "nest" and level < 3:
            created = {"Tags": {"PatientName": "nest", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}}
            made = orthanc.RestApiPost("/tools/create-dicom", json.dumps(created))
            result["inner"] = json.loads(made)["ID"]
            again = orthanc.RestApiPost("/instances", _dicom.GetInstanceData())
            result["again"] = json.loads(again)["Status"]
        elif patient == "delete":
            orthanc.RestApiDelete("/instances/" + _which)
            result["after"] = digest(_dicom.GetInstanceData())
        elif patient == "raise":
            raise ValueError("refused on purpose")
        elif patient == "sdk error":
            orthanc.RestApiGet("/instances/raised-here")
        elif patient == "nonsense":
            return {"not": "looked at"}
        elif patient == "thread":
            worker = threading.Thread(target=lambda: result.update(read=read(_dicom)))
            worker.start()
            worker.join()
    finally:
        depth.level -= 1


def call(output, uri, **request):
    output.AnswerBuffer(json.dumps(calls.get(request["groups"][0], [])), "application/json")


def again(output, uri, **request):
    nothing = attempt(orthanc.RegisterOnStoredInstanceCallback, lambda dicom, which: None)
    output.AnswerBuffer(json.dumps(nothing), "application/json")


orthanc.RegisterOnStoredInstanceCallback(stored)
orthanc.RegisterRestCallback("/calls/(.*)", call)
orthanc.RegisterRestCallback("/route()", call)
orthanc.RegisterRestCallback("/again", again)
