# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: it notes all that its change handlers see."""

import asyncio
import json
import threading
import urllib.request

import orthanc

base = "http://127.0.0.1:%d" % json.loads(orthanc.GetConfiguration())["HttpPort"]
loop = asyncio.new_event_loop()
held = threading.Event()
events, again, idents = [], [], set()
inside = most_inside = 0
names = {value: name for name, value in orthanc.ChangeType.__dict__.items()}


def attempt(function, *arguments, **named):
    """Return what a call gives or raises, without texts that may differ."""
    try:
        result = function(*arguments, **named)
    except orthanc.OrthancException as error:
        return ["OrthancException", len(error.args), int(error.args[0])]
    except Exception as error:
        return type(error).__name__
    return type(result).__name__


async def both(value):
    await asyncio.sleep(0)
    return value, threading.get_ident()


def is_loop_running():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def http(path):
    with urllib.request.urlopen(base + path, timeout=20) as answer:
        return answer.status


def at_the_resource(level, resource):
    """Ask for the resource that a change tells of, as nearly every script does."""
    folder = {0: "patients", 1: "studies", 2: "series", 3: "instances"}.get(level)
    return attempt(orthanc.RestApiGet, "/%s/%s" % (folder, resource)) if folder else None


def handler(_change, _depth, _which):
    global inside, most_inside
    inside += 1
    most_inside = max(most_inside, inside)
    idents.add(threading.get_ident())
    started = threading.Thread(target=both)
    events.append(
        {
            "type": int(_change),
            "name": names.get(_change),
            "printed": "%s %d %s" % (_change, _change, _depth),
            "json": json.dumps([_change, _depth]),
            "equal": [_change == int(_change), hash(_change) == hash(int(_change))],
            "key": {int(_change): "found"}.get(_change),
            "is int": [isinstance(_change, int), isinstance(_depth, int)],
            "level": int(_depth),
            "id": [type(_which).__name__, _which],
            "thread": type(threading.current_thread()).__name__,
            "main": threading.current_thread() is threading.main_thread(),
            "loop": is_loop_running(),
            "run": asyncio.run(both("x")) == ("x", threading.get_ident()),
            "until": loop.run_until_complete(both("y")) == ("y", threading.get_ident()),
            "resource": at_the_resource(_depth, _which),
            "unknown": attempt(orthanc.RestApiGet, "/instances/nope"),
            "keyword": attempt(orthanc.RestApiGet, uri="/system"),
            "plugin bypassed": attempt(orthanc.RestApiGet, "/events"),
            "after plugins": attempt(orthanc.RestApiGetAfterPlugins, "/events"),
            "overridden": min(json.loads(orthanc.RestApiGet("/statistics"))),
            "overriding": orthanc.RestApiGetAfterPlugins("/statistics").decode(),
            "http": [http("/system"), http("/events")],
            "daemon": started.daemon,
        }
    )
    inside -= 1
    if int(_change) == orthanc.ChangeType.UPDATED_ATTACHMENT:
        assert held.wait(60)
    if _depth == orthanc.ResourceType.SERIES:
        raise ValueError("refused on purpose")
    if _depth == orthanc.ResourceType.STUDY:
        orthanc.RestApiGet("/instances/raised-here")
    if _change == orthanc.ChangeType.ORTHANC_STARTED:
        again.append(attempt(orthanc.RegisterOnChangeCallback, lambda *event: None))


def answer(value):
    def route(output, uri, **request):
        output.AnswerBuffer(json.dumps(value()), "application/json")

    return route


orthanc.RegisterOnChangeCallback(handler)
orthanc.RegisterRestCallback("/events", answer(lambda: events))
orthanc.RegisterRestCallback("/go", answer(held.set))
orthanc.RegisterRestCallback("/again", answer(lambda: again))
orthanc.RegisterRestCallback("/most", answer(lambda: [most_inside, len(idents)]))
orthanc.RegisterRestCallback("/statistics", answer(dict))
