"""Storage areas with custom data: from Orthanc 1.12.8 on; before, the error names that version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import OrthancFactory

HEAD = """
    import asyncio, json
    import orthanc
    from orthanc_async import rest, storage

    files, calls, mode, problem = {}, [], {}, []
    SUCCESS = orthanc.ErrorCode.SUCCESS

    def note(*values):
        calls.append([str(value) for value in values])
        return mode.get(values[0], "")

    @rest.get("/area")
    async def area(_request):
        return {"calls": calls, "files": len(files), "problem": problem}

    @rest.post("/mode/{what}/{how}")
    async def set_mode(request):
        calls.clear()
        mode.clear()
        mode[request.path["what"]] = request.path["how"]
"""
FUNCTIONS = """
    def create(uuid, contentType, compressionType, data, dicomInstance):
        size = None if dicomInstance is None else dicomInstance.GetInstanceSize()
        how = note("create", int(contentType), int(compressionType), len(data), size)
        if how == "full":
            return orthanc.ErrorCode.FULL_STORAGE, b""
        if how == "nonsense":
            return SUCCESS
        key = f"key-{len(calls)}"
        files[key] = data
        return SUCCESS, None if how == "none" else key.encode()

    async def read_range(uuid, contentType, rangeStart, size, customData):
        how = note("read", rangeStart, size, customData.decode())
        if how == "missing":
            return orthanc.ErrorCode.UNKNOWN_RESOURCE, None
        return SUCCESS, files[customData.decode()][rangeStart:rangeStart + size]

    async def remove(uuid, contentType, customData):
        note("remove", customData.decode())
        files.pop(customData.decode(), None)
        return SUCCESS

    try:
        orthanc.RegisterStorageArea3(create, read_range, remove)
    except (AttributeError, RuntimeError) as error:
        problem.append(str(error))
"""
CLASS = """
    class Keys:
        async def create(self, uuid, content_type, data, compression, dicom):
            size = None if dicom is None else await dicom.get_instance_size()
            how = note("create", int(content_type), int(compression), len(data), size)
            if how in ("full", "nonsense"):
                raise OSError("full")
            key = f"key-{len(calls)}"
            files[key] = data
            return None if how == "none" else key.encode()

        def read_range(self, uuid, content_type, start, size, custom_data):
            if note("read", start, size, custom_data.decode()) == "missing":
                raise KeyError(uuid)
            return files[custom_data.decode()][start:start + size]

        async def remove(self, uuid, content_type, custom_data):
            note("remove", custom_data.decode())
            files.pop(custom_data.decode(), None)

    try:
        storage.area(custom_data=True)(Keys)
    except (AttributeError, RuntimeError) as error:
        problem.append(str(error))
"""


@pytest.mark.parametrize("style", [FUNCTIONS, CLASS], ids=["functions", "class"])
def test_custom_data(orthanc_server: OrthancFactory, dicom_file: Path, style: str) -> None:
    """Orthanc hands back what create returned, and failures are failures of the sender."""
    server = orthanc_server(HEAD + style, errors=["."], config={"MaximumStorageCacheSize": 0})
    version = server.http.get("/system").json()["Version"]
    problem = server.http.get("/area").json()["problem"]
    if problem:
        assert "1.12.8" in problem[0]
        assert tuple(map(int, version.split("."))) < (1, 12, 8) or "SDK" in problem[0]
        return
    for how in ("full", "nonsense"):
        server.http.post(f"/mode/create/{how}")
        assert server.http.post("/instances", dicom_file.read_bytes()).status >= 500
    assert server.http.get("/instances").json() == []
    server.http.post("/mode/usual/usual")
    size = str(dicom_file.stat().st_size)
    instance = server.upload(dicom_file)["ID"]
    assert server.http.get("/area").json()["calls"][0][3:] == [size, size]
    assert server.http.get(f"/instances/{instance}/file").body == dicom_file.read_bytes()
    assert ["read", "0", size, "key-1"] in server.http.get("/area").json()["calls"]
    server.http.post("/mode/read/missing")
    assert server.http.get(f"/instances/{instance}/file").status in {404, 500}
    server.http.post("/mode/usual/usual")
    server.http.put(f"/instances/{instance}/attachments/1024", b"text")
    assert server.http.get("/area").json()["calls"][0][4] == "None"
    assert server.http.delete(f"/instances/{instance}").status == 200
    server.http.post("/mode/create/none")
    instance = server.upload(dicom_file)["ID"]
    assert server.http.delete(f"/instances/{instance}").status == 200
    assert ["remove", ""] in server.http.get("/area").json()["calls"]
