"""What the official plugin runs: plain `def` callbacks, as its users write them."""

from __future__ import annotations

import json
import time
from typing import Any

import image_memory  # type: ignore[import-not-found] # beside this script
import orthanc

handled: list[tuple[float, float, str]] = []


def plain(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    output.AnswerBuffer("ok\n", "text/plain")


def statistics(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    output.AnswerBuffer(orthanc.RestApiGet("/statistics"), "application/json")


def fetch(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    instances = json.loads(request["body"])
    start = time.monotonic()
    files = [orthanc.RestApiGet(f"/instances/{instance}/file") for instance in instances]
    seconds = time.monotonic() - start
    answer = {"seconds": seconds, "bytes": sum(len(file) for file in files)}
    output.AnswerBuffer(json.dumps(answer), "application/json")


def image(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    side = image_memory.SIDE

    def read(pixels: bytes) -> bytes:
        gray = orthanc.PixelFormat.GRAYSCALE8
        return orthanc.CreateImageFromBuffer(gray, side, side, side, pixels).GetImageBuffer()

    output.AnswerBuffer(json.dumps(image_memory.measure(read)), "application/json")


def events(output: orthanc.RestOutput, uri: str, **request: Any) -> None:
    if request["method"] == "DELETE":
        handled.clear()
    output.AnswerBuffer(json.dumps(handled), "application/json")


def on_change(change: int, level: int, resource: str) -> None:
    if change == orthanc.ChangeType.DELETED and level == orthanc.ResourceType.INSTANCE:
        start = time.monotonic()
        time.sleep(0.1)
        handled.append((start, time.monotonic(), resource))


orthanc.RegisterRestCallback("/bench/plain", plain)
orthanc.RegisterRestCallback("/bench/statistics", statistics)
orthanc.RegisterRestCallback("/bench/fetch", fetch)
orthanc.RegisterRestCallback("/bench/image", image)
orthanc.RegisterRestCallback("/bench/events", events)
orthanc.RegisterOnChangeCallback(on_change)
