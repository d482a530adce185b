"""on_startup, on_shutdown, background work, and the two events at both ends of a run."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Answer, OrthancFactory

HOOKS = """
    import asyncio, json, os, threading, time
    import orthanc
    from orthanc_async import background, every, on_change, on_shutdown, on_startup, rest

    order = []
    events = orthanc.ChangeType

    try:
        orthanc.RestApiGet("/statistics")
        order.append("database at import")
    except orthanc.OrthancException as error:
        assert "has not started yet" in str(error), str(error)
    assert json.loads(orthanc.GetConfiguration())["Python"]

    def on_start_event(kind, level, resource):
        if kind == events.ORTHANC_STARTED:
            order.append("event")

    orthanc.RegisterOnChangeCallback(on_start_event)

    @on_startup
    async def first():
        order.append(["first", len(await orthanc.rest_api_get("/statistics")) > 0])
        while not os.path.exists("go"):
            await asyncio.sleep(0.02)
        order.append("first goes")

    @on_startup
    def second():
        order.append(["second", len(orthanc.RestApiGet("/statistics")) > 0,
                      threading.current_thread() is not threading.main_thread()])

    async def ticker():
        try:
            order.append("background")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            order.append(["cancelled", len(await orthanc.rest_api_get("/statistics")) > 0])
            raise

    background(ticker())
    ticks = []

    @every(0.05)
    async def tick():
        ticks.append(time.monotonic())

    @rest.get("/order")
    async def get_order(request):
        return {"order": order, "ticks": len(ticks)}

    @rest.post("/plain")
    def plain(request):
        return {"order": order}

    @on_shutdown
    async def third():
        order.append(["third", len(await orthanc.rest_api_get("/statistics")) > 0])
        with open("order.json", "w") as file:
            json.dump(order, file)

    @on_shutdown
    def fourth():
        order.append(["fourth", len(orthanc.RestApiGet("/statistics")) > 0])
        raise ValueError("one that raises stops no other")
"""


def test_hooks(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """Requests wait for on_startup; hooks run in order with the SDK, stop hooks in reverse."""
    server = orthanc_server(HOOKS, errors=("fourth.*failed", "during its initialization"))
    answers: list[Answer] = []
    waiting = [
        threading.Thread(target=lambda: answers.append(server.http.get("/order"))),
        threading.Thread(target=lambda: answers.append(server.http.post("/plain", "{}"))),
    ]
    for thread in waiting:
        thread.start()
    # Orthanc itself serves meanwhile, and on_startup has begun: the two requests do wait.
    assert server.http.get("/system").status == 200
    waiting[0].join(0.5)
    assert answers == []
    (tmp_path / "go").touch()
    for thread in waiting:
        thread.join(10)
    assert [answer.status for answer in answers] == [200, 200]
    start = answers[0].json()["order"]
    for step in (["first", True], "first goes", ["second", True, True]):
        assert step in start, start
    assert "database at import" not in start
    state = server.wait_json("/order", lambda state: state["ticks"] > 3)
    assert "event" in state["order"]
    assert state["order"].index("background") > state["order"].index(["second", True, True])
    assert server.stop() == 0
    end = json.loads((tmp_path / "order.json").read_text())
    assert end[-3:] == [["cancelled", True], ["fourth", True], ["third", True]]
    assert "ValueError: one that raises stops no other" in server.log_text()


def test_start_that_never_ends(orthanc_server: OrthancFactory) -> None:
    """After 10 s requests are answered 503 while on_startup still runs; the stop is clean."""
    server = orthanc_server(
        """
        import asyncio
        from orthanc_async import on_startup, rest

        @on_startup
        async def never():
            await asyncio.sleep(3600)

        @rest.get("/late")
        async def late(request):
            return "ok"
        """
    )
    began = time.monotonic()
    answer = server.http.get("/late")
    assert answer.status == 503
    assert answer.json()["HttpStatus"] == 503
    assert answer.json()["Uri"] == "/late"
    assert 8 < time.monotonic() - began < 15
    assert server.stop() == 0


OWN_HTTP = """
    import asyncio, json, urllib.request
    import aiohttp
    import orthanc
    from orthanc_async import rest

    base = "http://127.0.0.1:%d" % json.loads(orthanc.GetConfiguration())["HttpPort"]
    token = orthanc.GenerateRestApiAuthorizationToken()
    both = (orthanc.ChangeType.ORTHANC_STARTED, orthanc.ChangeType.ORTHANC_STOPPED)

    @rest.get("/route")
    async def route(request):
        return {"secret": request.headers.get("authorization") is not None}

    def tell(kind, how, status, body):
        with open("told.jsonl", "a") as file:
            file.write(json.dumps([kind.name, how, status, body]) + "\\n")

    def plain(kind, level, resource):
        if kind in both:
            for path in ("/statistics", "/route"):
                request = urllib.request.Request(base + path, headers={"Authorization": token})
                with urllib.request.urlopen(request, timeout=5) as answer:
                    tell(kind, "def" + path, answer.status, len(answer.read()))

    async def asynchronous(kind, level, resource):
        if kind in both:
            async with aiohttp.ClientSession(headers={"Authorization": token}) as web:
                for path in ("/statistics", "/route"):
                    async with web.get(base + path) as answer:
                        tell(kind, "async" + path, answer.status, len(await answer.read()))

    orthanc.RegisterOnChangeCallback(plain)
    orthanc.RegisterOnChangeCallback(asynchronous)
"""


def test_events_that_call_their_own_server(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """ORTHANC_STARTED and ORTHANC_STOPPED handlers reach Orthanc and a route of ours by HTTP."""
    server = orthanc_server(
        OWN_HTTP,
        config={"AuthenticationEnabled": True, "RegisteredUsers": {"somebody": "secret"}},
    )
    told = tmp_path / "told.jsonl"

    def rows() -> list[list[object]]:
        return (
            [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        )

    wait_until(rows, "four requests at the start", done=lambda found: len(found) == 4)
    assert server.stop() == 0
    found = {(row[0], row[1]): row[2] for row in rows()}
    assert found == {
        (kind, how + path): 200
        for kind in ("ORTHANC_STARTED", "ORTHANC_STOPPED")
        for how in ("def", "async")
        for path in ("/statistics", "/route")
    }


def test_debug_and_watchdog(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """With Debug asyncio names slow callbacks and errors tell more; a still loop is named."""
    server = orthanc_server(
        """
        import asyncio, logging, os, time
        import orthanc
        from orthanc_async import rest

        def until(name):
            for _ in range(2000):
                if os.path.exists(name):
                    break
                time.sleep(0.01)

        @rest.get("/debug")
        async def debug(request):
            logging.getLogger("my").debug("a debug line")
            return {"debug": asyncio.get_running_loop().get_debug()}

        async def raises(output, uri, **request):
            raise ValueError("the details")

        @rest.get("/decorated")
        async def decorated(request):
            raise ValueError("the same")

        orthanc.RegisterRestCallback("/raises", raises)

        @rest.get("/slow")
        async def slow(request):
            await asyncio.sleep(0)
            until("loop was named")
            return "ok"

        @rest.get("/plain")
        def plain(request):
            until("plain was named")
            return "ok"
        """,
        config={"Python": {"Debug": True, "HandlerTimeout": 1}},
        errors=("raises.*raised", "decorated.*failed"),
        verbose=True,
    )
    assert server.http.get("/debug").json() == {"debug": True}
    server.wait_log("my: a debug line")
    assert "ValueError: the details" in server.http.get("/raises").json()["Message"]
    assert "ValueError: the same" in server.http.get("/decorated").json()["Message"]
    with ThreadPoolExecutor(2) as pool:
        plain, slow = (pool.submit(server.http.get, path) for path in ("/plain", "/slow"))
        server.wait_log(r"W.*script\.plain.*GET /plain runs for .*cannot be stopped")
        (tmp_path / "plain was named").touch()
        log = server.wait_log(
            r"the event loop has not turned for \d s: script\.slow.*GET /slow blocks it"
        )
        server.wait_log(r"has not turned[\s\S]*?in slow\n +until\([\s\S]*?in until\n +")
        (tmp_path / "loop was named").touch()
        assert plain.result().status == 200
        assert slow.result().status in (200, 500)
    assert len(log) == 1
    assert len(server.wait_log("cannot be stopped")) == 1
