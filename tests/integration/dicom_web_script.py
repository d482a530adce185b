# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Routes for test_dicom_web.py."""

import asyncio
import json

import orthanc

MODE = orthanc.DicomWebBinaryMode
calls = []
kept = []
stored = []


def by_mode(name):
    def decide(node, levels, group, element, vr):
        calls.append([levels, f"{group:04x}{element:04x}", vr.name])
        kept[:] = [node]
        if name == "uri":
            node.SetBinaryNode(MODE.BULK_DATA_URI, f"../bulk/{group:04x}{element:04x}")
        elif name == "inline":
            node.SetBinaryNode(MODE.INLINE_BINARY)
        elif name == "nothing":
            pass
        elif name == "no-uri":
            node.SetBinaryNode(MODE.BULK_DATA_URI)
        elif name == "raises":
            raise LookupError("not this tag")

    async def decide_async(node, levels, group, element, vr):
        pass

    return {"none": None, "async": decide_async, "number": 3}.get(name, decide)


def blocking(function, mode, dicom):
    if function.startswith("GetInstance"):
        return getattr(orthanc.CreateDicomInstance(dicom), function)(by_mode(mode))
    return getattr(orthanc, function)(dicom, by_mode(mode))


async def awaited(function, mode, dicom):
    name = {"Json": "json", "Xml": "xml", "Json2": "json2", "Xml2": "xml2"}[
        function.partition("DicomWeb")[2]
    ]
    if function.startswith("GetInstance"):
        instance = orthanc.CreateDicomInstance(dicom)
        return await getattr(instance, f"get_instance_dicom_web_{name}")(by_mode(mode))
    return await getattr(orthanc, f"encode_dicom_web_{name}")(dicom, by_mode(mode))


async def encode(output, uri, **request):
    form, function, mode = request["groups"]
    calls.clear()
    try:
        if form == "loop":
            document = blocking(function, mode, request["body"])
        elif form == "thread":
            document = await asyncio.to_thread(blocking, function, mode, request["body"])
        else:
            document = await awaited(function, mode, request["body"])
        answer = {"document": document}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    try:
        kept[0].SetBinaryNode(MODE.IGNORE)
    except Exception as error:
        answer["late"] = f"{type(error).__name__}: {error}"
    output.AnswerBuffer(json.dumps({**answer, "calls": calls}), "application/json")


orthanc.RegisterRestCallback("/encode/(.*)/(.*)/(.*)", encode)


async def on_stored(dicom, identifier):
    document = json.loads(await dicom.get_instance_dicom_web_json(by_mode("nothing")))
    stored.append(document["00100020"]["Value"][0])


orthanc.RegisterOnStoredInstanceCallback(on_stored)
orthanc.RegisterRestCallback(
    "/stored", lambda output, uri, **request: output.AnswerBuffer(json.dumps(stored), "text/json")
)
