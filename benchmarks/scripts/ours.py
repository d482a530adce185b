"""What orthanc-async runs: the same callbacks as `async def`, and one as `def`."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import image_memory  # type: ignore[import-not-found] # beside this script
import orthanc
from orthanc_async import rest

handled: list[tuple[float, float, str]] = []


async def plain(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    output.AnswerBuffer("ok\n", "text/plain")


def plain_def(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    output.AnswerBuffer("ok\n", "text/plain")


@rest.get("/bench/decorated")
async def decorated(request: rest.Request) -> str:
    return "ok\n"


async def statistics(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    output.AnswerBuffer(await orthanc.rest_api_get("/statistics"), "application/json")


async def fetch(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    instances = json.loads(request["body"])
    start = time.monotonic()
    files = await asyncio.gather(
        *(orthanc.rest_api_get(f"/instances/{instance}/file") for instance in instances)
    )
    seconds = time.monotonic() - start
    answer = {"seconds": seconds, "bytes": sum(len(file) for file in files)}
    output.AnswerBuffer(json.dumps(answer), "application/json")


def image(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    side = image_memory.SIDE

    def read(pixels: bytes) -> orthanc.Image:
        gray = orthanc.PixelFormat.GRAYSCALE8
        return orthanc.CreateImageAccessor(gray, side, side, side, pixels)

    output.AnswerBuffer(json.dumps(image_memory.measure(read)), "application/json")


async def events(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    if request["method"] == "DELETE":
        handled.clear()
    output.AnswerBuffer(json.dumps(handled), "application/json")


async def on_change(change: int, level: int, resource: str) -> None:
    if change == orthanc.ChangeType.DELETED and level == orthanc.ResourceType.INSTANCE:
        start = time.monotonic()
        await asyncio.sleep(0.1)
        handled.append((start, time.monotonic(), resource))


orthanc.RegisterRestCallback("/bench/plain", plain)
orthanc.RegisterRestCallback("/bench/def", plain_def)
orthanc.RegisterRestCallback("/bench/statistics", statistics)
orthanc.RegisterRestCallback("/bench/fetch", fetch)
orthanc.RegisterRestCallback("/bench/image", image)
orthanc.RegisterRestCallback("/bench/events", events)
orthanc.RegisterOnChangeCallback(on_change)
