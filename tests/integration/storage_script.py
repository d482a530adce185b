"""A storage area in memory, in the style that $STYLE names; routes say how it shall behave."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import orthanc
from orthanc_async import rest, storage

STYLE = os.environ["STYLE"]
files: dict[str, bytes] = {}
mode: dict[str, str] = {}
calls: list[list[Any]] = []
refused: list[str] = []


def note(what: str, uuid: str, content_type: Any, *more: Any) -> str:
    calls.append([what, uuid, type(content_type).__name__, int(content_type), *more])
    if mode.get(what) == "raise":
        raise OSError(f"{what} is broken")
    return mode.get(what, "")


def cut(uuid: str, start: int, size: int) -> bytes:
    return files[uuid][start : start + size]


NONSENSE: dict[str, Any] = {"str": "text", "none": None, "short": b"1"}


def create(uuid: str, content_type: orthanc.ContentType, data: bytes) -> Any:
    note("create", uuid, content_type, type(data).__name__, len(data))
    files[uuid] = data
    return False  # ignored, as by the official plugin


def read(uuid: str, content_type: orthanc.ContentType) -> Any:
    what = note("read", uuid, content_type)
    if what == "api":
        try:
            orthanc.RestApiGet("/system")
        except RuntimeError as error:
            refused.append(str(error))
    return NONSENSE[what] if what in NONSENSE else memoryview(files[uuid])


def remove(uuid: str, content_type: orthanc.ContentType) -> None:
    if note("remove", uuid, content_type) == "index":
        try:
            orthanc.RestApiGet("/statistics")
        except RuntimeError as error:
            refused.append(str(error))
    del files[uuid]


async def create_async(uuid: str, content_type: orthanc.ContentType, data: bytes) -> None:
    what = note("create", uuid, content_type, type(data).__name__, len(data))
    if what == "slow":
        await asyncio.sleep(3600)
    await asyncio.sleep(0)
    files[uuid] = data


async def read_async(uuid: str, content_type: orthanc.ContentType) -> Any:
    what = note("read", uuid, content_type)
    if what == "api":
        try:
            await orthanc.rest_api_get("/system")
        except RuntimeError as error:
            refused.append(str(error))
    await asyncio.sleep(0)
    return NONSENSE[what] if what in NONSENSE else files[uuid]


async def read_range_async(
    uuid: str, content_type: orthanc.ContentType, start: int, size: int
) -> Any:
    what = note("range", uuid, content_type, start, size)
    return NONSENSE[what] if what in NONSENSE else cut(uuid, start, size)


async def remove_async(uuid: str, content_type: orthanc.ContentType) -> None:
    if note("remove", uuid, content_type) == "index":
        try:
            await orthanc.rest_api_get("/statistics")
        except RuntimeError as error:
            refused.append(str(error))
    del files[uuid]


class Memory:
    """The same as methods."""

    async def create(self, uuid: str, content_type: orthanc.ContentType, data: bytes) -> Any:
        await create_async(uuid, content_type, data)
        return False if mode.get("create") == "false" else None

    async def read(self, uuid: str, content_type: orthanc.ContentType) -> Any:
        return await read_async(uuid, content_type)

    async def read_range(
        self, uuid: str, content_type: orthanc.ContentType, start: int, size: int
    ) -> Any:
        return await read_range_async(uuid, content_type, start, size)

    def remove(self, uuid: str, content_type: orthanc.ContentType) -> None:
        remove(uuid, content_type)


if STYLE == "def":
    orthanc.RegisterStorageArea(create, read, remove)
elif STYLE == "async":
    orthanc.RegisterStorageArea2(create_async, read_async, read_range_async, remove_async)
elif STYLE == "class":
    storage.area(timeout=1)(Memory)


@rest.get("/area")
async def area(_request: rest.Request) -> dict[str, Any]:
    return {
        "files": {uuid: len(data) for uuid, data in files.items()},
        "calls": calls,
        "refused": refused,
    }


@rest.post("/mode")
async def set_mode(request: rest.Request) -> None:
    calls.clear()
    refused.clear()
    mode.clear()
    mode.update(request.json())


@rest.post("/forget")
async def forget(_request: rest.Request) -> None:
    files.clear()


@rest.get("/late")
def late(_request: rest.Request) -> str:
    try:
        orthanc.RegisterStorageArea(create, read, remove)
    except RuntimeError as error:
        return str(error)
    return "registered"


if STYLE == "def":

    @rest.get("/dicom/{instance}")
    def dicom(request: rest.Request) -> bytes:
        return orthanc.GetDicomForInstance(request.path["instance"])

else:

    @rest.get("/dicom/{instance}")
    async def dicom_async(request: rest.Request) -> bytes:
        return await orthanc.get_dicom_for_instance(request.path["instance"])
