"""HandlerTimeout: handlers that do not end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import asyncio
    import threading
    import orthanc

    hold = threading.Event()
    notes = []

    async def never(output, uri, **request):
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("never was cancelled")

    async def swallows(output, uri, **request):
        while not hold.is_set():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                notes.append("swallowed")
                while not hold.is_set():
                    await asyncio.sleep(0.05)
        try:
            output.AnswerBuffer("late", "text/plain")
        except RuntimeError as error:
            notes.append(str(error))

    async def answered(output, uri, **request):
        output.AnswerBuffer("answered", "text/plain")
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("answered was cancelled")

    async def answers_cancellation(output, uri, **request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            output.SendHttpStatus(408, "own words")

    async def slow_stream(output, uri, **request):
        output.StartMultipartAnswer("related", "text/plain")
        for number in range(6):
            await asyncio.sleep(0.5)
            await output.send_multipart_item(b"item %d" % number)

    async def stuck_stream(output, uri, **request):
        output.StartMultipartAnswer("related", "text/plain")
        await output.send_multipart_item(b"first")
        await asyncio.Event().wait()

    async def in_call(output, uri, **request):
        await orthanc.rest_api_get_after_plugins("/plain")

    async def quick(output, uri, **request):
        await asyncio.sleep(0.01)
        output.AnswerBuffer("quick", "text/plain")

    def plain(output, uri, **request):
        hold.wait(60)
        output.AnswerBuffer("plain", "text/plain")

    def let_go(output, uri, **request):
        hold.set()
        output.AnswerBuffer("", "text/plain")

    def show_notes(output, uri, **request):
        import json
        output.AnswerBuffer(json.dumps(notes), "application/json")

    for name, handler in {
        "never": never, "swallows": swallows, "answered": answered, "own": answers_cancellation,
        "slow-stream": slow_stream, "stuck-stream": stuck_stream, "in-call": in_call,
        "quick": quick, "plain": plain, "let-go": let_go, "notes": show_notes,
    }.items():
        orthanc.RegisterRestCallback("/" + name, handler)
"""


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc whose handlers have a second."""
    errors = ["ignores its cancellation", "stuck_stream|plugin engine"]
    return shared_orthanc(SCRIPT, config={"Python": {"HandlerTimeout": 1}}, errors=errors)


def test_timeouts(server: Orthanc) -> None:
    """Each handler that does not end is cancelled or let go; the others are served meanwhile."""
    paths = [
        *("/never", "/swallows", "/answered", "/own", "/slow-stream", "/stuck-stream"),
        *("/in-call", "/plain"),
    ]
    with ThreadPoolExecutor(len(paths)) as pool:
        tasks = {path: pool.submit(server.http.get, path) for path in paths}
        assert server.http.get("/quick").text == "quick"
        never = tasks["/never"].result()
        assert never.status == 500
        assert "HandlerTimeout (1 s)" in never.json()["Message"]
        assert never.json()["Uri"] == "/never"
        swallows = tasks["/swallows"].result()
        assert swallows.status == 500
        assert "ignores its cancellation" in swallows.json()["Message"]
        assert tasks["/answered"].result().text == "answered"
        own = tasks["/own"].result()
        assert (own.status, own.text) == (408, "own words")
        assert tasks["/slow-stream"].result().body.count(b"item ") == 6
        assert tasks["/stuck-stream"].result().status == 500
        assert tasks["/in-call"].result().status == 500
        server.wait_log(r"^W.*script\.plain .*GET /plain.*longer than HandlerTimeout.*")
        assert server.http.get("/quick").text == "quick"
        server.http.get("/let-go")
        assert tasks["/plain"].result().text == "plain"
    # Once each: for its own client and for the call of the other handler.
    assert len(server.wait_log(r"^W.*longer than HandlerTimeout")) <= 2
    for name in ("never", "answered", "swallows", "stuck_stream", "in_call"):
        server.wait_log(rf"^[WE].*script\.{name} .*HandlerTimeout \(1 s\)")
    notes = server.wait_json("/notes", lambda notes: len(notes) >= 4)
    assert {"never was cancelled", "answered was cancelled", "swallowed"} <= set(notes)
    assert any("AnswerBuffer() was called after" in note for note in notes), json.dumps(notes)
    assert server.http.get("/quick").text == "quick"
