# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""HTTP filters that do what the test has told them: an expression for each, None to allow."""

import asyncio
import inspect
import json

import orthanc
from orthanc_async import FilteredRequest, http_filter

mode = {}
seen = []
release = {}


async def slow():
    await asyncio.sleep(120)


async def held():
    await release.setdefault("event", asyncio.Event()).wait()


async def tries():
    """What reads and stores needs nothing that an HTTP filter's caller holds."""
    await orthanc.rest_api_get("/system")
    return True


def decide(name, uri):
    # The test's own requests pass.
    if not uri.startswith("/changes"):
        return True
    seen.append(name)
    wanted = mode.get(name)
    return True if wanted is None else eval(wanted)


async def decide_async(name, uri):
    result = decide(name, uri)
    return await result if inspect.isawaitable(result) else result


def filter_def(_uri, **request):
    if _uri.startswith("/changes"):
        mode["fields"] = [
            _uri,
            repr(request["method"]),
            request["ip"],
            request["headers"].get("x-mine"),
            request.get("get"),
            sorted(request),
        ]
    return decide("filter_def", _uri)


async def filter_async(_uri, **request):
    return await decide_async("filter_async", _uri)


orthanc.RegisterIncomingHttpRequestFilter(filter_def)
orthanc.RegisterIncomingHttpRequestFilter(filter_async)


@http_filter
def filter_decorated_def(request: FilteredRequest):
    if request.uri.startswith("/changes"):
        mode["request"] = [
            request.uri,
            request.method,
            request.ip,
            request.headers["X-Mine"] if "X-Mine" in request.headers else None,
            dict(request.query),
            "secret" in repr(request),
        ]
    return decide("filter_decorated_def", request.uri)


@http_filter(timeout=1)
async def filter_decorated_async(request: FilteredRequest):
    return await decide_async("filter_decorated_async", request.uri)


async def set_mode(output, _uri, **request):
    mode.clear()
    mode.update(json.loads(request["body"]))
    seen.clear()
    output.AnswerBuffer("{}", "application/json")


async def get_notes(output, _uri, **_request):
    output.AnswerBuffer(json.dumps({**mode, "seen": seen}), "application/json")


orthanc.RegisterRestCallback("/mode", set_mode)
orthanc.RegisterRestCallback("/notes", get_notes)
