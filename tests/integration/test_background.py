"""What runs beside the handlers, from the start of Orthanc to its stop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import OrthancFactory

SCRIPT = """
    import asyncio, json, threading
    import orthanc
    import orthanc_async as oa
    from orthanc_async import rest

    log = []

    def note(text):
        log.append(text)

    async def version():
        return json.loads(await orthanc.rest_api_get("/system"))["ApiVersion"]

    async def at_import():
        note("background of the import")
        assert await version()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            note("background cancelled")
            raise

    oa.background(at_import())

    async def fails():
        raise ValueError("refused on purpose")

    @oa.on_startup
    async def first():
        assert await version()
        note("startup 1")

    @oa.on_startup()
    def second():
        assert json.loads(orthanc.RestApiGet("/system"))["ApiVersion"]
        assert threading.current_thread() is not threading.main_thread()
        assert oa.run_coroutine(version(), timeout=20)
        note("startup 2")
        raise ValueError("a hook that fails stops no other")

    @oa.on_startup
    async def third():
        note("startup 3")
        oa.background(fails(), name="the failing one")

    ticks = []
    turns = []

    @oa.every(0.05, immediately=True)
    async def tick():
        ticks.append(await version())
        turns.append(len(ticks))
        if len(turns) == 2:
            raise ValueError("it is called again all the same")

    @oa.every(0.05)
    def plain_tick():
        ticks.append(json.loads(orthanc.RestApiGet("/system"))["ApiVersion"])

    @oa.every(3600)
    async def never():
        note("too early")

    @oa.on_shutdown
    async def last():
        note("shutdown 1")
        assert await version()
        with open("log.json", "w") as file:
            json.dump(log, file)

    @oa.on_shutdown
    def middle():
        assert json.loads(orthanc.RestApiGet("/system"))["ApiVersion"]
        note("shutdown 2")
        raise ValueError("a hook that fails stops no other")

    @oa.on_shutdown
    async def before():
        note("shutdown 3")
        try:
            oa.background(fails())
        except RuntimeError as error:
            note(str(error))

    async def late(name):
        note(f"background of {name}")

    @oa.on_change(orthanc.ChangeType.ORTHANC_STOPPED)
    async def stopping(change):
        note("stopped")

    def slow_change(kind, level, resource):
        # On the events' thread: it waits for the loop.
        if kind == orthanc.ChangeType.ORTHANC_STOPPED:
            note(["stopped", oa.run_coroutine(version(), timeout=20) > 0])
        if kind == orthanc.ChangeType.NEW_STUDY:
            oa.background(late("a change"))
            note(["change", oa.run_coroutine(version(), timeout=20) > 0])
            try:
                oa.run_coroutine(asyncio.sleep(60), timeout=0.1)
            except TimeoutError as error:
                note(str(error))

    orthanc.RegisterOnChangeCallback(slow_change)

    @rest.get("/log")
    async def show(request):
        return {"log": log, "ticks": len(ticks)}

    @rest.get("/plain")
    def plain(request):
        oa.background(late("a route"))
        return {"version": oa.run_coroutine(version(), timeout=20)}

    @rest.get("/refused")
    async def refused(request):
        coroutine = version()
        try:
            oa.run_coroutine(coroutine)
        except RuntimeError as error:
            return {"error": str(error)}
"""


def test_life(orthanc_server: OrthancFactory, tmp_path: Path, dicom_file: Path) -> None:
    """Hooks, intervals and background tasks run in their order, and all of them end."""
    server = orthanc_server(
        SCRIPT,
        errors=[
            r"script\.second \(@on_startup\) failed",
            r"script\.middle \(@on_shutdown\) failed",
            "the background task the failing one failed",
            r"script\.tick \(@every\(0.05\)\) failed",
        ],
    )
    # What is served has waited for the hooks.
    log = server.http.get("/log").json()["log"]
    assert log[:3] == ["startup 1", "startup 2", "startup 3"]
    state = server.wait_json("/log", lambda state: state["ticks"] >= 6)
    assert state["log"][3] == "background of the import"
    server.wait_log("the background task the failing one failed")
    server.wait_log("it is called again all the same")
    assert server.http.get("/plain").json()["version"] > 0
    assert "write `await version(…)`" in server.http.get("/refused").json()["error"]
    server.wait_json("/log", lambda state: "background of a route" in state["log"])
    server.upload(dicom_file)
    server.wait_json("/log", lambda state: "background of a change" in state["log"])
    log = server.wait_json("/log", lambda state: any("0.1" in str(it) for it in state["log"]))[
        "log"
    ]
    assert ["change", True] in log
    assert "the coroutine did not end within 0.1 seconds" in log
    assert "too early" not in log
    server.stop()
    log = json.loads((tmp_path / "log.json").read_text())
    assert ["stopped", True] in log
    assert "stopped" in log
    assert log[-5:] == [
        "background cancelled",
        "shutdown 3",
        "fails cannot start: Orthanc is stopping",
        "shutdown 2",
        "shutdown 1",
    ]


def test_overrun(orthanc_server: OrthancFactory) -> None:
    """Hooks and tasks that never end delay the stop by ShutdownTimeout at most, and are named."""
    server = orthanc_server(
        """
        import asyncio
        import orthanc_async as oa

        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass

        oa.background(stubborn())

        @oa.on_shutdown
        async def reached():
            print("the first hook was reached")

        @oa.on_shutdown
        async def endless():
            await asyncio.sleep(3600)
        """,
        config={"Python": {"ShutdownTimeout": 2}},
    )
    server.wait_log("Orthanc has started")
    server.stop()
    server.wait_log("the background task stubborn does not end")
    server.wait_log(r"script\.endless \(@on_shutdown\) does not end in time")
