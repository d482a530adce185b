"""Start and stop the Orthanc servers that are compared.

The package's own launcher is not used: here a start is timed to the millisecond, and the other
plugins can be measured where orthanc-async is not installed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "scripts"
BUILD = HERE.parent / "build" / "benchmarks"
SDK = Path("/usr/include/orthanc")
OFFICIAL = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
ORTHANC = Path(os.environ.get("ORTHANC_EXECUTABLE", "/usr/sbin/Orthanc"))
START_DEADLINE = 30.0
STOP_DEADLINE = 30.0


@dataclass(frozen=True)
class Contender:
    """One way to run Orthanc: its plugin and the settings that go with it."""

    name: str
    plugin: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def ours(script: str) -> Contender:
    """Return orthanc-async, as installed beside the running Python, with one of our scripts."""
    # -P, or the checkout's own folder, which holds no library, would hide the installed package.
    command = [sys.executable, "-P", "-m", "orthanc_async", "plugin-path"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    plugin = Path(found.stdout.strip())
    if found.returncode != 0 or not plugin.is_file():
        raise BenchmarkError(
            f"`{' '.join(command)}` names no plugin: install orthanc-async into this environment "
            f"(scripts/setup), or leave it out with --skip ours\n{found.stderr.strip()}"
        )
    return Contender("ours", plugin, {"Python": {"Scripts": [str(SCRIPTS / script)]}})


def official(script: str) -> Contender:
    """Return Debian's build of the official plugin with one of our scripts."""
    if not OFFICIAL.is_file():
        raise BenchmarkError(
            f"{OFFICIAL} is missing: `apt-get install orthanc-python`, "
            "or leave it out with --skip official"
        )
    return Contender("official", OFFICIAL, {"PythonScript": str(SCRIPTS / script)})


def native() -> Contender:
    """Compile the pure C++ plugin and return it."""
    source = HERE / "native" / "plain_route.cpp"
    library = BUILD / "libPlainRoute.so"
    BUILD.mkdir(parents=True, exist_ok=True)
    command = [
        *("g++", "-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden"),
        *("-I", str(SDK), str(source), "-o", str(library)),
    ]
    try:
        compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BenchmarkError("g++ is missing: `apt-get install g++`") from None
    if compiled.returncode != 0:
        raise BenchmarkError(
            f"{source} does not compile (the SDK is in Debian's orthanc-dev):\n{compiled.stderr}"
        )
    return Contender("native", library)


def bare() -> Contender:
    """Return Orthanc without any plugin."""
    return Contender("bare")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One Orthanc with a storage of its own; it may be started again on the same storage."""

    def __init__(self, contender: Contender, folder: Path) -> None:
        self.contender = contender
        self._folder = folder
        self._log = folder / "orthanc.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def url(self, path: str) -> str:
        """Return the address of a path on this server."""
        return f"http://127.0.0.1:{self._port}{path}"

    def start(self) -> float:
        """Start Orthanc.

        Returns:
            Seconds from just before exec to the whole answer of /system.

        Raises:
            BenchmarkError: Orthanc ended, or did not answer in time; with the end of its log.
        """
        self._port = _free_port()
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(), indent=2))
        with self._log.open("wb") as log:
            started = time.monotonic()
            try:
                self._process = subprocess.Popen(
                    [str(ORTHANC), str(configuration)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise BenchmarkError(
                    f"{ORTHANC} is missing: `apt-get install orthanc`, or set ORTHANC_EXECUTABLE"
                ) from None
        while True:
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                status, _ = self._exchange("GET", "/system")
                if status == 200:
                    return time.monotonic() - started
            if self._process.poll() is not None:
                code = self._process.returncode
                raise BenchmarkError(f"{self._describe()} ended with {code}\n{self._log_tail()}")
            if time.monotonic() - started > START_DEADLINE:
                self.stop()
                raise BenchmarkError(
                    f"{self._describe()} gave no answer in {START_DEADLINE} s\n{self._log_tail()}"
                )
            # The step is the resolution of the start-up row; a refused connection costs ~50 us.
            time.sleep(0.001)

    def stop(self) -> None:
        """Stop Orthanc as a service manager does, and wait for its end."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchmarkError(
                f"{self._describe()} did not stop in {STOP_DEADLINE} s\n{self._log_tail()}"
            ) from None

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Send one request and return the body of the 200 answer.

        Raises:
            BenchmarkError: The server is not there, or its answer has another status.
        """
        try:
            status, answer = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise BenchmarkError(
                f"{self._describe()}: {method} {path} failed: {error!r}\n{self._log_tail()}"
            ) from error
        if status != 200:
            raise BenchmarkError(
                f"{self._describe()}: {method} {path} gave {status}: "
                f"{answer[:500].decode(errors='replace')}\n{self._log_tail()}"
            )
        return answer

    def reset_peak(self) -> None:
        """Have the process's highest memory counted from now on."""
        assert self._process is not None
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def memory(self, what: str) -> float:
        """Return a value of the process's memory in MB: "VmRSS" or, at the highest, "VmHWM"."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [kilobytes] = re.findall(rf"^{what}:\s*(\d+) kB$", status, re.MULTILINE)
        return int(kilobytes) / 1024

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        # A connection a request: Orthanc closes an idle one after a second, and until then it
        # would hold one of the threads that are measured.
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request(method, path, body, {"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Like request(), with the answer decoded."""
        return json.loads(self.request(method, path, body))

    def _describe(self) -> str:
        return f"Orthanc with the plugin {self.contender.name!r}"

    def _log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])

    def _configuration(self) -> dict[str, Any]:
        plugin = self.contender.plugin
        return {
            "Name": self.contender.name,
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "Plugins": [] if plugin is None else [str(plugin)],
            "HttpPort": self._port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "KeepAlive": True,
            "TcpNoDelay": True,
            "HttpThreadsCount": 50,
            **self.contender.settings,
        }


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Keep a server running for a with block."""
    try:
        server.start()
        yield server
    finally:
        server.stop()
