# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Streamed answers, for test_streams.py."""

import asyncio
import json
import threading

import orthanc
from orthanc_async import rest

notes = []
go_on = threading.Event()


def stream_plain(output, uri, **request):
    output.SetHttpHeader("X-Kind", "plain")
    output.StartStreamAnswer("text/plain")
    for chunk in ("one;", b"two;", bytearray(b"three")):
        output.SendStreamChunk(chunk)


async def stream_async(output, uri, **request):
    output.SetHttpHeader("X-Kind", "async")
    output.start_stream_answer("text/plain")
    for chunk in ("one;", b"two;", bytearray(b"three")):
        await output.send_stream_chunk(chunk)


async def blocking(output, uri, **request):
    try:
        output.SendStreamChunk(b"x")
    except RuntimeError as error:
        output.AnswerBuffer(str(error), "text/plain")


def endless_plain(output, uri, **request):
    output.StartStreamAnswer("text/plain")
    try:
        while True:
            output.SendStreamChunk(bytes(100_000))
    except BaseException as error:
        notes.append(f"d {type(error).__name__} {error}")
        raise


async def endless_async(output, uri, **request):
    output.StartStreamAnswer("text/plain")
    try:
        while True:
            await output.send_stream_chunk(bytes(100_000))
    except BaseException as error:
        notes.append(f"a {type(error).__name__} {error}")
        raise


for path, handler in {
    "/d/stream": stream_plain,
    "/a/stream": stream_async,
    "/a/blocking": blocking,
    "/d/endless": endless_plain,
    "/a/endless": endless_async,
    "/notes": lambda output, uri, **request: output.AnswerBuffer(json.dumps(notes), "text/json"),
}.items():
    orthanc.RegisterRestCallback(path, handler)


@rest.get("/d/parts")
def parts_plain(request):
    return rest.Response(iter([b"one;", "two"]), media_type="text/plain", headers={"X-A": "b"})


@rest.get("/a/parts")
async def parts_async(request):
    return rest.Response(chunks(), media_type="text/plain", headers={"X-A": "b"})


async def chunks():
    yield b"one;"
    yield "two"


@rest.get("/slow")
async def slow(request):
    async def items():
        yield b"at once"
        await asyncio.to_thread(go_on.wait, 60)
        yield b"later"

    return items()


@rest.get("/go-on")
async def set_go_on(request):
    go_on.set()


def broken_items():
    yield b"first"
    raise ValueError("in the middle")


@rest.get("/d/broken")
def broken_plain(request):
    return broken_items()


@rest.get("/a/broken")
async def broken_async(request):
    return broken_items()
