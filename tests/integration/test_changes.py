"""Plain `def` change handlers: one at a time, in order, on one native thread of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

DELETED, NEW_INSTANCE, NEW_STUDY, UPDATED_ATTACHMENT = 1, 3, 6, 12

WATCHER = """
    import asyncio, json, threading, time, urllib.request
    import orthanc

    events, inside, most_inside, threads = [], 0, 0, set()
    loop = asyncio.new_event_loop()
    base = "http://127.0.0.1:%d" % json.loads(orthanc.GetConfiguration())["HttpPort"]

    async def both(value):
        await asyncio.sleep(0)
        return value, threading.get_ident()

    def handler(_kind, _depth, _which):
        global inside, most_inside
        inside += 1
        most_inside = max(most_inside, inside)
        thread = threading.current_thread()
        started = threading.Thread(target=lambda: None)
        started.start()
        started.join()
        try:
            asyncio.get_running_loop()
            running = True
        except RuntimeError:
            running = False
        event = {
            "type": int(_kind),
            "name": getattr(_kind, "name", None),
            "printed": "%s %d" % (_kind, _kind),
            "level": int(_depth),
            "printed level": "%s" % _depth,
            "id": _which,
            "equal": _kind == int(_kind) and hash(_kind) == hash(int(_kind)),
            "json": json.dumps({"type": _kind}),
            "thread": type(thread).__name__,
            "ident": threading.get_ident(),
            "daemon": started.daemon,
            "running": running,
            "run": asyncio.run(both("x")) == ("x", threading.get_ident()),
            "until": loop.run_until_complete(both("y")) == ("y", threading.get_ident()),
            "rest": json.loads(orthanc.RestApiGet("/system"))["ApiVersion"] > 0,
            "inside": inside,
        }
        with urllib.request.urlopen(base + "/system", timeout=20) as answer:
            event["http"] = answer.status
        with urllib.request.urlopen(base + "/events", timeout=20) as answer:
            event["own route"] = answer.status
        events.append(event)
        inside -= 1
        if _kind == orthanc.ChangeType.ORTHANC_STOPPED:
            with open("stopped.json", "w") as file:
                json.dump(event, file)

    orthanc.RegisterOnChangeCallback(handler)
    orthanc.RegisterRestCallback(
        "/events", lambda output, uri, **request: output.AnswerBuffer(
            json.dumps(events), "application/json"))
"""

RAISING = """
    import orthanc

    def fails(a, b, c):
        raise SystemExit("no more") if c.endswith("0") else ValueError("refused on purpose")

    orthanc.RegisterOnChangeCallback(fails)
"""

SECOND = """
    import json
    import threading
    import time
    import orthanc

    seen = []
    hold = threading.Event()

    def first(change, level, resource):
        seen.append(("first", int(change), resource))
        if change == orthanc.ChangeType.UPDATED_ATTACHMENT:
            assert hold.wait(60)

    def second(*event):
        seen.append(("second", int(event[0]), event[2]))

    late = []

    def registers(change, level, resource):
        if change == orthanc.ChangeType.NEW_STUDY:
            orthanc.RegisterOnChangeCallback(lambda *event: late.append(int(event[0])))

    orthanc.RegisterOnChangeCallback(registers)
    orthanc.RegisterOnChangeCallback(first)
    orthanc.RegisterOnChangeCallback(second)
    orthanc.RegisterOnChangeCallback(second)  # twice: called twice

    def list_seen(output, uri, **request):
        output.AnswerBuffer(json.dumps(seen), "application/json")

    def let_go(output, uri, **request):
        hold.set()
        output.AnswerBuffer("", "text/plain")

    def list_late(output, uri, **request):
        output.AnswerBuffer(json.dumps(late), "application/json")

    orthanc.RegisterRestCallback("/seen", list_seen)
    orthanc.RegisterRestCallback("/late", list_late)
    orthanc.RegisterRestCallback("/go", let_go)
"""


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory, dicom_files: list[Path]) -> Orthanc:
    """An Orthanc that has received one study and deleted it again."""
    server = shared_orthanc([RAISING, WATCHER, SECOND], errors=["script1.fails"])
    for file in dicom_files:
        answer = server.upload(file)
    assert server.http.delete(f"/studies/{answer['ParentStudy']}").status == 200
    return server


@pytest.fixture(scope="module")
def events(server: Orthanc) -> list[dict[str, Any]]:
    """What the watching handler has noted until the study was deleted."""
    result: list[dict[str, Any]] = server.wait_json(
        "/events",
        # The patient and its study come last.
        lambda events: {e["level"] for e in events if e["type"] == DELETED} == {0, 1, 2, 3},
    )
    return result


def test_one_thread(events: list[dict[str, Any]]) -> None:
    """All events come on one foreign thread without a running loop, never two at a time."""
    assert len({event["ident"] for event in events}) == 1
    assert {event["thread"] for event in events} == {"_DummyThread"}
    assert {event["inside"] for event in events} == {1}
    assert {event["daemon"] for event in events} == {True}
    assert {event["running"] for event in events} == {False}


def test_loops_of_their_own(events: list[dict[str, Any]]) -> None:
    """asyncio.run and a kept loop's run_until_complete work for each event."""
    assert all(event["run"] and event["until"] for event in events)


def test_calls_back(events: list[dict[str, Any]]) -> None:
    """REST calls and HTTP requests to the same Orthanc work in a handler."""
    assert all(event["rest"] for event in events)
    assert all(event["http"] == event["own route"] == 200 for event in events)


def test_values(events: list[dict[str, Any]]) -> None:
    """Types and levels equal and hash like ints, print as numbers, and have names."""
    for event in events:
        assert event["printed"] == f"{event['type']} {event['type']}"
        assert event["printed level"] == str(event["level"])
        assert event["equal"]
        assert event["json"] == json.dumps({"type": event["type"]})
    names = {event["type"]: event["name"] for event in events}
    assert names[NEW_INSTANCE] == "NEW_INSTANCE"
    assert names[DELETED] == "DELETED"


def test_started(events: list[dict[str, Any]]) -> None:
    """The first event is ORTHANC_STARTED, with an empty resource and level 4."""
    first = events[0]
    assert (first["name"], first["level"], first["id"]) == ("ORTHANC_STARTED", 4, "")


def test_order(server: Orthanc, events: list[dict[str, Any]]) -> None:
    """Every handler of every script gets each event, in one order, though another raises."""
    mine = [[event["type"], event["id"]] for event in events]
    assert sum(event["type"] == NEW_INSTANCE for event in events) == 11
    new = next(event["id"] for event in events if event["type"] == NEW_INSTANCE)
    assert mine.index([NEW_INSTANCE, new]) < mine.index([DELETED, new])
    seen = server.wait_json("/seen", lambda seen: len(seen) >= 3 * len(events))
    for number, name in enumerate(("first", "second", "second")):
        assert [event[1:] for event in seen[number::3]][: len(mine)] == mine
        assert {event[0] for event in seen[number::3]} == {name}
    raised = server.wait_log(r"script1\.fails.*raised", count=len(mine))
    assert any("NEW_INSTANCE of INSTANCE" in line for line in raised)
    server.wait_log("refused on purpose")


def test_registered_in_a_handler(server: Orthanc, events: list[dict[str, Any]]) -> None:
    """A handler that another one registers gets the events after that one."""
    following = [event["type"] for event in events]
    following = following[following.index(NEW_STUDY) + 1 :]
    server.wait_json("/late", lambda late: late[: len(following)] == following)


def test_blocking(server: Orthanc, events: list[dict[str, Any]], dicom_file: Path) -> None:
    """While one handler blocks, Orthanc stores and answers; the events wait for it in order."""
    instance = server.upload(dicom_file)["ID"]
    assert server.http.put(f"/instances/{instance}/attachments/1500", b"x").status == 200
    event = [UPDATED_ATTACHMENT, instance]
    held = server.wait_json("/seen", lambda seen: seen[-1] == ["first", *event])
    assert server.http.delete(f"/instances/{instance}").status == 200
    assert server.http.get("/seen").json() == held
    server.http.get("/go")
    after = server.wait_json("/seen", lambda seen: len(seen) >= len(held) + 3)
    assert after[: len(held)] == held
    assert after[len(held)] == ["second", *event]
    assert after[len(held) + 1] == ["second", *event]
    assert after[len(held) + 2][:2] == ["first", DELETED]


def test_stopped(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """ORTHANC_STOPPED comes last, with REST and HTTP still working, and is waited for."""
    server = orthanc_server(WATCHER)
    server.wait_json("/events", len)
    server.stop()
    event = json.loads((tmp_path / "stopped.json").read_text())
    assert (event["name"], event["level"], event["id"]) == ("ORTHANC_STOPPED", 4, "")
    assert event["http"] == event["own route"] == 200
    assert event["rest"]
    assert event["thread"] == "_DummyThread"
    assert event["daemon"]
