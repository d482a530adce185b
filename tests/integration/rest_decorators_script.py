"""Routes for test_rest_decorators.py, written as the README's are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import orthanc
from orthanc_async import lifecycle, rest


# Paths


@rest.get("/t/patients/{patient}/files/{name:path}")
async def files(request: rest.Request) -> dict[str, Any]:
    return dict(request.path)


@rest.get("/t/frames/{number:int}")
async def frames(request: rest.Request) -> list[Any]:
    return [request.path["number"], type(request.path["number"]).__name__]


@rest.get("/t/frames/first")
async def first_frame(request: rest.Request) -> str:
    return "first"


@rest.get(pattern=r"/t/codes/([A-Z]+)-(?P<digits>[0-9]+)")
async def codes(request: rest.Request) -> dict[str, Any]:
    return {"digits": request.path["digits"], "groups": list(request.groups)}


@rest.get("/t/a.b+c")
async def literal(request: rest.Request) -> str:
    return "literal"


@rest.route("/t/several", methods=["GET", "PUT"])
async def several(request: rest.Request) -> str:
    return request.method


@rest.delete("/t/several")
def several_delete(request: rest.Request) -> str:
    return "plain " + request.method


rest.mount("/mounted")


@rest.get("/mounted/{what}")
async def mounted(request: rest.Request) -> str:
    return f"mounted {request.path['what']}"


@rest.post("/mounted/plain/{what}")
def mounted_plain(request: rest.Request) -> str:
    return f"plain {request.path['what']}"


# Declared while Orthanc serves


@lifecycle.on_startup
async def declare_async() -> None:
    @rest.get("/t/late/{name}/async")
    async def late(request: rest.Request) -> str:
        return f"late {request.path['name']}"

    @rest.get("/mounted/late/{name}")
    async def late_mounted(request: rest.Request) -> str:
        return f"late {request.path['name']}"


@lifecycle.on_startup
def declare_plain() -> None:
    @rest.get("/t/late/{name}/plain")
    def late(request: rest.Request) -> str:
        return f"late {request.path['name']}"


# Requests


@rest.post("/t/echo")
async def echo(request: rest.Request) -> dict[str, Any]:
    return {"json": request.json(), "type": request.headers["Content-Type"], "uri": request.uri}


@rest.get("/t/query")
async def query(request: rest.Request) -> dict[str, Any]:
    return {key: ascii(value) for key, value in request.query.items()}


@rest.get("/t/repeated")
async def repeated(request: rest.Request) -> dict[str, Any]:
    return {
        "last": request.query["a"],
        "all": request.query.getlist("a"),
        "x": request.headers["X-Mine"],
    }


# Answers


@rest.get("/t/answer/{kind}")
async def answer(request: rest.Request) -> Any:
    return make_answer(request.path["kind"])


@rest.get("/t/plain/{kind}")
def plain_answer(request: rest.Request) -> Any:
    return make_answer(request.path["kind"])


def make_answer(kind: str) -> Any:
    if kind == "dict":
        return {"text": "gr\u00fc\u00df", "list": [1, None, True]}
    if kind == "list":
        return [1, "two"]
    if kind == "str":
        return "gr\u00fc\u00df"
    if kind == "bytes":
        return b"\x00\xff"
    if kind == "none":
        return None
    if kind == "empty":
        return ""
    if kind == "response":
        return rest.Response(
            {"made": True}, status=201, headers={"X-One": "1"}, cookies={"session": "abc"}
        )
    if kind == "media":
        return rest.Response("<p>", media_type="text/html; charset=utf-8")
    if kind == "not-modified":
        return rest.Response(status=304)
    if kind == "cookie":
        return rest.Response("x", cookies={"a": rest.Cookie("1", max_age=60)})
    if kind == "teapot":
        raise rest.HTTPError(409, "already there", headers={"X-Why": "me"})
    if kind == "not-allowed":
        raise rest.HTTPError(405, headers={"Allow": "GET, PUT"})
    if kind == "unserialisable":
        return {"inner": [complex(1, 2)]}
    if kind == "nan":
        return {"value": float("nan")}
    if kind == "nonsense":
        return object()
    if kind == "raises":
        raise LookupError("the name of a patient")
    if kind == "group":
        raise ExceptionGroup("several", [rest.HTTPError(404, "in a group")])
    if kind == "surrogates":
        return "\udcff"
    if kind == "iterator":
        return (b"part %d;" % number for number in range(3))
    if kind == "multipart":
        return rest.Multipart([b"one", "two"], content_type="text/plain", subtype="mixed")
    raise AssertionError(kind)


@rest.get("/t/missing/{study}")
async def missing(request: rest.Request) -> bytes:
    return await orthanc.rest_api_get(f"/studies/{request.path['study']}")


@rest.get("/t/missing-plain/{study}")
def missing_plain(request: rest.Request) -> bytes:
    return orthanc.RestApiGet(f"/studies/{request.path['study']}")


@rest.get("/t/bad-find")
async def bad_find(request: rest.Request) -> bytes:
    return await orthanc.rest_api_post("/tools/find", b"no JSON")


@rest.get("/t/generated")
async def generated(request: rest.Request) -> AsyncIterator[bytes]:
    for number in range(3):
        yield b"%d;" % number
        await asyncio.sleep(0)


@rest.get("/t/multipart-async")
async def multipart_async(request: rest.Request) -> rest.Multipart:
    async def items() -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(0)
            yield b"item %d" % number

    return rest.Multipart(items(), content_type="text/plain")


@rest.get("/t/broken/{kind}")
async def broken(request: rest.Request) -> Any:
    def items() -> Iterator[bytes]:
        yield b"first"
        raise ValueError("in the middle")

    return rest.Multipart(items()) if request.path["kind"] == "multipart" else items()


# Plain handlers and the loop


async def system() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(await orthanc.rest_api_get("/system"))
    return result


@rest.get("/t/run-coroutine")
def run(request: rest.Request) -> list[Any]:
    found = [lifecycle.run_coroutine(system())["ApiVersion"] > 0]
    try:
        lifecycle.run_coroutine(asyncio.sleep(60), timeout=0.05)
    except TimeoutError as error:
        found.append(str(error))
    return found


@rest.get("/t/run-on-the-loop")
async def run_on_the_loop(request: rest.Request) -> str:
    coroutine = system()
    try:
        lifecycle.run_coroutine(coroutine)
    except RuntimeError as error:
        return str(error)
    return ""


# asyncio and anyio


@rest.get("/t/asyncio")
async def with_asyncio(request: rest.Request) -> dict[str, Any]:
    found: dict[str, Any] = {}
    several = await asyncio.gather(*(orthanc.rest_api_get("/system") for _ in range(50)))
    found["gather"] = len(set(several))
    task = asyncio.create_task(orthanc.rest_api_get("/statistics"))
    found["task"] = json.loads(await task)["CountStudies"]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(system()) for _ in range(3)]
    found["group"] = len([task.result() for task in tasks])
    try:
        async with asyncio.timeout(0.05):
            await orthanc.rest_api_get_after_plugins("/t/forever")
    except TimeoutError:
        found["timeout"] = True
    done, _ = await asyncio.wait([asyncio.ensure_future(system())], timeout=10)
    found["wait"] = len(done)
    found["wait_for"] = len(await asyncio.wait_for(orthanc.rest_api_get("/system"), 10)) > 10
    results = await asyncio.gather(orthanc.rest_api_get("/nope"), system(), return_exceptions=True)
    found["exception"] = [type(result).__name__ for result in results]
    found["thread"] = json.loads(await asyncio.to_thread(orthanc.RestApiGet, "/statistics"))[
        "CountStudies"
    ]
    return found


@rest.get("/t/anyio")
async def with_anyio(request: rest.Request) -> dict[str, Any]:
    found: dict[str, Any] = {"answers": 0}

    async def one() -> None:
        await orthanc.rest_api_get("/system")
        found["answers"] += 1

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
    with anyio.move_on_after(0.05) as scope:
        await orthanc.rest_api_get_after_plugins("/t/forever")
    found["moved on"] = scope.cancelled_caught
    found["thread"] = await anyio.to_thread.run_sync(
        lambda: json.loads(orthanc.RestApiGet("/statistics"))["CountStudies"]
    )
    found["back"] = await anyio.to_thread.run_sync(
        lambda: anyio.from_thread.run(orthanc.rest_api_get, "/statistics") != b""
    )
    limiter = anyio.CapacityLimiter(1)
    async with limiter:
        found["limited"] = limiter.borrowed_tokens
    try:
        with anyio.fail_after(0.05):
            await anyio.sleep_forever()
    except TimeoutError:
        found["failed after"] = True
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(orthanc.rest_api_get, "/studies/nope")
    except* orthanc.OrthancException as errors:
        found["group"] = [error.args[0] for error in errors.exceptions]
    return found


forever_cancelled = asyncio.Event()


@rest.get("/t/forever")
async def forever(request: rest.Request) -> str:
    await forever_cancelled.wait()
    return "at last"


@rest.get("/t/end-forever")
async def end_forever(request: rest.Request) -> None:
    forever_cancelled.set()
