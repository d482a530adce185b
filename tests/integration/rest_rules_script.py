# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Routes for test_rest_rules.py: registrations at all times, calls that come back in."""

import asyncio
import json
import threading

import orthanc
from orthanc_async import lifecycle

results = {}
hold = threading.Event()


def text(output, value):
    output.AnswerBuffer(str(value), "text/plain")


def fresh(output, uri, **request):
    text(output, "fresh " + uri)


async def fresh_async(output, uri, **request):
    await asyncio.sleep(0)
    text(output, "fresh " + uri)


def attempt(name, pattern, handler=fresh):
    try:
        orthanc.RegisterRestCallback(pattern, handler)
        results[name] = "registered"
    except Exception as error:
        results[name] = f"{type(error).__name__}: {error}"
    return results[name]


async def attempt_async(name, pattern):
    try:
        await orthanc.register_rest_callback(pattern, fresh_async)
        results[name] = "registered"
    except Exception as error:
        results[name] = f"{type(error).__name__}: {error}"
    return results[name]


# Inside a handler: never


def inside_plain(output, uri, **request):
    text(output, attempt("inside", "/never"))


async def inside_async(output, uri, **request):
    text(output, attempt("inside", "/never"))


async def inside_awaited(output, uri, **request):
    text(output, await attempt_async("inside", "/never"))


async def inside_task(output, uri, **request):
    text(output, await asyncio.create_task(attempt_async("inside", "/never")))


async def inside_thread(output, uri, **request):
    text(output, await asyncio.to_thread(attempt, "inside", "/never"))


for name, handler in {
    "plain": inside_plain,
    "async": inside_async,
    "awaited": inside_awaited,
    "task": inside_task,
    "thread": inside_thread,
}.items():
    orthanc.RegisterRestCallback(f"/inside/{name}", handler)


# Outside: at once or late


def from_thread(output, uri, **request):
    name = request["groups"][0]
    threading.Thread(target=attempt, args=(name, f"/late/{name}")).start()
    text(output, "started")


def from_background(output, uri, **request):
    name = request["groups"][0]
    lifecycle.background(attempt_async(name, f"/late/{name}"))
    text(output, "started")


attempt("bad pattern", "/no(pattern")
orthanc.RegisterRestCallback("/from-thread/(.*)", from_thread)
orthanc.RegisterRestCallback("/from-background/(.*)", from_background)
orthanc.RegisterRestCallback(
    "/results", lambda output, uri, **request: text(output, json.dumps(results))
)


@lifecycle.on_startup
async def start_async():
    attempt("startup, on the loop", "/late/startup-loop")
    await attempt_async("startup, awaited", "/late/startup-awaited")
    await attempt_async("bad pattern, awaited", "/no(pattern")


@lifecycle.on_startup
def start_plain():
    attempt("startup, in a thread", "/late/startup-thread")


def on_change(change, level, resource):
    if change == orthanc.ChangeType.ORTHANC_STARTED:
        attempt("change", "/late/change")


async def on_change_async(change, level, resource):
    if change == orthanc.ChangeType.ORTHANC_STARTED:
        await attempt_async("change, awaited", "/late/change-awaited")


orthanc.RegisterOnChangeCallback(on_change)
orthanc.RegisterOnChangeCallback(on_change_async)


def hold_plain(output, uri, **request):
    hold.wait(60)
    text(output, "held")


async def hold_async(output, uri, **request):
    while not hold.is_set():
        await asyncio.sleep(0.02)
    text(output, "held")


def let_go(output, uri, **request):
    hold.set()
    text(output, "")


orthanc.RegisterRestCallback("/hold/plain", hold_plain)
orthanc.RegisterRestCallback("/hold/async", hold_async)
orthanc.RegisterRestCallback("/let-go", let_go)


# Built-in routes and calls that come back in


async def find(output, uri, **request):
    inside = json.loads(await orthanc.rest_api_post("/tools/find", request["body"]))
    output.AnswerBuffer(json.dumps({"found": inside}), "application/json")


orthanc.RegisterRestCallback("/tools/find", find)


def nested_plain(output, uri, **request):
    depth = int(request["groups"][0])
    inner = orthanc.RestApiGetAfterPlugins(f"/a/nested/{depth - 1}") if depth else b""
    output.AnswerBuffer(inner + b"d", "text/plain")


async def nested_async(output, uri, **request):
    depth = int(request["groups"][0])
    inner = await orthanc.rest_api_get_after_plugins(f"/d/nested/{depth - 1}") if depth else b""
    output.AnswerBuffer(inner + b"a", "text/plain")


async def fan(output, uri, **request):
    depth = int(request["groups"][0])
    if depth == 0:
        text(output, 1)
        return
    calls = [orthanc.rest_api_get_after_plugins(f"/fan/{depth - 1}") for _ in range(3)]
    text(output, sum(map(int, await asyncio.gather(*calls))))


orthanc.RegisterRestCallback("/d/nested/([0-9]+)", nested_plain)
orthanc.RegisterRestCallback("/a/nested/([0-9]+)", nested_async)
orthanc.RegisterRestCallback("/fan/([0-9]+)", fan)


# The loop must not be blocked


async def blocking(output, uri, **request):
    try:
        orthanc.RestApiGet("/system")
    except RuntimeError as error:
        text(output, error)


async def pure(output, uri, **request):
    orthanc.LogInfo("fine on the loop")
    text(output, len(orthanc.GenerateUuid()))


async def turns(output, uri, **request):
    await asyncio.sleep(0)
    text(output, "turned")


async def stands(output, uri, **request):
    hold.wait(60)
    text(output, "stood")


async def leave():
    raise SystemExit(3)


async def exit_in_task(output, uri, **request):
    task = asyncio.create_task(leave())
    await asyncio.sleep(0.01)
    text(output, f"goes on {task.done()}")


async def stop_loop(output, uri, **request):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    text(output, "goes on")


orthanc.RegisterRestCallback("/exit-in-task", exit_in_task)
orthanc.RegisterRestCallback("/stop-loop", stop_loop)
orthanc.RegisterRestCallback("/blocking", blocking)
orthanc.RegisterRestCallback("/pure", pure)
orthanc.RegisterRestCallback("/turns", turns)
orthanc.RegisterRestCallback("/stands", stands)
orthanc.RegisterRestCallback(
    "/hold-again", lambda output, uri, **request: (hold.clear(), text(output, ""))
)
