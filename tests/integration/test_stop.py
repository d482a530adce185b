"""How Orthanc stops with handlers in flight, and with handlers that never end."""

from __future__ import annotations

import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

SLACK = 3.0  # seconds, for a machine that is busy


def timed_stop(server: Orthanc, number: int = signal.SIGTERM) -> float:
    """Stop Orthanc; return how many seconds that took."""
    began = time.monotonic()
    assert server.stop(number) == 0
    return time.monotonic() - began


@pytest.fixture(scope="module")
def bare_stop(shared_orthanc: OrthancFactory) -> float:
    """The seconds that an Orthanc without any plugin needs to stop."""
    return timed_stop(shared_orthanc(plugins=[]))


class Requests:
    """GET requests under way, each on a thread of its own."""

    def __init__(self, server: Orthanc, paths: list[str]) -> None:
        self.statuses: list[int | str] = ["?"] * len(paths)
        self._threads = [
            threading.Thread(target=self._get, args=(server, number, path), daemon=True)
            for number, path in enumerate(paths)
        ]
        for thread in self._threads:
            thread.start()

    def _get(self, server: Orthanc, number: int, path: str) -> None:
        try:
            self.statuses[number] = server.http.get(path).status
        except Exception as error:  # noqa: BLE001 - the status is compared
            self.statuses[number] = repr(error)

    def wait(self) -> list[int | str]:
        """Wait until all have their answers; return the statuses."""
        for thread in self._threads:
            thread.join(20)
        return self.statuses


IN_FLIGHT = """
    import asyncio, time
    import orthanc
    from orthanc_async import rest

    inside = 0

    @rest.get("/wait/{seconds}")
    async def wait(request):
        global inside
        inside += 1
        await asyncio.sleep(float(request.path["seconds"]))
        system = await orthanc.rest_api_get("/system")  # the SDK works until the end
        return {"slept": len(system) > 10}

    @rest.get("/plain")
    def plain(request):
        global inside
        inside += 1
        time.sleep(1.5)
        return {"slept": len(orthanc.RestApiGet("/system")) > 10}

    @rest.get("/inside")
    async def count(request):
        return {"inside": inside}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_handlers_in_flight(orthanc_server: OrthancFactory, bare_stop: float, number: int) -> None:
    """Those that end within the grace answer as usual, the others 503; Orthanc ends in time."""
    timeout = 4.0
    server = orthanc_server(IN_FLIGHT, config={"Python": {"ShutdownTimeout": timeout}})
    requests = Requests(server, ["/wait/1.5"] * 20 + ["/wait/600"] * 10 + ["/plain"] * 3)
    server.wait_json("/inside", lambda state: state["inside"] == 33)
    took = timed_stop(server, number)
    assert requests.wait() == [200] * 20 + [503] * 10 + [200] * 3
    assert took < timeout + bare_stop + SLACK
    assert "script.wait (GET /wait/{seconds}), GET /wait/600" in server.log_text()


def test_plain_handlers_in_flight(orthanc_server: OrthancFactory) -> None:
    """A `def` handler that ends within the grace answers as usual too, on its own."""
    server = orthanc_server(IN_FLIGHT, config={"Python": {"ShutdownTimeout": 4}})
    requests = Requests(server, ["/plain"])
    server.wait_json("/inside", lambda state: state["inside"] == 1)
    timed_stop(server)
    assert requests.wait() == [200]


def test_idle_stop_is_as_quick_as_a_bare_one(
    orthanc_server: OrthancFactory, bare_stop: float
) -> None:
    """With nothing in flight, the plugin adds next to nothing to a stop."""
    server = orthanc_server(IN_FLIGHT)
    assert server.http.get("/inside").status == 200
    assert timed_stop(server) < bare_stop + 1.5


STUCK = """
    import threading, time
    import orthanc
    from orthanc_async import on_change, on_shutdown, rest

    entered = []

    def plain(output, uri, **request):
        entered.append("plain")
        time.sleep(600)

    orthanc.RegisterRestCallback("/plain", plain)

    def change(kind, level, resource):
        if kind == orthanc.ChangeType.ORTHANC_STARTED:
            entered.append("change")
            time.sleep(600)

    orthanc.RegisterOnChangeCallback(change)

    @on_change(orthanc.ChangeType.ORTHANC_STARTED)
    async def stubborn(change):
        import asyncio
        entered.append("stubborn")
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass

    @rest.get("/deaf")
    async def deaf(request):
        import asyncio
        entered.append("deaf")
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass

    @rest.get("/entered")
    async def get_entered(request):
        return entered

    @on_shutdown
    def last():
        print("the stop hook ran", len(orthanc.RestApiGet("/system")) > 10)
"""


def test_stuck_handlers(orthanc_server: OrthancFactory, bare_stop: float) -> None:
    """Handlers that cannot be stopped are named; Orthanc ends, their clients get 503."""
    timeout = 3.0
    server = orthanc_server(
        STUCK, config={"Python": {"ShutdownTimeout": timeout}}, errors=("events? w",)
    )
    requests = Requests(server, ["/plain", "/deaf"])
    server.wait_json(
        "/entered", lambda names: {"plain", "deaf", "change", "stubborn"} <= set(names)
    )
    took = timed_stop(server)
    assert requests.wait() == [503, 503]
    assert took < timeout + bare_stop + SLACK
    log = server.log_text()
    assert "a `def` handler still runs when Orthanc stops: script.plain" in log
    assert "script.deaf (GET /deaf), GET /deaf" in log
    assert "a `def` change handler still runs when Orthanc stops: " in log
    assert "in change" in log
    assert "script.stubborn (@on_change), ORTHANC_STARTED" in log
    assert "the stop hook ran True" in log


@pytest.mark.parametrize("kind", ["route", "background"])
def test_endless_loop_at_the_stop(
    orthanc_server: OrthancFactory, tmp_path: Path, bare_stop: float, kind: str
) -> None:
    """An `async def` that computes for ever blocks the loop; Orthanc ends without it."""
    server = orthanc_server(
        """
        import pathlib
        from orthanc_async import background, rest

        async def spin():
            pathlib.Path("spinning").touch()
            while True:
                pass

        @rest.get("/spin")
        async def route(request):
            await spin()

        if %r:
            background(spin())
        """
        % (kind == "background"),
        config={"Python": {"ShutdownTimeout": 1}},
        errors=("the event loop has not ended",),
    )
    requests = Requests(server, ["/spin"])
    wait_until((tmp_path / "spinning").exists, "the loop to be blocked")
    took = timed_stop(server)
    assert requests.wait() == [503]
    assert took < 1 + bare_stop + SLACK
    log = server.log_text()
    assert "the event loop has not ended within ShutdownTimeout" in log


THREADS = """
    import atexit, json, multiprocessing, threading, time
    import orthanc

    def work():
        started.wait()
        while True:
            orthanc.RestApiGet("/system")
            orthanc.LogInfo("still here")
            time.sleep(0.001)

    def busy():
        while True:
            sum(range(1000))

    class Worker(threading.Thread):
        def __init__(self):
            super().__init__(name="joined")
            self.stopped = threading.Event()

        def run(self):
            self.stopped.wait()
            print("the worker has ended", len(orthanc.RestApiGet("/system")) > 10)

    started = threading.Event()
    worker = Worker()
    worker.start()
    threading.Thread(target=work, daemon=True, name="sdk").start()
    threading.Thread(target=busy, daemon=True, name="busy").start()
    threading.Thread(target=time.sleep, args=(600,), name="never-joined").start()

    def rearm():
        orthanc.RestApiGet("/system")
        global timer
        timer = threading.Timer(0.01, rearm)
        timer.start()

    def started_in_callback():
        while True:
            orthanc.RestApiGet("/system")
            time.sleep(0.01)

    def change(kind, level, resource):
        if kind == orthanc.ChangeType.ORTHANC_STARTED:
            started.set()
            rearm()
            threading.Thread(target=started_in_callback, name="of a callback").start()
        if kind == orthanc.ChangeType.ORTHANC_STOPPED:
            worker.stopped.set()
            worker.join()
            print("joined the worker")
            open("stopped", "w").close()

    orthanc.RegisterOnChangeCallback(change)

    def slow_answer(output, uri, **request):
        threading.Thread(target=busy, name="of a route").start()
        output.AnswerBuffer("ok", "text/plain")

    orthanc.RegisterRestCallback("/thread", slow_answer)

    @atexit.register
    def at_exit():
        print("the exit function ran")

    atexit.register(lambda word: print("exit function with", word), word="arguments")

    pool = multiprocessing.Pool(2)
    process = multiprocessing.Process(target=time.sleep, args=(600,))
    process.start()
    print("pool says", pool.apply(int, ("7",)))
"""


def test_what_scripts_leave_running(orthanc_server: OrthancFactory, bare_stop: float) -> None:
    """Threads, timers, pools and processes left over keep nothing from ending."""
    server = orthanc_server(THREADS, config={"Python": {"ShutdownTimeout": 3}})
    assert server.http.get("/thread").status == 200
    server.wait_log("pool says 7")
    assert len(server.processes()) >= 4
    took = timed_stop(server)
    assert took < 3 + bare_stop + SLACK
    server.wait_no_processes()
    log = server.log_text()
    for text in (
        "the worker has ended True",
        "joined the worker",
        "the exit function ran",
        "exit function with arguments",
        "thread never-joined of a script still runs when Orthanc stops",
    ):
        assert text in log, text


@pytest.mark.parametrize("job_seconds", [2, 5])
def test_inside_a_job_at_the_stop(
    orthanc_server: OrthancFactory, bare_stop: float, dicom_file: Path, job_seconds: int
) -> None:
    """A `def` change handler that waits for a job, which ends in or after our stop, hangs nothing.

    How long Orthanc's own jobs engine waits for that job is not ours to change. It may take a
    second until Orthanc notices the signal.
    """
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        server = orthanc_server(
            """
            import json
            import orthanc

            def change(kind, level, resource):
                if kind == orthanc.ChangeType.NEW_STUDY:
                    orthanc.RestApiPost("/modalities/deaf/store", json.dumps(
                        {"Resources": [resource], "Synchronous": True}))

            orthanc.RegisterOnChangeCallback(change)
            """,
            config={
                "Python": {"ShutdownTimeout": 3},
                "DicomScuTimeout": job_seconds,
                "DicomModalities": {"deaf": ["DEAF", "127.0.0.1", deaf.getsockname()[1]]},
            },
            errors=(".",),
        )
        server.upload(dicom_file)
        deaf.settimeout(10)
        connection, _ = deaf.accept()
        with connection:
            took = timed_stop(server)
    assert took < max(3, job_seconds) + bare_stop + SLACK
    assert "a `def` change handler still runs when Orthanc stops: " in server.log_text()


def test_port_taken(orthanc_server: OrthancFactory) -> None:
    """With the HTTP port taken Orthanc ends as a bare one does, and stop hooks run."""
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        codes = []
        choices: list[list[str] | None] = [[], None]
        for plugins in choices:
            error = orthanc_server.fails(
                """
                from orthanc_async import on_shutdown
                import atexit

                @on_shutdown
                def hook():
                    print("hook ran")

                atexit.register(print, "exit function ran")
                """,
                http_port=port,
                plugins=plugins,
            )
            assert "already in use" in error.log
            codes.append(error.exit_code)
        assert codes[0] == codes[1] is not None
        assert "hook ran" in error.log
        assert "exit function ran" in error.log
