# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""The three callbacks of incoming data, each doing what the test has told it."""

import json
import urllib.request

import orthanc

mode = {}
last = {}


def OnReceivedInstance(receivedDicom, origin):
    last["received"] = [type(receivedDicom).__name__, len(receivedDicom), int(origin)]
    if "received" in mode:
        return eval(mode["received"])
    return orthanc.ReceivedInstanceAction.KEEP_AS_IS, None


def OnCStore(receivedDicom):
    last["c_store"] = [
        type(receivedDicom).__name__,
        receivedDicom.GetInstanceSize(),
        int(receivedDicom.GetInstanceOrigin()),
        receivedDicom.GetInstanceRemoteAet(),
        json.loads(receivedDicom.GetInstanceSimplifiedJson())["PatientID"],
        len(receivedDicom.GetInstanceData()),
    ]
    if "c_store" in mode:
        return eval(mode["c_store"])
    return 0x0000


def Filter(uri, **request):
    if uri == "/changes":
        last["http"] = [uri, int(request["method"]), request["ip"], request["get"]]
        last["http"] += [sorted(request), request["headers"].get("x-mine")]
        if "http" in mode:
            return eval(mode["http"])
    return True


def Mode(output, uri, **request):
    if request["method"] == "POST":
        mode.clear()
        last.clear()
        mode.update(json.loads(request["body"]))
    output.AnswerBuffer(json.dumps(last), "application/json")


orthanc.RegisterReceivedInstanceCallback(OnReceivedInstance)
orthanc.RegisterIncomingCStoreInstanceFilter(OnCStore)
orthanc.RegisterIncomingHttpRequestFilter(Filter)
orthanc.RegisterRestCallback("/mode", Mode)
