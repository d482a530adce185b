"""/tools/reset: the scripts start anew in the same process, again and again."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from waiting import wait_until

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

MEGABYTE = 2**20

SCRIPT = """
    import asyncio, atexit, concurrent.futures, logging, os, socket, threading, time
    import numpy
    import orthanc
    import helper_of_reset
    from orthanc_async import background, every, on_change, on_shutdown, on_startup, rest

    big = numpy.ones((1000, 1000))
    helper_of_reset.COUNT += 1
    events, ticks = [], []

    def plain(output, uri, **request):
        output.AnswerBuffer(str(len(orthanc.RestApiGet("/system"))), "text/plain")

    orthanc.RegisterRestCallback("/plain", plain)
    orthanc.RegisterOnChangeCallback(lambda kind, level, resource: events.append(kind))

    @on_change
    async def changed(change):
        events.append(change.type)

    @rest.get("/state")
    async def state(request):
        infos = await asyncio.gather(*(orthanc.rest_api_get("/system") for _ in range(20)))
        name = await asyncio.to_thread(socket.gethostbyname, "localhost")
        return {"sum": float(big.sum()), "count": helper_of_reset.COUNT, "events": len(events),
                "ticks": len(ticks), "infos": len(infos), "name": name,
                "text": helper_of_reset.text(),
                "threads": threading.active_count()}

    @every(0.01)
    async def tick():
        ticks.append(1)

    async def forever():
        await asyncio.sleep(3600)

    background(forever())

    @on_startup
    def start():
        numpy.linalg.inv(numpy.eye(50))

    @on_shutdown
    async def stop():
        await orthanc.rest_api_get("/system")

    atexit.register(print, "exit function")
"""


def resident(server: Orthanc) -> int:
    """Return the bytes of memory that Orthanc has in use."""
    text = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


def counts(server: Orthanc) -> tuple[int, int]:
    """Return how many threads and open files Orthanc has."""
    folder = Path(f"/proc/{server.pid}")
    return len(list((folder / "task").iterdir())), len(list((folder / "fd").iterdir()))


def reset(server: Orthanc, number: int) -> None:
    """Ask for the reset with this number, from 1 on, and wait until Orthanc serves again."""
    assert server.http.post("/tools/reset", "{}").status == 200
    server.wait_started(number + 1)


def growth(server: Orthanc, resets: int, *, scripts: bool) -> tuple[int, int]:
    """Reset Orthanc again and again; return its memory after the second reset and at the end."""
    after_second = 0
    threads_and_files = (0, 0)
    for number in range(1, resets + 1):
        reset(server, number)
        if scripts:
            state = server.wait_json("/state", lambda state: state["ticks"] and state["events"])
            assert state["sum"] == 1e6
            assert state["count"] == 1, "helper modules are imported afresh"
            assert state["infos"] == 20
            assert state["name"] == "127.0.0.1"
            assert server.http.get("/plain").status == 200
        else:
            assert server.http.get("/system").status == 200
        if number == 2:
            after_second = resident(server)
            threads_and_files = counts(server)
    end = wait_until(
        lambda: counts(server),
        f"no more threads and open files than {threads_and_files} and one each",
        done=lambda now: all(a <= b + 1 for a, b in zip(now, threads_and_files, strict=True)),
        timeout=5,
    )
    print(f"threads and files {threads_and_files} -> {end}")
    return after_second, resident(server)


@pytest.mark.timeout(400)
def test_many_resets(orthanc_server: OrthancFactory, tmp_path: Path, *, long_form: bool) -> None:
    """Routes, changes and tasks work after each reset; memory, threads and files do not grow."""
    resets = 20 if long_form else 6
    helper = tmp_path / "helper_of_reset.py"
    helper.write_text("COUNT = 0\ndef text():\n    return 'old'\n")
    bare = orthanc_server(plugins=[])
    # Two threads for SDK calls: more would come one by one, and be counted as growth.
    server = orthanc_server(SCRIPT, config={"Python": {"SdkThreads": 2}})
    # Side by side: most of a reset is Orthanc's own waiting.
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(growth, bare, resets, scripts=False)
        before, end = growth(server, resets, scripts=True)
        bare_before, bare_end = task.result()
    grown = end - before - max(0, bare_end - bare_before)
    print(f"{resets} resets: {before} -> {end}, bare {bare_before} -> {bare_end}")
    assert grown <= min(0.05 * before, 5 * MEGABYTE)
    # What has changed on the disk counts from the next reset on.
    helper.write_text("COUNT = 0\ndef text():\n    return 'newer text'\n")
    reset(server, resets + 1)
    assert server.http.get("/state").json()["text"] == "newer text"
    assert server.stop() == 0
    log = server.log_text()
    assert log.count("] exit function") == resets + 2
    assert "traceback" not in log.lower()


def test_broken_at_a_reset(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """A script that is broken at a reset ends Orthanc with the reason."""
    server = orthanc_server("import orthanc\n", errors=(".",), exit_code=None)
    reset(server, 1)
    (tmp_path / "script.py").write_text("import orthanc\n\nraise ValueError('broken now')\n")
    assert server.http.post("/tools/reset", "{}").status == 200
    assert server.wait(20) != 0
    assert "script.py, line 3 cannot be loaded: ValueError: broken now" in server.log_text()


def test_changed_configuration(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """Scripts and settings may change at a reset; the Python environment may not."""
    import sys

    server = orthanc_server(
        "from orthanc_async import rest\n"
        "@rest.get('/one')\nasync def one(request):\n    return [1]\n",
        errors=(".",),
        exit_code=None,
    )

    def change(**section: object) -> None:
        config = json.loads(server.config_path.read_text())
        server.config_path.write_text(json.dumps({**config, "Python": section}))

    assert server.http.get("/one").json() == [1]
    (tmp_path / "second.py").write_text(
        "from orthanc_async import rest\n@rest.get('/two')\n"
        "async def two(request):\n    return [2]\n"
    )
    change(Scripts=[str(tmp_path / "second.py")])
    reset(server, 1)
    assert server.http.get("/two").json() == [2]
    assert server.http.get("/one").status == 404
    change(Scripts=[])  # idle, while Python waits
    reset(server, 2)
    assert server.http.get("/two").status == 404
    change(Scripts=[str(tmp_path / "script.py")], EventLoop="asyncio", ShutdownTimeout=1)
    reset(server, 3)
    assert server.http.get("/one").json() == [1]
    change(Scripts=[str(tmp_path / "script.py")], Executable=sys.executable)
    assert server.http.post("/tools/reset", "{}").status == 200
    assert server.wait(20) != 0
    assert '"Python.Executable" has changed from "" to ' in server.log_text()
