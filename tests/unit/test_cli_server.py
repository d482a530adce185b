"""The server process helper, with small programs in Orthanc's place."""

from __future__ import annotations

import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from orthanc_async._server import (
    OrthancServer,
    PortTakenError,
    ServerError,
    StartError,
    find_orthanc,
)
from orthanc_async._server_net import free_port, port_owner, port_taken
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., OrthancServer]

SERVE = """
    import http.server, json, signal, sys
    config = json.load(open(sys.argv[1]))
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers()
        def log_message(self, *args): pass
    print("W log", file=sys.stderr, flush=True)
    server = http.server.HTTPServer(("127.0.0.1", config["HttpPort"]), Handler)
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Give a function that makes a server of a program's text."""
    servers = []

    def make(program: str, **settings: object) -> OrthancServer:
        file = tmp_path / "Orthanc"
        file.write_text(f"#!{sys.executable}\n{textwrap.dedent(program)}")
        file.chmod(0o755)
        server = OrthancServer(plugins=[], executable=file, **settings)  # type: ignore[arg-type]
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


def test_from_start_to_end(make: Make) -> None:
    """It waits until the server answers, tells the log, and gives the exit code."""
    end = "signal.signal(15, lambda *_: sys.exit(7))\n    server.serve_forever()\n"
    server = make(SERVE + "    " + end)
    with server:
        assert server.url == f"http://127.0.0.1:{server.http_port}"
        assert "W log" in server.log_text()
        assert server.processes() == [server.pid]
        owner = port_owner(server.http_port)
        assert owner is not None
        assert owner[0] == server.pid
        folder = server.folder
        assert server.config_path.stat().st_mode & 0o077 == 0
        assert server.stop() == 7
    assert not folder.exists()
    assert "W log" in server.log_text()


def test_log_lines_are_handed_on(make: Make) -> None:
    """With `on_log`, each line of standard error and output comes to it."""
    lines: list[str] = []
    server = make(SERVE + "    print('out', flush=True)\n    server.serve_forever()\n",
                  on_log=lines.append)  # fmt: skip
    with server:
        server.stop()
    assert sorted(lines) == ["W log", "out"]


def test_an_early_end_is_told(make: Make) -> None:
    """A program that ends at once is noticed at once, with its exit code and log."""
    server = make("import sys; print('E reason', file=sys.stderr); sys.exit(3)")
    began = time.monotonic()
    with pytest.raises(StartError, match="exit code 3") as caught:
        server.start()
    assert time.monotonic() - began < 10
    assert caught.value.exit_code == 3
    assert "E reason" in caught.value.log


def test_silence_has_a_deadline(make: Make) -> None:
    """A program that never serves is ended at the deadline."""
    server = make("import time; time.sleep(600)", start_timeout=0.3)
    with pytest.raises(StartError, match=r"within 0\.3 s"):
        server.start()
    assert server.exit_code == -signal.SIGKILL


def test_a_stubborn_program_is_killed(make: Make) -> None:
    """What ignores the signal is killed at the deadline, with all of its session."""
    ignore = (
        "signal.signal(15, signal.SIG_IGN)\n"
        "    import subprocess; subprocess.Popen(['sleep', '600'])\n"
        "    server.serve_forever()\n"
    )
    server = make(SERVE + "    " + ignore)
    server.start()
    assert len(server.processes()) == 2
    with pytest.raises(ServerError, match=r"within 0\.2 s of SIGTERM"):
        server.stop(timeout=0.2)
    wait_until(server.processes, "the end of the session", done=lambda left: not left, timeout=5)


TAKEN = """
    import pathlib, sys
    count = pathlib.Path(__file__).with_name("count")
    count.write_text(str(int(count.read_text() if count.exists() else 0) + 1))
    print("E0 The TCP port of the HTTP server is privileged or already in use", file=sys.stderr)
    sys.exit(255)
"""


def test_a_lost_free_port_is_tried_again(make: Make, tmp_path: Path) -> None:
    """A port chosen here and lost to another process is replaced, some times."""
    with pytest.raises(PortTakenError):
        make(TAKEN).start()
    assert (tmp_path / "count").read_text() == "5"


def test_a_port_asked_for_is_not_replaced(make: Make, tmp_path: Path) -> None:
    """A port that the caller chose is the caller's to change."""
    port = free_port()
    with pytest.raises(PortTakenError, match=str(port)) as caught:
        make(TAKEN, http_port=port).start()
    assert caught.value.port == port
    assert (tmp_path / "count").read_text() == "1"


def test_variables_are_added_and_removed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """`environment` adds to this process's variables, None takes one out."""
    monkeypatch.setenv("GONE", "1")
    server = make(
        "import os, sys; print(os.environ.get('GONE'), os.environ['NEW']); sys.exit(1)",
        environment={"GONE": None, "NEW": "yes"},
    )
    with pytest.raises(StartError) as caught:
        server.start()
    assert caught.value.log.strip() == "None yes"


def test_the_variable_orthanc_names_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ORTHANC decides, and a wrong one is an error instead of a search elsewhere."""
    program = tmp_path / "Orthanc"
    program.touch(0o755)
    monkeypatch.setenv("ORTHANC", str(program))
    assert find_orthanc() == program
    program.unlink()
    with pytest.raises(ServerError, match="ORTHANC names"):
        find_orthanc()


def test_a_free_port_is_free() -> None:
    """What `free_port` returns is not taken."""
    assert not port_taken(free_port())


def test_not_started() -> None:
    """Asking for a process that was never started is an error, stopping twice is none."""
    server = OrthancServer(plugins=[], executable="/bin/true")
    with pytest.raises(ServerError, match="has not been started"):
        server.wait()
    server.kill()
    server.close()
