# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A storage area with custom data in the official plugin's style: a dictionary of files."""

import orthanc

files = {}
calls = []
mode = {}
good, bad = orthanc.ErrorCode.SUCCESS, orthanc.ErrorCode.STORAGE_AREA_PLUGIN


def create(uuid, content_type, compression, data, instance):
    is_dicom = content_type == orthanc.ContentType.DICOM
    size = instance.GetInstanceSize() if is_dicom else None
    tags = instance.GetInstanceSimplifiedJson() if is_dicom else None
    calls.append(["create", int(content_type), int(compression), len(data), size, tags])
    if mode.get("create") == "raise":
        raise RuntimeError("no")
    if mode.get("create") == "error":
        return bad, None
    key = b"%d-\0-%d" % (content_type, len(files))  # custom data may hold any byte
    files[key] = data
    return good, key


def read_range(uuid, content_type, start, size, custom):
    calls.append(["read", int(content_type), start, size, type(custom).__name__])
    if mode.get("read") == "raise":
        raise KeyError(uuid)
    if mode.get("read") == "error":
        return bad, None
    if mode.get("read") == "short":
        return good, b"x"
    return good, files[custom][start : start + size]


def remove(uuid, content_type, custom):
    calls.append(["remove", int(content_type), custom.decode()])
    if mode.get("remove") == "raise":
        raise RuntimeError("no")
    del files[custom]
    return good


def set_mode(output, uri, **request):
    what, how = request["groups"]
    mode[what] = how
    del calls[:]
    output.AnswerBuffer("ok", "text/plain")


def look(output, uri, **request):
    output.AnswerBuffer(repr((calls, sorted(len(data) for data in files.values()))), "text/plain")


orthanc.RegisterStorageArea3(create, read_range, remove)
try:
    orthanc.RegisterStorageArea3(create, read_range, remove)
    twice = "registered"
except RuntimeError:
    twice = "refused"
orthanc.RegisterRestCallback("/mode/(.*)/(.*)", set_mode)
orthanc.RegisterRestCallback("/look", look)
orthanc.RegisterRestCallback(
    "/twice", lambda output, uri, **request: output.AnswerBuffer(twice, "text/plain")
)
