# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: threads, a DICOM server and timers until the stop."""

import json
import logging
import os
import queue
import threading
import time
import urllib.error
import urllib.request

import orthanc
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

base = "http://127.0.0.1:%d" % json.loads(orthanc.GetConfiguration())["HttpPort"]
work, done, ticks, timer = queue.Queue(), [], [], None


def http(path, token=True):
    headers = {"Authorization": orthanc.GenerateRestApiAuthorizationToken()} if token else {}
    request = urllib.request.Request(base + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def worker():
    """Work through a queue until None comes."""
    for item in iter(work.get, None):
        done.append([item, len(orthanc.RestApiGet("/system")) > 10])
        print("worked on", item)
        logging.warning("logged about %s", item)


def tick():
    """Do something every moment, as samples do with threading.Timer."""
    global timer
    ticks.append(len(orthanc.RestApiGet("/statistics")))
    timer = threading.Timer(0.05, tick)
    timer.start()


def endless():
    while True:
        orthanc.LogInfo("still here")
        time.sleep(0.01)


def received(event):
    """Hand what has come by C-STORE to Orthanc."""
    orthanc.RestApiPost("/instances", event.encoded_dataset())
    return 0x0000


workers = threading.Thread(target=worker)
workers.start()
threading.Thread(target=endless, daemon=True).start()


def note(name, level, resource):
    with open(name + ".part", "w") as file:
        json.dump(
            {
                "level": int(level),
                "resource": resource,
                "thread": type(threading.current_thread()).__name__,
                "rest": len(orthanc.RestApiGet("/system")) > 10,
                "http": [http("/system"), http("/route"), http("/system", token=False)],
                "post": json.loads(orthanc.RestApiPost("/tools/find", FIND)),
                "done": done,
                "ticked": len(ticks) > 0,
                "worker": workers.is_alive(),
            },
            file,
        )
    os.rename(name + ".part", name)


FIND = '{"Level": "Study", "Query": {"PatientID": "nobody"}}'


def change(change_type, level, resource):
    global server
    if change_type == orthanc.ChangeType.ORTHANC_STARTED:
        tick()
        work.put("start")
        entity = AE("SCRIPT")
        entity.supported_contexts = AllStoragePresentationContexts
        entity.add_supported_context(Verification)
        server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, received)]
        )
        threading.Thread(target=endless).start()  # nobody ends it
        with open("port.part", "w") as file:
            file.write(str(server.server_address[1]))
        os.rename("port.part", "port")
        note("started.json", level, resource)
    if change_type == orthanc.ChangeType.ORTHANC_STOPPED:
        work.put("stop")
        work.put(None)
        workers.join()
        timer.cancel()
        timer.join()
        server.shutdown()
        note("stopped.json", level, resource)


def route(output, uri, **request):
    output.AnswerBuffer("ok", "text/plain")


orthanc.RegisterOnChangeCallback(change)
orthanc.RegisterRestCallback("/route", route)
