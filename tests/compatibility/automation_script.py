# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: what happens by itself, without a user."""

import io
import json
import multiprocessing
import os
import site
import sys
import threading

# A virtual environment of the script's own, made with `python -m venv`.
site.addsitedir(os.environ["ENVIRONMENT_OF_THE_SCRIPT"])
sys.path.append(os.environ["PACKAGES_OF_THE_SCRIPT"])

import only_in_the_environment  # noqa: E402
import pydicom  # noqa: E402

import orthanc  # noqa: E402

lock = threading.Lock()
seen, routed, ticks, stopped = {}, [], [], threading.Event()
timer = None


def summarise(data, orthanc_process):
    """Look at a DICOM file; in a process of its own, away from Orthanc."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    values = dataset.pixel_array
    return {
        "name": str(dataset.PatientName),
        "shape": list(values.shape),
        "least": int(values.min()),
        "most": int(values.max()),
        "elsewhere": os.getpid() != orthanc_process,
    }


pool = multiprocessing.Pool(2)


def stored(dicom, instance):
    """Note what is new: by the JSON of Orthanc, by pydicom, and in the instance's metadata."""
    tags = json.loads(dicom.GetInstanceSimplifiedJson())
    dataset = pydicom.dcmread(io.BytesIO(dicom.GetInstanceData()))
    note = "%s %s" % (tags.get("PatientID"), dataset.get("Modality"))
    orthanc.RestApiPut("/instances/%s/metadata/1200" % instance, note.encode())
    with lock:
        seen[instance] = {
            "agree": tags.get("PatientName") == str(dataset.PatientName),
            "aet": dicom.GetInstanceRemoteAet(),
            "origin": int(dicom.GetInstanceOrigin()),
            "called": dicom.HasInstanceMetadata("CalledAET"),
            "modality": dataset.get("Modality"),
        }
    if dataset.PatientID == "route me at once":
        orthanc.RestApiPost("/modalities/archive/store", instance)
        with lock:
            routed.append(["instance", instance])


def route(study):
    """Send a study that is complete by C-STORE, and to another Orthanc's REST API."""
    patient = json.loads(orthanc.RestApiGet("/studies/%s" % study))["PatientMainDicomTags"]
    if not patient.get("PatientID", "").startswith("route"):
        return
    if patient["PatientID"] == "route to the peer":
        where, job = "peer", orthanc.RestApiPost("/peers/second/store", study)
    else:
        where, job = "modality", orthanc.RestApiPost("/modalities/archive/store", study)
    with lock:
        routed.append(["study", study, where, json.loads(job)["InstancesCount"]])


def tick():
    """Look at Orthanc periodically, until it stops."""
    global timer
    if stopped.is_set():
        return
    counts = json.loads(orthanc.RestApiGet("/statistics"))
    with lock:
        ticks.append(counts["CountInstances"])
    timer = threading.Timer(0.05, tick)
    timer.start()


def change(kind, level, resource):
    global timer
    if kind == orthanc.ChangeType.ORTHANC_STARTED:
        orthanc.LogWarning("the clock starts")
        tick()
    elif kind == orthanc.ChangeType.ORTHANC_STOPPED:
        stopped.set()
        if timer is not None:
            timer.cancel()
        orthanc.LogWarning("the clock has stopped")
    elif kind == orthanc.ChangeType.STABLE_STUDY:
        route(resource)


def anonymised(output, uri, **request):
    """Change a file with pydicom and store it as another instance."""
    dataset = pydicom.dcmread(io.BytesIO(orthanc.GetDicomForInstance(request["groups"][0])))
    dataset.PatientName, dataset.PatientID = "Nobody", "nobody"
    dataset.SOPInstanceUID = dataset.SOPInstanceUID[:40] + ".999"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = io.BytesIO()
    dataset.save_as(file)
    output.AnswerBuffer(orthanc.RestApiPost("/instances", file.getvalue()), "application/json")


def summary(output, uri, **request):
    """Let a process of the pool look at an instance."""
    file = orthanc.GetDicomForInstance(request["groups"][0])
    output.AnswerBuffer(json.dumps(pool.apply(summarise, (file, os.getpid()))), "application/json")


def state(output, uri, **request):
    with lock:
        found = {
            "seen": seen,
            "routed": sorted(routed),
            "ticks": [len(ticks), ticks[-1:]],
            "environment": only_in_the_environment.ANSWER,
            "its file": os.path.basename(only_in_the_environment.__file__),
        }
        output.AnswerBuffer(json.dumps(found), "application/json")


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except orthanc.OrthancException as error:
        return ["OrthancException", int(error.args[0])]
    except Exception as error:
        return [type(error).__name__]


def describe(value):
    return [type(value).__name__, ascii(value)]


def keep(output, uri, **request):
    """Use the key-value stores and queues of Orthanc 1.12.8 and later."""
    if not hasattr(orthanc, "StoreKeyValue"):
        output.AnswerBuffer('{"there": false}', "application/json")
        return
    try:
        orthanc.StoreKeyValue("mine", "a", b"\x00one")
    except orthanc.OrthancException:  # the SDK has it, Orthanc has not
        output.AnswerBuffer('{"there": false}', "application/json")
        return
    orthanc.StoreKeyValue("mine", "b", b"two")
    orthanc.StoreKeyValue("other", "a", b"three")
    orthanc.StoreKeyValue("mine", "a", b"again")
    orthanc.DeleteKeyValue("mine", "b")
    iterator = orthanc.CreateKeysValuesIterator("mine")
    pairs = []
    while iterator.Next():
        pairs.append([iterator.GetKey(), describe(iterator.GetValue())])
    front, back = orthanc.QueueOrigin.FRONT, orthanc.QueueOrigin.BACK
    for value in (b"1", b"2", b"3"):
        orthanc.EnqueueValue("line", value)
    found = {
        "there": True,
        "pairs": pairs,
        "got": describe(orthanc.GetKeyValue("mine", "a")),
        "gone": describe(attempt(orthanc.GetKeyValue, "mine", "b")),
        "size": orthanc.GetQueueSize("line"),
        "values": [describe(orthanc.DequeueValue("line", end)) for end in (front, back, front)],
        "empty": describe(attempt(orthanc.DequeueValue, "line", front)),
    }
    output.AnswerBuffer(json.dumps(found), "application/json")


def settle(output, uri, **request):
    """Say that a study is complete, where Orthanc has that (1.12.9 and later)."""
    (study,) = request["groups"]
    if not hasattr(orthanc, "SetStableStatus"):
        output.AnswerBuffer('{"there": false}', "application/json")
        return
    stable = orthanc.StableStatus.STABLE
    try:
        changed = [orthanc.SetStableStatus(study, stable) for _ in range(2)]
    except orthanc.OrthancException:  # the SDK has it, Orthanc has not
        output.AnswerBuffer('{"there": false}', "application/json")
        return
    found = {"there": True, "changed": changed}
    output.AnswerBuffer(json.dumps(found), "application/json")


orthanc.RegisterOnStoredInstanceCallback(stored)
orthanc.RegisterOnChangeCallback(change)
orthanc.RegisterRestCallback("/anonymised/(.*)", anonymised)
orthanc.RegisterRestCallback("/summary/(.*)", summary)
orthanc.RegisterRestCallback("/state", state)
orthanc.RegisterRestCallback("/keep", keep)
orthanc.RegisterRestCallback("/settle/(.*)", settle)
