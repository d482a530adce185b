"""When a route may be registered, calls that come back in, and a loop that must turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Answer, Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("rest_rules_script.py")


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with few threads for SDK calls, so that nested calls have to make more."""
    config = {"Python": {"SdkThreads": 2}, "HttpThreadsCount": 50}
    server = shared_orthanc(SCRIPT, config=config, errors=["on the event loop, which goes on"])
    # The registrations at the start refuse what waits for it: that holds Orthanc's lock.
    server.ask("/results")
    return server


@pytest.fixture
def pool(server: Orthanc) -> Iterator[ThreadPoolExecutor]:
    """Threads for clients; what is held at the end is let go."""
    with ThreadPoolExecutor(32) as pool:
        server.http.get("/hold-again")
        yield pool
        server.http.get("/let-go")


@pytest.mark.parametrize("kind", ["plain", "async", "awaited", "task", "thread"])
def test_register_inside(server: Orthanc, kind: str) -> None:
    """Inside a REST handler a registration raises at once, also in its tasks and threads."""
    text = server.http.get(f"/inside/{kind}").text
    # These words, because after some seconds it would raise others.
    words = (
        "RuntimeError: orthanc.RegisterRestCallback('/never') was called inside the REST handler"
    )
    assert text.startswith(words), text
    assert f"inside_{kind}" in text
    assert server.http.get("/never").status == 404


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("startup, on the loop", "/late/startup-loop"),
        ("startup, awaited", "/late/startup-awaited"),
        ("startup, in a thread", "/late/startup-thread"),
        ("change", "/late/change"),
        ("change, awaited", "/late/change-awaited"),
    ],
)
def test_register_late(server: Orthanc, name: str, path: str) -> None:
    """Hooks and change handlers can register routes while Orthanc serves."""
    results = server.wait_json("/results", lambda results: name in results)
    assert results[name] == "registered"
    assert server.ask(path).text == f"fresh {path}"


@pytest.mark.parametrize("name", ["bad pattern", "bad pattern, awaited"])
def test_register_nonsense(server: Orthanc, name: str) -> None:
    """What is no regular expression is refused with the pattern and Orthanc's own reason."""
    results = server.wait_json("/results", lambda results: name in results)
    assert results[name].startswith("RuntimeError: orthanc.RegisterRestCallback('/no(pattern'): ")
    assert "does not take this regular expression: Unmatched" in results[name]


@pytest.mark.parametrize("way", ["thread", "background"])
def test_register_meanwhile(server: Orthanc, pool: ThreadPoolExecutor, way: str) -> None:
    """A script's own thread and a background task can, while requests come in."""
    end = threading.Event()

    def ask() -> set[int]:
        found = set()
        while not end.is_set():
            found.add(server.http.get("/d/nested/3").status)
            found.add(server.http.get("/a/nested/3").status)
        return found

    asking = [pool.submit(ask) for _ in range(4)]
    names = [f"{way}{number}" for number in range(5)]
    try:
        for name in names:
            assert server.ask(f"/from-{way}/{name}").status == 200
        results = server.wait_json("/results", lambda results: set(names) <= set(results))
    finally:
        end.set()
    for name in names:
        # With requests all the time there may be no moment without one.
        if results[name] == "registered":
            assert server.ask(f"/late/{name}").status == 200
        else:
            assert "nested_" in results[name]
    # 503: let in by Orthanc in the moment of a registration.
    assert {200} <= set().union(*(task.result() for task in asking)) <= {200, 500, 503}


def test_register_too_late(server: Orthanc, pool: ThreadPoolExecutor) -> None:
    """After 5 s a registration gives up and names the handlers in flight; others are served."""
    held = [pool.submit(server.http.get, f"/hold/{kind}") for kind in ("plain", "async")]
    server.ask("/from-thread/given-up")
    server.ask("/from-background/given-up-too")
    assert server.ask("/turns").text == "turned"
    names = {"given-up", "given-up-too"}
    results = server.wait_json("/results", lambda results: names <= set(results))
    for name in names:
        assert "GET /hold/plain" in results[name]
        assert "GET /hold/async" in results[name]
        assert "after 5 s" in results[name]
    server.ask("/let-go")
    assert {task.result().text for task in held} == {"held"}
    server.ask("/from-thread/afterwards")
    results = server.wait_json("/results", lambda results: "afterwards" in results)
    assert results["afterwards"] == "registered"
    assert server.ask("/late/given-up").status == 404
    assert server.ask("/late/afterwards").status == 200


def test_built_in(server: Orthanc) -> None:
    """A route stands before a built-in one, and calls it by the same URI."""
    answer = server.http.post("/tools/find", '{"Level": "Study", "Query": {}}')
    assert answer.json() == {"found": []}


def test_nested(server: Orthanc, pool: ThreadPoolExecutor) -> None:
    """Plain and async routes call each other through Orthanc, many at once and six deep."""
    paths = ["/d/nested/6", "/a/nested/6"] * 15
    answers: list[Answer] = list(pool.map(server.http.get, paths))
    assert [answer.text for answer in answers] == ["dadadad", "adadada"] * 15


def test_fan(server: Orthanc) -> None:
    """A handler that awaits three calls, each of which awaits three, does not lock up."""
    assert server.http.get("/fan/4").text == "81"


def test_blocking_call(server: Orthanc) -> None:
    """A blocking SDK function on the loop raises and names the awaitable; pure ones pass."""
    text = server.http.get("/blocking").text
    assert "orthanc.RestApiGet() would block the event loop" in text
    assert "await orthanc.rest_api_get(…)" in text
    assert server.http.get("/pure").text == "36"


def test_loop_is_ended(server: Orthanc) -> None:
    """SystemExit in a script's task, and loop.stop(), are logged and do not end the loop."""
    assert server.http.get("/exit-in-task").text == "goes on True"
    server.wait_log(r"^E.*a task or callback raised on the event loop")
    server.wait_log(r"^SystemExit: 3")
    assert server.http.get("/stop-loop").text == "goes on"
    server.wait_log(r"^E.*has called loop\.stop\(\) on the event loop")
    assert server.http.get("/turns").text == "turned"


def test_loop_stands(server: Orthanc, pool: ThreadPoolExecutor) -> None:
    """A handler that blocks the loop is named in the log with its stack; all goes on after it."""
    standing = pool.submit(server.http.get, "/stands")
    warning = server.wait_log(r"^W.*the event loop has not turned .*")
    assert "stands" in warning[0]
    assert "GET /stands" in warning[0]
    server.wait_log(r"in stands")
    assert not standing.done()
    waiting = pool.submit(server.http.get, "/turns")
    server.http.get("/let-go")  # a plain handler: it does not need the loop
    assert standing.result().text == "stood"
    assert waiting.result().text == "turned"
