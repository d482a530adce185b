"""Change handlers in the official plugin's style, on our plugin and on the official one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter

SCRIPT = Path(__file__).with_name("on_change_script.py")
DELETED, NEW_INSTANCE, STARTED, UPDATED_ATTACHMENT, UPDATED_METADATA = 1, 3, 10, 12, 13

Events = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter) -> Pair:
    """Both plugins with the same script; ours first."""
    text = SCRIPT.read_text("utf-8")
    return ours(text), official(text)


@pytest.fixture(scope="module")
def events(pair: Pair, dicom_files: list[Path]) -> Events:
    """What both handlers have noted while a study was stored and deleted again."""
    found = []
    for server in pair:
        server.wait_json("/events", len)  # ORTHANC_STARTED has come
        for file in dicom_files:
            answer = server.upload(file)
        # Nothing is deleted before its own events have been handled: handlers ask for it.
        assert server.http.put(f"/instances/{answer['ID']}/metadata/1024", "x").status == 200
        server.wait_json("/events", lambda events: of(events, UPDATED_METADATA))
        assert server.http.delete(f"/studies/{answer['ParentStudy']}").status == 200
        found.append(
            server.wait_json(
                "/events", lambda events: {e["level"] for e in of(events, DELETED)} == {0, 1, 2, 3}
            )
        )
    return found[0], found[1]


def of(events: list[dict[str, Any]], kind: int) -> list[dict[str, Any]]:
    """Return the events of one type."""
    return [event for event in events if event["type"] == kind]


def at_least(number: int, events: list[dict[str, Any]]) -> bool:
    """Tell whether so many events have come."""
    return len(events) >= number


def test_same_events(events: Events) -> None:
    """The same changes come in the same order, as the same values, and allow the same calls."""
    mine, other = events
    assert len(of(mine, NEW_INSTANCE)) == 11
    for ours_, official_ in zip(mine, other, strict=True):
        assert ours_ == official_


def test_what_a_handler_may_do(events: Events) -> None:
    """What both allow is what scripts do: loops of their own, REST, HTTP to their own Orthanc."""
    for event in (*events[0], *events[1]):
        assert (event["thread"], event["daemon"], event["loop"]) == ("_DummyThread", True, False)
        assert event["run"]
        assert event["until"]
        assert event["http"] == [200, 200]
        assert (event["unknown"], event["keyword"]) == (["OrthancException", 2, 17], "TypeError")
        assert (event["plugin bypassed"], event["after plugins"]) == (event["unknown"], "bytes")
        assert (event["overridden"], event["overriding"]) == ("CountInstances", "{}")


def test_started(events: Events) -> None:
    """ORTHANC_STARTED comes first, with an empty resource and level 4."""
    for first in (events[0][0], events[1][0]):
        assert (first["type"], first["name"]) == (STARTED, "ORTHANC_STARTED")
        assert (first["id"], first["level"]) == (["str", ""], 4)


@pytest.mark.usefixtures("events")
def test_one_at_a_time(pair: Pair) -> None:
    """All events come on one thread, never two at once."""
    for server in pair:
        assert server.http.get("/most").json() == [1, 1]


@pytest.mark.usefixtures("events")
def test_exceptions(pair: Pair) -> None:
    """A handler that raises is in the log with its words, and gets the next event."""
    for server in pair:
        server.wait_log("refused on purpose")
        server.wait_log("/instances/raised-here")


@pytest.mark.usefixtures("events")
def test_second_registration(pair: Pair) -> None:
    """A second handler is welcome with ours; the official plugin refuses it."""
    assert [server.http.get("/again").json() for server in pair] == [
        ["NoneType"],
        ["RuntimeError"],
    ]


@pytest.mark.usefixtures("events")
def test_blocking(pair: Pair, dicom_file: Path) -> None:
    """While a handler blocks, Orthanc stores and answers; later events wait for it."""
    for server in pair:
        instance = server.upload(dicom_file)["ID"]
        path = f"/instances/{instance}/attachments/1500"
        assert server.http.put(path, b"x").status == 200
        held = server.wait_json("/events", lambda events: events[-1]["type"] == UPDATED_ATTACHMENT)
        assert server.http.delete(f"/instances/{instance}").status == 200
        assert server.http.get("/events").json() == held
        assert server.http.get("/go").status == 200
        wanted = len(held) + 4  # the instance and what it was alone in
        after = server.wait_json("/events", partial(at_least, wanted))
        assert {event["type"] for event in after[len(held) :]} == {DELETED}
        assert server.http.get("/most").json() == [1, 1]
