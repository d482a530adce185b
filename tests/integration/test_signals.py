"""Signals belong to Orthanc, whatever the scripts import."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from orthanc_async._server import ServerError
from waiting import wait_until

if TYPE_CHECKING:
    from integration.conftest import OrthancFactory

SCRIPT = """
    import asyncio, os, signal, subprocess, threading
    import orthanc
    from orthanc_async import on_shutdown, rest

    asyncio.run(asyncio.sleep(0))  # as scripts do at import; on the main thread it takes SIGINT
    loop = asyncio.new_event_loop()

    def change(kind, level, resource):
        if kind == orthanc.ChangeType.ORTHANC_STARTED:
            asyncio.run(asyncio.sleep(0))

    orthanc.RegisterOnChangeCallback(change)

    @rest.get("/main")
    async def main(request):
        def mask(field):
            with open("/proc/self/status") as file:
                line = next(line for line in file if line.startswith(field))
            return int(line.split()[1], 16)

        bits = {name: 1 << (getattr(signal, name) - 1)
                for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE")}
        caught, ignored = mask("SigCgt"), mask("SigIgn")
        return {"main": threading.current_thread() is threading.main_thread(),
                "caught": [name for name, bit in bits.items() if caught & bit],
                "ignored": [name for name, bit in bits.items() if ignored & bit],
                "child": subprocess.run(["true"]).returncode}

    @on_shutdown
    async def bye():
        print("stop hook ran")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_orthanc(orthanc_server: OrthancFactory, number: int) -> None:
    """Ctrl-C and SIGTERM stop Orthanc cleanly with asyncio used on all threads.

    SIGHUP is Orthanc's own demand to start anew; it keeps that meaning.
    """
    server = orthanc_server(SCRIPT)
    facts = server.http.get("/main").json()
    assert facts["main"] is True
    assert facts["child"] == 0
    bare = orthanc_server(plugins=[])
    status = {
        line.split(":")[0]: int(line.split()[1], 16)
        for line in Path(f"/proc/{bare.pid}/status").read_text().splitlines()
        if line.startswith(("SigCgt", "SigIgn"))
    }
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        bit = 1 << (getattr(signal, name) - 1)
        assert (name in facts["caught"]) == bool(status["SigCgt"] & bit), name
    if number == signal.SIGHUP:
        config = json.loads(server.config_path.read_text())
        server.config_path.write_text(json.dumps({**config, "Name": "changed"}))
        server.send_signal(number)
        server.wait_log("stop hook ran")
        server.wait_started(2)
        number = signal.SIGINT
    assert server.stop(number) == 0
    assert "stop hook ran" in server.log_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_a_script_is_loaded(
    orthanc_server: OrthancFactory, tmp_path: Path, number: int
) -> None:
    """A script that never ends loading can be interrupted as any program can."""
    server = orthanc_server.make(
        """
        import asyncio, pathlib, time
        pathlib.Path("loading").touch()
        time.sleep(600)
        """
    )
    server.expected_exit = None
    server.expected_errors = (".",)
    server.launch()
    wait_until((tmp_path / "loading").exists, "the script to be loaded")
    server.send_signal(number)
    try:
        assert server.wait(5) != 0
    except ServerError:
        pytest.fail("Orthanc cannot be interrupted while it loads a script")
