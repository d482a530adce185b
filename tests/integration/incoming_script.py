# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Handlers that do what the test has told them: an expression for each, None to let pass."""

import asyncio
import base64
import inspect
import io
import json

import orthanc
from orthanc_async import (
    Discard,
    ReceivedInstance,
    c_store_filter,
    instance_filter,
    on_received_instance,
)
from pydicom import dcmread

KEEP = orthanc.ReceivedInstanceAction.KEEP_AS_IS
MODIFY = orthanc.ReceivedInstanceAction.MODIFY
DISCARD = orthanc.ReceivedInstanceAction.DISCARD

mode: dict = {}
seen: list = []
kept: list = []
notes: dict = {}
release: dict = {}


async def slow():
    """Outlast every time limit, but not the test's own end."""
    await asyncio.sleep(120)


async def held():
    """Wait until the test lets go."""
    await release.setdefault("event", asyncio.Event()).wait()


def renamed(data, letter):
    """Add a letter to the patient's name, in a file."""
    dataset = dcmread(io.BytesIO(data))
    dataset.PatientName = str(dataset.PatientName) + letter
    return dataset


def renamed_bytes(data, letter):
    """Do the same, as bytes."""
    target = io.BytesIO()
    renamed(data, letter).save_as(target)
    return target.getvalue()


async def tries(data):
    """Try what would hang, and what does not."""
    notes["hangs"] = {
        "system": await refused(lambda: orthanc.rest_api_get("/system")),
        "store": await refused(lambda: orthanc.rest_api_post("/instances", data)),
        "token": await refused(orthanc.generate_rest_api_authorization_token),
        "statistics": await refused(lambda: orthanc.rest_api_get("/statistics")),
    }


async def refused(make):
    """Make a call and await it; return what either raises, as text."""
    try:
        await make()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "ok"


def decide(name, subject, default):
    """Evaluate what the test wants of a handler."""
    seen.append(name)
    wanted = mode.get(name)
    return default if wanted is None else eval(wanted, globals(), {"it": subject})


async def decide_async(name, subject, default):
    """Do the same, awaiting the result where it is awaitable."""
    result = decide(name, subject, default)
    return await result if inspect.isawaitable(result) else result


def received_def(_data, _origin):
    notes["origin"] = [type(_data).__name__, repr(_origin)]
    return decide("received_def", _data, (KEEP, None))


async def received_async(_data, _origin):
    return await decide_async("received_async", _data, (KEEP, None))


orthanc.RegisterReceivedInstanceCallback(received_def)
orthanc.RegisterReceivedInstanceCallback(received_async)


@on_received_instance
def received_decorated_def(instance: ReceivedInstance):
    return decide("received_decorated_def", instance, None)


@on_received_instance(timeout=1)
async def received_decorated_async(instance: ReceivedInstance):
    return await decide_async("received_decorated_async", instance, None)


def dicom_def(_dicom):
    return decide("dicom_def", _dicom, 1)


async def dicom_async(_dicom):
    return await decide_async("dicom_async", _dicom, 1)


orthanc.RegisterIncomingDicomInstanceFilter(dicom_def)
orthanc.RegisterIncomingDicomInstanceFilter(dicom_async)


@instance_filter
def dicom_decorated_def(dicom):
    return decide("dicom_decorated_def", dicom, True)


@instance_filter(timeout=1)
async def dicom_decorated_async(dicom):
    return await decide_async("dicom_decorated_async", dicom, True)


def c_store_def(_dicom):
    return decide("c_store_def", _dicom, 0)


async def c_store_async(_dicom):
    return await decide_async("c_store_async", _dicom, 0)


orthanc.RegisterIncomingCStoreInstanceFilter(c_store_def)
orthanc.RegisterIncomingCStoreInstanceFilter(c_store_async)


@c_store_filter
def c_store_decorated_def(dicom):
    return decide("c_store_decorated_def", dicom, None)


@c_store_filter(timeout=1)
async def c_store_decorated_async(dicom):
    return await decide_async("c_store_decorated_async", dicom, None)


async def describe(dicom):
    """Read the borrowed instance on the loop and by awaiting; keep it too long."""
    kept.append(dicom)
    tags = json.loads(dicom.GetInstanceJson())
    notes["dicom"] = {
        "size": dicom.GetInstanceSize(),
        "aet": dicom.GetInstanceRemoteAet(),
        "origin": dicom.GetInstanceOrigin().name,
        "name": tags["0010,0010"]["Value"],
        "data": base64.b64encode(dicom.GetInstanceData()).decode(),
        "same": len(await dicom.get_instance_data()),
    }


async def described(dicom, answer):
    """Do so as a filter."""
    await describe(dicom)
    return answer


async def set_mode(output, _uri, **request):
    mode.clear()
    mode.update(json.loads(request["body"]))
    seen.clear()
    kept.clear()
    notes.clear()
    output.AnswerBuffer("{}", "application/json")


async def get_notes(output, _uri, **_request):
    notes["seen"] = seen
    if kept:
        try:
            kept[0].GetInstanceSize()
        except RuntimeError as error:
            notes["late"] = str(error)
    output.AnswerBuffer(json.dumps(notes), "application/json")


async def let_go(output, _uri, **_request):
    release["event"].set()
    output.AnswerBuffer("{}", "application/json")


orthanc.RegisterRestCallback("/mode", set_mode)
orthanc.RegisterRestCallback("/notes", get_notes)
orthanc.RegisterRestCallback("/release", let_go)
