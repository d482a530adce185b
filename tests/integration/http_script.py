# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Routes for test_http.py: HTTP requests by Orthanc's client, and bodies in chunks."""

import asyncio
import json

import orthanc
from orthanc_async import rest

GET, POST, PUT, DELETE = (
    orthanc.HttpMethod.GET,
    orthanc.HttpMethod.POST,
    orthanc.HttpMethod.PUT,
    orthanc.HttpMethod.DELETE,
)
seen = {"chunks": [], "broken": [], "pulled": 0, "answered": 0}


def show(status, headers, body):
    return {"status": status, "headers": headers, "body": body.decode()}


def route(path):
    """Register an async handler that gets the JSON body and returns what is answered as JSON."""

    def decorate(function):
        async def handler(output, uri, **request):
            try:
                result = await function(json.loads(request["body"]))
            except Exception as error:
                result = {"error": f"{type(error).__name__}: {error}"}
            output.AnswerBuffer(json.dumps(result), "application/json")

        handler.__name__ = function.__name__
        orthanc.RegisterRestCallback(path, handler)
        return function

    return decorate


async def both(form, blocking, awaitable, *arguments):
    if form == "blocking":
        return show(*await asyncio.to_thread(blocking, *arguments))
    return show(*await awaitable(*arguments))


@route("/http-client")
async def http_client(fields):
    arguments = (
        fields["method"],
        fields["url"],
        {"X-Asked": "yes"},
        fields.get("body", ""),
        None,
        None,
        10,
        None,
        None,
        None,
        0,
    )
    return await both(fields["form"], orthanc.HttpClient, orthanc.http_client, *arguments)


@route("/call-rest-api")
async def call_rest_api(fields):
    arguments = (
        fields["method"],
        fields["url"],
        {"X-Asked": "yes"},
        fields.get("body", ""),
        fields["after"],
    )
    return await both(fields["form"], orthanc.CallRestApi, orthanc.call_rest_api, *arguments)


@route("/rest-api-get2")
async def rest_api_get2(fields):
    arguments = ("/mirror", {"X-Asked": "yes"}, 1)
    if fields["form"] == "blocking":
        return json.loads(await asyncio.to_thread(orthanc.RestApiGet2, *arguments))
    return json.loads(await orthanc.rest_api_get2(*arguments))


@route("/call-peer")
async def call_peer(fields):
    peers = await orthanc.get_peers()
    arguments = (
        0,
        fields["method"],
        fields["url"],
        {"X-Asked": "yes"},
        fields.get("body", ""),
        10,
    )
    return await both(fields["form"], peers.CallPeerApi, peers.call_peer_api, *arguments)


def mirror(output, uri, **request):
    """Answers with what came."""
    answer = {"method": request["method"], "asked": request["headers"].get("x-asked")}
    if "body" in request:
        answer["body"] = request["body"].decode()
    output.AnswerBuffer(json.dumps(answer), "application/json")


orthanc.RegisterRestCallback("/mirror", mirror)


# The client in chunks


def bodies(kind):
    def generate():
        for number in range(5):
            seen["pulled"] += 1
            yield f"part {number};"

    async def generate_async():
        for text in generate():
            await asyncio.sleep(0)
            yield text.encode()

    def fail():
        yield b"begun;"
        raise ValueError("no more body")

    async def fail_async():
        yield b"begun;"
        raise ValueError("no more async body")

    return {
        "none": None,
        "text": "whole",
        "bytes": b"whole",
        "list": ["a", b"b", bytearray(b"c"), b""],
        "generator": generate(),
        "async": generate_async(),
        "fails": fail(),
        "fails-async": fail_async(),
        "number": 3,
        "numbers": [3],
        "empty": [],
        "large": (bytes(100_000) for _ in range(100)),
    }[kind]


def answers(kind, chunks):
    async def take_async(data):
        await asyncio.sleep(0)
        seen["answered"] += 1
        chunks.append(len(data))

    async def fail_async(data):
        seen["answered"] += 1
        raise ValueError("enough")

    def fail(data):
        raise ValueError("enough, plain")

    return {
        "none": None,
        "plain": lambda data: chunks.append(len(data)),
        "async": take_async,
        "fails": fail,
        "fails-async": fail_async,
        "number": 3,
    }[kind]


@route("/chunked-client")
async def chunked_client(fields):
    chunks = []
    arguments = (
        fields.get("method", POST),
        fields["url"],
        {"X-Asked": "yes"},
        bodies(fields.get("body", "none")),
        answers(fields.get("answer", "none"), chunks),
    )
    result = await both(
        fields["form"], orthanc.ChunkedHttpClient, orthanc.chunked_http_client, *arguments
    )
    return {**result, "chunks": sum(chunks), "headers": sorted(result["headers"])}


@route("/cancelled-client")
async def cancelled_client(fields):
    seen["answered"] = 0
    task = asyncio.ensure_future(
        orthanc.chunked_http_client(GET, fields["url"], None, None, answers("async", []))
    )
    while seen["answered"] < 3:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    return {"cancelled": task.cancelled()}


# The server in chunks


async def receive_async(output, uri, **request):
    if request["method"] in {"GET", "DELETE"}:
        output.AnswerBuffer(json.dumps(seen), "application/json")
        return
    kind = request["groups"][0]
    if kind == "early":
        output.AnswerBuffer("unread", "text/plain")
        return
    if kind == "raises":
        raise ValueError("not this one")
    seen["chunks"] = []
    size = 0
    try:
        async for chunk in request["body"]:
            size += len(chunk)
            seen["chunks"].append(len(chunk))
    except ConnectionError as error:
        seen["broken"].append(f"async {error}")
        raise
    output.AnswerBuffer(f"async {request['method']} {size}", "text/plain")


def receive_plain(output, uri, **request):
    size = 0
    try:
        for chunk in request["body"]:
            size += len(chunk)
    except ConnectionError as error:
        seen["broken"].append(f"plain {error}")
        raise
    output.AnswerBuffer(f"plain {request['method']} {size}", "text/plain")


orthanc.RegisterChunkedRestCallback("/receive-async/(.*)", receive_async)
orthanc.RegisterChunkedRestCallback("/receive-plain/(.*)", receive_plain)


# The same by decorators


@rest.put("/take/{name}", chunked=True)
async def take(request):
    size = 0
    async for chunk in request.chunks:
        size += len(chunk)
    try:
        _ = request.body
    except RuntimeError as error:
        return {"name": request.path["name"], "size": size, "body": str(error)}


@rest.post("/take/{name}")
def take_whole(request):
    return {"whole": len(request.body)}


@rest.get("/take/{name}")
async def take_nothing(request):
    try:
        return str(request.chunks)
    except RuntimeError as error:
        return str(error)


@rest.post("/take-plain", chunked=True)
def take_plain(request):
    return {"size": sum(len(chunk) for chunk in request.chunks)}


@rest.put("/take-plain")
async def take_plain_whole(request):
    return {"whole": len(request.body)}


refused = []
try:
    rest.delete("/first")(take_nothing)
    rest.post("/first", chunked=True)(take_plain)
except ValueError as error:
    refused.append(str(error))
rest.mount("/mounted")
try:
    rest.post("/mounted/x", chunked=True)(take_plain)
except ValueError as error:
    refused.append(str(error))


@rest.get("/refused")
def get_refused(request):
    return refused
