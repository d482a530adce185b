# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: each route shows one thing that scripts rely on."""

import asyncio
import inspect
import json
import os
import sys
import threading
import time

import orthanc

loaded_at = {
    "name": __name__,
    "argv": sys.argv,
    "cwd holds the script": os.path.exists("my-script.py"),
    "file": os.path.basename(__file__),
    "configuration": json.loads(orthanc.GetConfiguration())["Name"],
    "uuid": len(orthanc.GenerateUuid()),
}
PIXELS = bytes(range(16))


def describe(value):
    """Show a value with its type, surrogates and all, as JSON."""
    if isinstance(value, dict):
        return {key: describe(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return ["tuple", *map(describe, value)]
    return [type(value).__name__, ascii(value)]


def answer(output, value):
    output.AnswerBuffer(json.dumps(value), "application/json")


def echo(output, uri, **request):
    headers = request.pop("headers")
    assert type(headers) is dict
    mine = {key: value for key, value in headers.items() if key.startswith("x-")}
    answer(
        output,
        {
            "uri": describe(uri),
            "request": describe(request),
            "headers": describe(mine),
            "lower": all(key == key.lower() for key in headers),
        },
    )


orthanc.RegisterRestCallback("/echo", echo)
orthanc.RegisterRestCallback("/echo/([^/]*)/x/([0-9]+)", echo)
orthanc.RegisterRestCallback("/any/(.*)", echo)
orthanc.RegisterRestCallback("/optional(/a)?", echo)


def outputs(output, _uri, **request):
    """Answer in the way that the path names."""
    kind = request["groups"][0]
    if kind == "str":
        output.AnswerBuffer("gr\u00fc\u00df", "text/plain")
    elif kind == "bytes":
        output.AnswerBuffer(b"\x00\xff\x00", "application/octet-stream")
    elif kind == "empty":
        output.AnswerBuffer("", "text/plain")
    elif kind == "header":
        output.SetHttpHeader("X-One", "1")
        output.SetHttpHeader("X-Two", "2")
        output.AnswerBuffer("x", "text/plain")
    elif kind == "cookie":
        output.SetCookie("session", "abc")
        output.AnswerBuffer("x", "text/plain")
    elif kind == "redirect":
        output.Redirect("elsewhere")
    elif kind == "status":
        output.SendHttpStatus(404, "nothing", 7)
    elif kind == "status-short":
        output.SendHttpStatus(403, "no", 1)
    elif kind == "status-unsized":
        output.SendHttpStatus(404, "nothing")
    elif kind == "status-code":
        output.SendHttpStatusCode(503)
    elif kind == "not-found":
        output.SendHttpStatusCode(404)
    elif kind == "unauthorized":
        output.SendUnauthorized("my realm")
    elif kind == "not-allowed":
        output.SendMethodNotAllowed("GET,PUT")
    elif kind == "png":
        output.CompressAndAnswerPngImage(orthanc.PixelFormat.GRAYSCALE8, 4, 4, 4, PIXELS)
    elif kind == "jpeg":
        output.CompressAndAnswerJpegImage(orthanc.PixelFormat.GRAYSCALE8, 4, 4, 4, PIXELS, 90)
    elif kind == "multipart":
        output.StartMultipartAnswer("related", "text/plain")
        output.SendMultipartItem("one")
        output.SendMultipartItem(b"two")
    elif kind == "multipart-raise":
        output.StartMultipartAnswer("related", "text/plain")
        output.SendMultipartItem("one")
        raise ValueError("in the middle")
    elif kind == "stream":
        output.StartStreamAnswer("text/plain")
        for chunk in (b"one ", b"", b"two ", b"\x00" * 100000):
            output.SendStreamChunk(chunk)
    elif kind == "twice":
        output.AnswerBuffer("first", "text/plain")
        output.AnswerBuffer("second", "text/plain")
        output.SendHttpStatusCode(404)
    elif kind == "keyword":
        output.AnswerBuffer("never", "text/plain", status=404)
    elif kind == "answer-then-raise":
        output.AnswerBuffer("answered", "text/plain")
        raise ValueError("after the answer")
    elif kind == "raise":
        raise ValueError("before the answer")
    elif kind == "nonsense":
        output.AnswerBuffer("answered", "text/plain")
        return object()
    elif kind == "wrong-type":
        output.AnswerBuffer(3, "text/plain")
    elif kind == "no-mime":
        output.AnswerBuffer("x")


orthanc.RegisterRestCallback("/output/(.*)", outputs)


class Worker:
    finished = threading.Event()


def answer_and_work(output, uri, **request):
    output.AnswerBuffer("at once", "text/plain")
    if not go_on.wait(30):
        return
    Worker.finished.set()


def let_go_on(output, uri, **request):
    waited = not Worker.finished.is_set()
    go_on.set()
    answer(output, [waited, Worker.finished.wait(30)])


go_on = threading.Event()
orthanc.RegisterRestCallback("/work", answer_and_work)
orthanc.RegisterRestCallback("/go-on", let_go_on)


def find(output, uri, **request):
    """Stand before Orthanc's own /tools/find, and call it."""
    inside = orthanc.RestApiPost("/tools/find", request["body"])
    answer(output, {"type": type(inside).__name__, "mine": json.loads(inside)})


orthanc.RegisterRestCallback("/tools/find", find)


def nested(output, uri, **request):
    depth = int(request["groups"][0])
    if depth == 0:
        answer(output, [0])
    else:
        inner = json.loads(orthanc.RestApiGetAfterPlugins("/nested/%d" % (depth - 1)))
        answer(output, [depth, *inner])


orthanc.RegisterRestCallback("/nested/([0-9]+)", nested)


def attempt(function, *arguments, **named):
    """Return what a call gives or raises, without texts that may differ."""
    try:
        return ["gave", *describe(function(*arguments, **named))]
    except orthanc.OrthancException as error:
        code = error.args[0]
        return [
            "OrthancException",
            len(error.args),
            int(code),
            type(error.args[1]).__name__,
            isinstance(error, Exception),
        ]
    except Exception as error:
        return [type(error).__name__]


def methods_of(kind):
    return sorted(
        name
        for name, member in vars(kind).items()
        if inspect.ismethoddescriptor(member) and name[0].isupper()
    )


def sdk(output, uri, **request):
    code = orthanc.ErrorCode.UNKNOWN_RESOURCE
    try:
        orthanc.RestApiGet("/instances/nope")
    except orthanc.OrthancException as error:
        equal = error.args[0] == code
    started = threading.Thread(target=str)
    names = {
        value: name
        for name, value in orthanc.ChangeType.__dict__.items()
        if not name.startswith("_") and isinstance(value, int)
    }
    by_value = {
        value: name
        for name, value in orthanc.ChangeType.__dict__.items()
        if isinstance(value, int)
    }
    answer(
        output,
        {
            "get": attempt(lambda: type(orthanc.RestApiGet("/system"))),
            "text": attempt(lambda: type(orthanc.GetConfiguration())),
            "unknown": attempt(orthanc.RestApiGet, "/instances/nope"),
            "unknown path": attempt(orthanc.RestApiGet, "/nope"),
            "unknown delete": attempt(orthanc.RestApiDelete, "/instances/nope"),
            "bad body": attempt(orthanc.RestApiPost, "/tools/find", "no json"),
            "code": equal,
            "keyword": attempt(orthanc.RestApiGet, uri="/system"),
            "too few": attempt(orthanc.RestApiGet),
            "wrong type": attempt(orthanc.RestApiGet, 3),
            "after plugins": attempt(orthanc.RestApiGetAfterPlugins, "/output/str"),
            "after plugins, bypassed": attempt(orthanc.RestApiGet, "/output/str"),
            "after plugins, 404": attempt(orthanc.RestApiGetAfterPlugins, "/output/not-found"),
            "printed": "%s %d" % (orthanc.ChangeType.NEW_STUDY, orthanc.ChangeType.NEW_STUDY),
            "equal": orthanc.ChangeType.NEW_STUDY == 6,
            "hash": hash(orthanc.ChangeType.NEW_STUDY) == hash(6),
            "json": json.dumps({"type": orthanc.ChangeType.NEW_STUDY}),
            "names": [names[value] for value in range(17)],
            "inverted": [by_value[value] for value in range(17)],
            "dicom": attempt(lambda: orthanc.CreateDicom('{"PatientID":"x"}', None, 0)[128:132]),
            "lookup": attempt(orthanc.LookupPatient, "nope"),
            "image": attempt(
                lambda: orthanc.CreateImageFromBuffer(
                    orthanc.PixelFormat.GRAYSCALE8, 4, 4, 4, PIXELS
                ).GetImageBuffer()
            ),
            "image size": attempt(
                lambda: orthanc.CreateImage(orthanc.PixelFormat.RGB24, 5, 4).GetImageWidth()
            ),
            "mime": attempt(orthanc.AutodetectMimeType, "a.png"),
            "md5": attempt(orthanc.ComputeMd5, b"abc"),
            "methods": [
                name
                for name in methods_of(orthanc.RestOutput)
                if name not in ("SendMultipartItem2", "AnswerBuffer2")
            ],
            "instance methods": methods_of(orthanc.DicomInstance),
            "thread": type(threading.current_thread()).__name__,
            "daemon": started.daemon,
            "loop": asyncio.run(nothing()),
            "loaded": loaded_at,
            "module": describe.__module__,
            "is string": isinstance(request["method"], str),
        },
    )


async def nothing():
    await asyncio.sleep(0)
    return "run"


orthanc.RegisterRestCallback("/sdk", sdk)


def late(output, uri, **request):
    answer(output, "late")


def slow(output, uri, **request):
    time.sleep(0.2)
    answer(output, [threading.get_ident()])


orthanc.RegisterRestCallback("/slow", slow)


def on_change(change, level, resource):
    if change == orthanc.ChangeType.ORTHANC_STARTED:
        orthanc.RegisterRestCallback("/late", late)


orthanc.RegisterOnChangeCallback(on_change)
