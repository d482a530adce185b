"""The command line with a real Orthanc."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from orthanc_async._server_net import free_port
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from waiting import wait_until

HELLO = """
from orthanc_async import rest

@rest.get("/hello")
async def hello(request: rest.Request) -> dict[str, str]:
    return {"hello": "world"}

@rest.get("/fail")
async def fail(request: rest.Request) -> None:
    try:
        raise ValueError("inner")
    except ValueError as error:
        raise RuntimeError("outer") from error
"""


class Command:
    """One `orthanc-async …` as a process, with a deadline for whatever is awaited."""

    def __init__(self, arguments: Sequence[str | Path], folder: Path, **more: Any) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orthanc_async", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            # What Ctrl-C in a terminal reaches is a process group; this is the command's.
            start_new_session=True,
            **more,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return "\n".join(self.lines)

    def wait_line(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Wait for a line with a pattern."""

        def found() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in self.lines)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, timeout)
            match = found()
        assert match, f"no line with {pattern!r} in:\n{self.output}"
        return match

    def ctrl_c(self) -> None:
        """Send what a terminal sends at Ctrl-C: SIGINT to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(timeout)
        self._reader.join(5)
        return code

    def close(self) -> None:
        """Wait for the process and its output."""
        self.process.wait()
        self._reader.join()

    def port(self) -> int:
        """Wait for the banner; return the HTTP port in it."""
        return int(self.wait_line(r"REST API +https?://127\.0\.0\.1:(\d+)")[1])


Start = Callable[..., Command]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script with a route that answers and one that fails."""
    file = tmp_path / "hello.py"
    file.write_text(HELLO)
    return file


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts the command; nothing of it survives the test."""
    commands: list[Command] = []

    def begin(*arguments: str | Path, **more: Any) -> Command:
        command = Command(arguments, tmp_path, **more)
        commands.append(command)
        return command

    yield begin
    for command in commands:
        if command.process.poll() is None:
            command.process.send_signal(signal.SIGTERM)
            try:
                command.process.wait(20)
            except subprocess.TimeoutExpired:
                command.process.kill()
        command.close()


@pytest.fixture
def run(start: Start, script: Path) -> Start:
    """Give a function that runs the script on free ports."""
    return lambda *more, **settings: start(
        "run", script, "--http-port", "0", "--dicom-port", "0", *more, **settings
    )


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """GET a path; return status and body."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def orthanc_of(command: Command) -> int:
    """Return the process id of the Orthanc that a command has started."""
    children = Path(f"/proc/{command.process.pid}/task/{command.process.pid}/children")
    (child,) = children.read_text().split()
    return int(child)


def test_run_serves_the_script(run: Start, tmp_path: Path) -> None:
    """The script's route answers, the banner names everything, Ctrl-C ends it with code 0."""
    command = run()
    port = command.port()
    command.wait_line(r"Ctrl-C ends it")
    status, body = get(port, "/hello")
    assert (status, json.loads(body)) == (200, {"hello": "world"})
    for row in (
        r"Explorer +http://127\.0\.0\.1:\d+/app/explorer\.html",
        r"DICOM +ORTHANC on port \d+",
        r"Storage +\S*OrthancStorage",
        r"Plugin +\S+/libOrthancAsync\.so",
        rf"Environment +{re.escape(sys.prefix)}",
        r"Scripts +\S+/hello\.py",
    ):
        command.wait_line("^ +" + row)
    configuration = command.wait_line(r"Configuration +(\S+)")[1]
    assert Path(configuration).exists()
    command.ctrl_c()
    assert command.wait() == 0, command.output
    assert "Orthanc has stopped" in command.lines[-1]
    assert not Path(configuration).exists()
    assert (tmp_path / "OrthancStorage" / "index").exists()


def test_storage_is_kept(run: Start, tmp_path: Path, dicom_file: Path) -> None:
    """What one run has stored, the next one finds."""
    for expected in (0, 1):
        command = run("--storage", "kept")
        port = command.port()
        assert len(json.loads(get(port, "/instances")[1])) == expected
        url = f"http://127.0.0.1:{port}/instances"
        urllib.request.urlopen(url, data=dicom_file.read_bytes(), timeout=20).close()
        command.ctrl_c()
        assert command.wait() == 0
    assert (tmp_path / "kept" / "index").exists()


def test_the_log_is_readable(run: Start) -> None:
    """Log lines carry time and level, and a traceback comes whole, its cause too."""
    command = run()
    assert get(command.port(), "/fail")[0] == 500
    command.wait_line("RuntimeError: outer")
    command.wait_line(r"^\d\d:\d\d:\d\d ERROR ")
    text = command.output
    assert "ValueError: inner" in text
    assert "direct cause" in text
    assert re.search(r'File ".*hello\.py", line 1\d, in fail', text)
    assert re.search(r"^\d\d:\d\d:\d\d WARN  Orthanc version", text, re.MULTILINE)


def test_sigterm_ends_orthanc_too(run: Start) -> None:
    """SIGTERM to the command ends Orthanc in peace."""
    command = run()
    command.port()
    orthanc = orthanc_of(command)
    command.process.send_signal(signal.SIGTERM)
    assert command.wait() == 0
    assert not Path(f"/proc/{orthanc}").exists()


def test_second_ctrl_c_ends_at_once(run: Start) -> None:
    """Who presses Ctrl-C twice does not wait, and learns it from the exit code."""
    command = run()
    command.port()
    orthanc = orthanc_of(command)
    command.ctrl_c()
    command.wait_line("Ending Orthanc")
    command.ctrl_c()
    assert command.wait(5) == 1
    assert not Path(f"/proc/{orthanc}").exists()


def test_orthanc_dies_with_the_command(run: Start) -> None:
    """Even when the command is killed, no Orthanc stays behind."""
    command = run()
    command.port()
    configuration = Path(command.wait_line(r"Configuration +(\S+)")[1])
    orthanc = orthanc_of(command)
    command.process.kill()
    command.process.wait()
    wait_until(lambda: not _alive(orthanc), f"the end of Orthanc, process {orthanc}")
    # Who is killed cannot tidy up.
    shutil.rmtree(configuration.parent)


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_several_scripts(start: Start, script: Path, tmp_path: Path) -> None:
    """Each script on the command line is loaded."""
    other = tmp_path / "other.py"
    other.write_text(HELLO.replace("/hello", "/other").replace("/fail", "/other-fail"))
    command = start("run", script, other, "--http-port", "0", "--dicom-port", "0")
    port = command.port()
    assert get(port, "/hello")[0] == 200
    assert get(port, "/other")[0] == 200


@pytest.mark.parametrize(
    ("text", "reason"),
    [("1 / 0\n", "ZeroDivisionError"), ("def f(:\n", "SyntaxError")],
)
def test_an_error_in_the_script(run: Start, script: Path, text: str, reason: str) -> None:
    """A script that fails is exit code 3, a missing one 2 (its unit test says so)."""
    script.write_text(text)
    command = run()
    assert command.wait() == 3
    assert reason in command.output
    assert "hello.py" in command.output
    assert "Orthanc ended with exit code" in command.lines[-1]


def test_a_taken_port_is_told_at_once(start: Start, script: Path) -> None:
    """Who has the port is said before Orthanc starts."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        command = start("run", script, "--http-port", str(port), "--dicom-port", "0")
        assert command.wait() == 3
    assert f"the HTTP port {port} is taken by" in command.output
    assert f"process {os.getpid()}" in command.output


def test_a_configuration_file_is_laid_over(run: Start, tmp_path: Path) -> None:
    """Its values count, comments and all; but it opens nothing to other machines."""
    config = tmp_path / "more.json"
    config.write_text('{ "Name": "From the file", // yes\n "RemoteAccessAllowed": true }')
    command = run("--config", config)
    port = command.port()
    assert json.loads(get(port, "/system")[1])["Name"] == "From the file"
    command.wait_line('"RemoteAccessAllowed" of the configuration file .* --public')
    command.wait_line("remote access is not allowed")


def test_public_asks_for_a_password(run: Start) -> None:
    """With --public, nobody comes in without the password that the banner shows."""
    command = run("--public")
    port = command.port()
    assert get(port, "/system")[0] == 401
    user, password = command.wait_line(r"Users +(\w+) \(password (\S+)\)").groups()
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/system", headers={"Authorization": f"Basic {credentials}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    command.wait_line("remote access is allowed")


def test_dicom_is_for_this_machine_only(run: Start) -> None:
    """The DICOM port is open to all, but only DCMTK's titles from 127.0.0.1 are answered."""
    command = run()
    port = int(command.wait_line(r"DICOM +ORTHANC on port (\d+)")[1])

    def answered(title: str, address: str) -> bool:
        entity = AE(ae_title=title)
        entity.add_requested_context(Verification)
        association = entity.associate("127.0.0.1", port, bind_address=(address, 0))
        if not association.is_established:
            return False
        status = association.send_c_echo()
        association.release()
        return bool(status.get("Status") == 0)

    assert answered("ECHOSCU", "127.0.0.1")
    assert not answered("ECHOSCU", "127.0.0.2")
    assert not answered("STRANGER", "127.0.0.1")


def test_config_makes_an_existing_server_load_it(
    start: Start, script: Path, tmp_path: Path, orthanc_server: Any
) -> None:
    """What `config` prints, put into a server's configuration, loads the script."""
    command = start("config", script)
    assert command.wait() == 0
    printed = json.loads(command.output)
    assert "PythonScript" not in printed
    assert printed["Python"]["Scripts"] == [str(script)]
    server = orthanc_server(plugins=[], config=printed)
    assert server.http.get("/hello").json() == {"hello": "world"}


def test_plugin_path(start: Start) -> None:
    """`plugin-path` prints the library, and nothing else."""
    command = start("plugin-path")
    assert command.wait() == 0
    (line,) = command.lines
    assert line.endswith("/libOrthancAsync.so")
    assert Path(line).is_file()


def test_doctor_finds_nothing_wrong(start: Start, script: Path, tmp_path: Path) -> None:
    """After a good build, with free ports, every finding about this machine is fine."""
    config = tmp_path / "orthanc.json"
    library = start("plugin-path")
    library.wait()
    config.write_text(
        json.dumps(
            {
                "Plugins": library.lines,
                "Python": {"Scripts": [str(script)]},
                "HttpPort": free_port(),
                "DicomPort": free_port(),
            }
        )
    )
    command = start("doctor", "--config", config, script)
    assert command.wait() == 0, command.output
    assert "ok       plugin " in command.output
    assert "ok       libpython " in command.output
    assert not [line for line in command.lines if line.startswith("error")]


def test_doctor_lists_what_orthanc_lacks(start: Start, tmp_path: Path) -> None:
    """Functions that came after an Orthanc are listed below it, by version and feature."""
    old = tmp_path / "Orthanc"
    old.write_text('#!/bin/sh\necho "$0 1.12.6"\n')
    old.chmod(0o755)
    command = start("doctor", env={**os.environ, "ORTHANC": str(old)})
    command.wait()
    command.wait_line(r"^note +Orthanc 1\.12\.6 does not have what later versions have")
    command.wait_line(r"^ +1\.12\.8 +key-value stores \(CreateKeysValuesIterator, DeleteKeyValue")
    # What this build lacks itself stands above.
    noted = command.output[command.output.index("\nnote ") :]
    assert "1.12.6  " not in noted


def test_the_installed_command(tmp_path: Path) -> None:
    """`orthanc-async` is installed beside the environment's python."""
    command = Path(sys.executable).with_name("orthanc-async")
    answer = subprocess.run(
        [command, "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        timeout=30,
    )
    assert re.fullmatch(r"orthanc-async, version \d+\.\d+\S*\n", answer.stdout)
