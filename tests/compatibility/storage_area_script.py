# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A storage area in the official plugin's style: a dictionary of files."""

import orthanc

files = {}
calls = []
mode = {}


def create(uuid, contentType, data):
    calls.append(("create", contentType == orthanc.ContentType.DICOM, type(data).__name__))
    if mode.get("create") == "raise":
        raise RuntimeError("no")
    files[uuid] = data
    return mode.get("create")


def read(uuid, contentType):
    calls.append(("read", contentType == orthanc.ContentType.DICOM))
    if mode.get("read") == "raise":
        raise KeyError(uuid)
    if mode.get("read") == "str":
        return "text"
    if mode.get("read") == "none":
        return None
    return files[uuid]


def remove(uuid, contentType):
    calls.append(("remove", contentType == orthanc.ContentType.DICOM))
    if mode.get("remove") == "raise":
        raise RuntimeError("no")
    del files[uuid]


def set_mode(output, uri, **request):
    what, how = request["groups"]
    mode[what] = how
    del calls[:]
    output.AnswerBuffer("ok", "text/plain")


def look(output, uri, **request):
    output.AnswerBuffer(repr((calls, sorted(len(data) for data in files.values()))), "text/plain")


assert orthanc.RegisterStorageArea(create, read, remove) is None
try:
    orthanc.RegisterStorageArea(create, read, remove)
    twice = "registered"
except RuntimeError:
    twice = "refused"
orthanc.RegisterRestCallback("/mode/(.*)/(.*)", set_mode)
orthanc.RegisterRestCallback("/look", look)
orthanc.RegisterRestCallback(
    "/twice", lambda output, uri, **request: output.AnswerBuffer(twice, "text/plain")
)
