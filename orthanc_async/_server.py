"""A real Orthanc as a child process: for the command line, the demo, the tests and benchmarks.

Everything here runs outside Orthanc and uses the standard library only.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from orthanc_async import _server_config
from orthanc_async._server_net import free_port, listens, process_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
_POLL = 0.02
_PORT_ATTEMPTS = 5
_KEPT_LINES = 400


class ServerError(RuntimeError):
    """Orthanc could not be found, started or stopped."""


class StartError(ServerError):
    """Orthanc ended, or stayed silent, before it served.

    Args:
        message: what happened.
        exit_code: Orthanc's exit code, None when it had to be ended.
        log: what it had logged until then.
    """

    def __init__(self, message: str, exit_code: int | None, log: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log = log


class PortTakenError(StartError):
    """The HTTP or DICOM port belongs to another process.

    Args:
        port: which one.
        exit_code: Orthanc's exit code.
        log: what it had logged until then.
    """

    def __init__(self, port: int, exit_code: int | None, log: str) -> None:
        super().__init__(
            f"port {port} is taken by another process (or below 1024): choose another one",
            exit_code,
            log,
        )
        self.port = port


def find_orthanc() -> Path:
    """Return the Orthanc executable: `$ORTHANC`, else `Orthanc` on the path or in /usr/sbin.

    Raises:
        ServerError: there is none.
    """
    named = os.environ.get("ORTHANC")
    if named:
        found = shutil.which(named)
        if found is None:
            raise ServerError(f"ORTHANC names {named!r}, which is not an executable file")
        return Path(found)
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("Orthanc", path=search)
    if found is None:
        raise ServerError(
            "no Orthanc found on PATH or in /usr/sbin: install it (Debian: apt install orthanc) "
            "or name it in the environment variable ORTHANC"
        )
    return Path(found)


class OrthancServer:
    """One Orthanc, from its start to its end.

    Args:
        scripts: Python scripts, made absolute into `Python.Scripts`.
        plugins: plugin libraries or folders; None is our own plugin, an empty list none at all.
        config: configuration laid over everything chosen here, section by section.
        http_port: 0 takes a free one (and another if that was lost to somebody meanwhile).
        dicom_port: 0 as above, None switches the DICOM server off.
        storage: folder that is kept; None is a temporary one.
        public: serve other machines too.
        verbose: Orthanc's `--verbose`.
        executable: Orthanc; None looks for it.
        environment: variables added to this process's own; None as a value removes one.
        cwd: Orthanc's working directory; None is this process's.
        on_log: called with each line of the log, on a thread of its own; None keeps the log in a
            file (no thread, so nothing here can slow Orthanc down).
        start_timeout: seconds until the HTTP server must answer.
        stop_timeout: seconds until it must have ended after a signal.
    """

    def __init__(
        self,
        scripts: Iterable[str | Path] = (),
        *,
        plugins: Sequence[str | Path] | None = None,
        config: Mapping[str, Any] | None = None,
        http_port: int = 0,
        dicom_port: int | None = None,
        storage: str | Path | None = None,
        public: bool = False,
        verbose: bool = False,
        executable: str | Path | None = None,
        environment: Mapping[str, str | None] | None = None,
        cwd: str | Path | None = None,
        on_log: Callable[[str], None] | None = None,
        start_timeout: float = START_TIMEOUT,
        stop_timeout: float = STOP_TIMEOUT,
    ) -> None:
        self.scripts = [Path(script).absolute() for script in scripts]
        self.plugins = [_server_config.plugin_library()] if plugins is None else list(plugins)
        self.executable = Path(executable) if executable else find_orthanc()
        self.start_timeout = start_timeout
        self.stop_timeout = stop_timeout
        self.config: dict[str, Any] = {}
        self._extra = dict(config or {})
        self._wanted_http, self._wanted_dicom = http_port, dicom_port
        self._storage = Path(storage).absolute() if storage is not None else None
        self._public = public
        self._verbose = verbose
        self._environment = dict(environment or {})
        self._cwd = cwd
        self._on_log = on_log
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._log_file: IO[bytes] | None = None
        self._last_lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._final_log: str | None = None

    # -- what it is ------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The run's own folder: configuration, log, temporary storage. It goes at the end."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="orthanc-async-"))
        return self._folder

    @property
    def config_path(self) -> Path:
        """The configuration file that this Orthanc was started with."""
        return self.folder / "orthanc.json"

    @property
    def storage(self) -> Path:
        """The folder with the DICOM files and the index."""
        return Path(self.config["StorageDirectory"])

    @property
    def http_port(self) -> int:
        """The port of the REST API."""
        return int(self.config["HttpPort"])

    @property
    def dicom_port(self) -> int:
        """The port of the DICOM server."""
        return int(self.config["DicomPort"])

    @property
    def url(self) -> str:
        """The REST API's address, without a slash at the end."""
        scheme = "https" if self.config.get("SslEnabled") else "http"
        return f"{scheme}://127.0.0.1:{self.http_port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running().pid

    @property
    def started(self) -> bool:
        """Whether a process has been started, be it alive or not."""
        return self._process is not None

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while Orthanc runs (negative: the signal that ended it)."""
        return None if self._process is None else self._process.poll()

    def log_text(self) -> str:
        """Return what Orthanc has logged so far (the last lines only, with `on_log`)."""
        if self._on_log is not None:
            return "\n".join(self._last_lines)
        if self._final_log is not None:
            return self._final_log
        path = self.folder / "Orthanc.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def processes(self) -> list[int]:
        """Return the ids of the processes in Orthanc's session: itself and its children."""
        return [] if self._process is None else process_session(self._process.pid)

    # -- start -----------------------------------------------------------------------------

    def start(self) -> Self:
        """Start Orthanc and wait until it answers.

        Raises:
            StartError: it ended before that, or took longer than `start_timeout`.
        """
        for attempt in range(_PORT_ATTEMPTS):
            self.launch()
            try:
                self.wait_ready()
            except PortTakenError as error:
                # A free port that was chosen here may go to another process before Orthanc
                # opens it; one that the caller asked for is the caller's to change.
                asked = error.port in (self._wanted_http, self._wanted_dicom)
                if asked or attempt == _PORT_ATTEMPTS - 1:
                    self.close()
                    raise
            except BaseException:
                self.close()
                raise
            else:
                break
        return self

    def launch(self) -> None:
        """Write the configuration and start the process, without waiting for it."""
        self._finish_log()
        self._final_log = None
        self.config = self._build_config()
        self.config_path.touch(mode=0o600)  # it may hold passwords
        self.config_path.write_text(json.dumps(self.config, indent=2) + "\n", "utf-8")
        environment = {**os.environ, **self._environment}
        stderr: int | IO[bytes] = subprocess.PIPE
        if self._on_log is None:
            stderr = self._log_file = (self.folder / "Orthanc.log").open("wb")
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=stderr if self._on_log is None else subprocess.PIPE,
            stderr=stderr if self._on_log is None else subprocess.STDOUT,
            env={name: value for name, value in environment.items() if value is not None},
            cwd=self._cwd,
            # A session of its own: Ctrl-C in the terminal reaches this process only, which
            # decides what Orthanc gets; and what Orthanc's scripts leave behind can be found.
            start_new_session=True,
        )
        if self._on_log is not None:
            self._reader = threading.Thread(
                target=self._read_log, args=(self._process.stdout, self._on_log), daemon=True
            )
            self._reader.start()

    def wait_ready(self) -> None:
        """Wait until Orthanc's HTTP server answers.

        Raises:
            StartError: Orthanc ended, or `start_timeout` passed.
        """
        process = self._running()
        deadline = time.monotonic() + self.start_timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL)
                self._finish_log()
                raise self._start_error(process.returncode)
            # Another server may answer on a port that is taken: only ours counts.
            if listens(process.pid, self.http_port) and self._answers():
                return
        self.kill()
        raise StartError(
            f"Orthanc did not answer on port {self.http_port} within {self.start_timeout:g} s",
            None,
            self.log_text(),
        )

    def _build_config(self) -> dict[str, Any]:
        storage = self._storage or self.folder / "storage"
        return _server_config.build(
            scripts=self.scripts,
            plugins=self.plugins,
            storage=storage,
            http_port=self._wanted_http or free_port(),
            dicom_port=free_port() if self._wanted_dicom == 0 else self._wanted_dicom,
            public=self._public,
            extra=self._extra,
        )

    def _command(self) -> list[str]:
        command = [str(self.executable), str(self.config_path)]
        if self._verbose:
            command.append("--verbose")
        # The kernel's "tell the child when its parent dies" is bound to the parent's *thread*:
        # only the main thread lives as long as the process.
        setpriv = shutil.which("setpriv")
        if setpriv and threading.current_thread() is threading.main_thread():
            command[:0] = [setpriv, "--pdeathsig", "TERM"]
        return command

    def _answers(self) -> bool:
        if self.config.get("SslEnabled"):
            return True  # it listens; whose certificate that is, is not our business here
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=15)
        try:
            connection.request("GET", "/system")
            return connection.getresponse().status in (200, 401, 403)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _start_error(self, code: int) -> StartError:
        log = self.log_text()
        for kind in ("HTTP", "DICOM"):
            if f"TCP port of the {kind} server is privileged or already in use" in log:
                port = self.http_port if kind == "HTTP" else self.dicom_port
                return PortTakenError(port, code, log)
        ended = (
            f"with exit code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"
        )
        return StartError(f"Orthanc ended {ended} before it served", code, log)

    # -- end -------------------------------------------------------------------------------

    def send_signal(self, number: int = signal.SIGTERM) -> None:
        """Send one signal to Orthanc, which may have ended already.

        Safe in a signal handler, as nothing else here is that waits.
        """
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until Orthanc has ended.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            The exit code.

        Raises:
            ServerError: it still runs after `timeout`.
        """
        process = self._running()
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerError(f"Orthanc still runs after {timeout:g} s") from None
        self._finish_log()
        return code

    def stop(self, number: int = signal.SIGTERM, timeout: float | None = None) -> int:
        """Send a signal and wait for the end.

        Args:
            number: SIGTERM or SIGINT.
            timeout: seconds; None is `stop_timeout`.

        Returns:
            The exit code.

        Raises:
            ServerError: Orthanc did not end in time; it has been killed.
        """
        limit = self.stop_timeout if timeout is None else timeout
        self.send_signal(number)
        try:
            return self.wait(limit)
        except ServerError:
            self.kill()
            name = signal.Signals(number).name
            raise ServerError(f"Orthanc did not end within {limit:g} s of {name}") from None

    def kill(self) -> None:
        """End Orthanc and every process of its session at once."""
        if self._process is None:
            return
        if self._process.poll() is None or self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._finish_log()

    def close(self) -> None:
        """Leave nothing behind: end what still runs, delete the run's folder."""
        self.kill()
        if self._on_log is None and self._folder is not None:
            self._final_log = self.log_text()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.exit_code is None:
                self.stop()
        finally:
            self.close()

    # -- log -------------------------------------------------------------------------------

    def _read_log(self, stream: IO[bytes], on_log: Callable[[str], None]) -> None:
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._last_lines.append(line)
                on_log(line)

    def _finish_log(self) -> None:
        # A process that a script left behind may hold the pipe open: not for ever.
        if self._reader is not None:
            self._reader.join(2)
            self._reader = None
        if self._log_file is not None:
            self._log_file.close()
            self._log_file = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError("this Orthanc has not been started")
        return self._process
