"""Fixtures for tests with a real Orthanc.

Each Orthanc that a test starts is looked at when the test has ended: its exit code, what it
logged, and whether it left processes behind. The log is shown when the test fails.
"""

from __future__ import annotations

import functools
import http.client
import json
import re
import signal
import textwrap
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from orthanc_async import _build_info
from orthanc_async._cli._checks import orthanc_version
from orthanc_async._server import OrthancServer, StartError, find_orthanc
from waiting import DEADLINE, wait_until

_ERROR = re.compile(r"E\d{4} \d\d:\d\d:\d\d\.\d{6}")
_SANITIZER = re.compile(r"\w+Sanitizer|: runtime error: |Fatal Python error|LeakSanitizer")
# Orthanc 1.13 says so of each file with an image that it cannot show.
_NO_ERROR = r"triggered from DicomImageInformation\.cpp"
_LOGS = pytest.StashKey[list[list[OrthancServer]]]()


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


class Http:
    """A small HTTP client that sends paths and headers as they are, without encoding them."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(
        self,
        method: str,
        path: str | bytes,
        body: bytes | str | None = None,
        headers: Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]] = (),
        *,
        timeout: float = 60.0,
    ) -> Answer:
        """Send a request on a connection of its own and read the answer.

        Args:
            method: the HTTP method.
            path: with the query; bytes go out as they are.
            body: None sends none.
            headers: a mapping, or pairs where one is repeated.
            timeout: seconds for each step.
        """
        raw = path if isinstance(path, bytes) else path.encode()
        data = body.encode() if isinstance(body, str) else body
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lines = [method.encode() + b" " + raw + b" HTTP/1.1", b"Host: localhost"]
        for name, value in pairs:
            as_bytes = value if isinstance(value, bytes) else value.encode()
            lines.append(name.encode() + b": " + as_bytes)
        if data is not None:
            lines.append(b"Content-Length: %d" % len(data))
        lines += [b"Connection: close", b"", b""]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.connect()
            connection.sock.sendall(b"\r\n".join(lines) + (data or b""))
            answer = http.client.HTTPResponse(connection.sock, method=method)
            answer.begin()
            return Answer(answer.status, answer.reason, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str | bytes, **more: Any) -> Answer:
        """GET a path."""
        return self.request("GET", path, **more)

    def post(self, path: str | bytes, body: bytes | str = b"", **more: Any) -> Answer:
        """POST a body to a path."""
        return self.request("POST", path, body, **more)

    def put(self, path: str | bytes, body: bytes | str = b"", **more: Any) -> Answer:
        """PUT a body to a path."""
        return self.request("PUT", path, body, **more)

    def delete(self, path: str | bytes, **more: Any) -> Answer:
        """DELETE a path."""
        return self.request("DELETE", path, **more)


class Orthanc(OrthancServer):
    """A running Orthanc with what tests ask of it."""

    expected_errors: Sequence[str] = ()
    expected_exit: int | None = 0

    @property
    def http(self) -> Http:
        """A client for its REST API."""
        return Http(self.http_port)

    @property
    def version(self) -> tuple[int, ...]:
        """The version of Orthanc, such as (1, 12, 7)."""
        text = self.http.get("/system").json()["Version"]
        return tuple(int(part) for part in re.findall(r"\d+", text))

    @property
    def streams(self) -> bool:
        """Whether there are streamed answers: from SDK and Orthanc 1.12.6 on."""
        return min(self.version, build_version()) >= (1, 12, 6)

    def wait_log(self, pattern: str, *, count: int = 1, timeout: float = DEADLINE) -> list[str]:
        """Wait until the log holds a pattern so many times; return the matches.

        Args:
            pattern: a regular expression, searched with `re.MULTILINE`.
            count: how many matches to wait for.
            timeout: seconds.
        """

        def look() -> list[str]:
            return [match[0] for match in re.finditer(pattern, self.log_text(), re.MULTILINE)]

        return wait_until(
            look,
            f"{pattern!r} in the log, {count} times",
            done=lambda found: len(found) >= count,
            timeout=timeout,
            in_vain=lambda: None if self.exit_code is None else "Orthanc has ended",
        )

    def wait_ready(self) -> None:
        """Wait until it serves, and ends in peace when asked to."""
        super().wait_ready()
        self._wait_signals()

    def wait_started(self, count: int) -> None:
        """Wait until it has started so many times, resets counted.

        Args:
            count: how often; 2 after the first reset.
        """
        self.wait_log("main.cpp.*Orthanc has started", count=count, timeout=30)
        self._wait_signals()

    def _wait_signals(self) -> None:
        # Orthanc logs its start, and serves, a moment before it minds signals: until then, and
        # again during a reset, one would kill it.
        def minds_signals() -> bool:
            if self.exit_code is not None:
                return True
            status = Path(f"/proc/{self.pid}/status").read_text("ascii", "replace")
            found = re.search(r"SigCgt:\s*(\w+)", status)
            assert found
            caught = int(found[1], 16)
            return bool(caught & 1 << (signal.SIGTERM - 1))

        wait_until(minds_signals, "Orthanc to mind signals")

    def ask(self, path: str) -> Answer:
        """GET a path; again where the answer is that a route is being registered."""
        return wait_until(
            lambda: self.http.get(path), f"GET {path} to be let in", done=lambda a: a.status != 503
        )

    def wait_json(
        self, path: str, done: Callable[[Any], object], *, timeout: float = DEADLINE
    ) -> Any:
        """GET a path again and again until its JSON is as wanted; return that.

        A 503 is asked again too: it is the answer in the moment when a route is registered.

        Args:
            path: of the REST API or of a script's route.
            done: tells whether the JSON is as wanted.
            timeout: seconds, after which the test fails.
        """

        def look() -> tuple[int, str]:
            answer = self.http.get(path)
            assert answer.status in {200, 503}, answer.text
            return answer.status, answer.text

        def wanted(state: tuple[int, str]) -> object:
            return state[0] == 200 and done(json.loads(state[1]))

        _, text = wait_until(look, f"what is wanted of GET {path}", done=wanted, timeout=timeout)
        return json.loads(text)

    def upload(self, file: Path | bytes) -> dict[str, Any]:
        """Store a DICOM file; return Orthanc's answer."""
        answer = self.http.post(
            "/instances", file if isinstance(file, bytes) else file.read_bytes()
        )
        assert answer.status == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def wait_no_processes(self) -> None:
        """Wait until what Orthanc has started has ended too.

        What serves the start method forkserver sees the end only then.
        """
        wait_until(
            self.processes,
            "the end of what Orthanc has started",
            done=lambda left: not left,
            timeout=2,
        )

    def problems(self) -> list[str]:
        """Return what is wrong with an Orthanc that has ended."""
        found = []
        if self.expected_exit is not None and self.exit_code != self.expected_exit:
            found.append(f"Orthanc ended with exit code {self.exit_code}")
        for line in self.log_text().splitlines():
            expected = any(
                re.search(pattern, line) for pattern in (_NO_ERROR, *self.expected_errors)
            )
            if _SANITIZER.search(line) or (_ERROR.match(line) and not expected):
                found.append(f"unexpected in the log: {line}")
        return found


def build_version() -> tuple[int, ...]:
    """Return the version of the SDK that the plugin was built with, such as (1, 12, 7)."""
    return tuple(int(part) for part in _build_info.SDK_VERSION.split("."))


@functools.cache
def installed_version() -> tuple[int, ...]:
    """Return the version of the Orthanc that the tests start; one of the main line is newest."""
    text = orthanc_version(find_orthanc())
    assert text
    return tuple(int(part) for part in text.split(".")) if text[0].isdigit() else (999,)


def needs(version: str) -> pytest.MarkDecorator:
    """Skip where the plugin's SDK or the installed Orthanc is older than a version."""
    have = min(build_version(), installed_version())
    return pytest.mark.skipif(
        have < tuple(int(part) for part in version.split(".")),
        reason=f"needs Orthanc {version} and its SDK; this is {'.'.join(map(str, have))}",
    )


class OrthancFactory:
    """Starts Orthanc servers for one test."""

    def __init__(self, folder: Path, servers: list[OrthancServer]) -> None:
        self._folder = folder
        self._servers = servers

    def __call__(
        self,
        script: str | Path | Sequence[str | Path] | None = None,
        *,
        name: str = "script.py",
        errors: Sequence[str] = (),
        exit_code: int | None = 0,
        **settings: Any,
    ) -> Orthanc:
        """Start Orthanc and wait until it serves.

        Args:
            script: a script's text or path, or several of them (texts are numbered).
            name: the file's name for a text.
            errors: regular expressions for error lines that this test provokes.
            exit_code: what Orthanc must end with; None allows any.
            settings: for `OrthancServer`.
        """
        server = self.make(script, name=name, **settings)
        server.expected_errors = errors
        server.expected_exit = exit_code
        server.start()
        return server

    def fails(
        self,
        script: str | Path | Sequence[str | Path] | None = None,
        *,
        name: str = "script.py",
        **settings: Any,
    ) -> StartError:
        """Start an Orthanc that must not come up; return the error, which holds its log."""
        server = self.make(script, name=name, **settings)
        server.expected_errors = (".",)
        server.expected_exit = None
        with pytest.raises(StartError) as caught:
            server.start()
        return caught.value

    def make(
        self,
        script: str | Path | Sequence[str | Path] | None = None,
        *,
        name: str = "script.py",
        **settings: Any,
    ) -> Orthanc:
        """Return an Orthanc that has not been started yet."""
        given = [script] if isinstance(script, str | Path) else list(script or ())
        files = []
        for number, item in enumerate(given):
            if isinstance(item, Path):
                files.append(item)
                continue
            stem, _, suffix = name.rpartition(".")
            file = self._folder / (name if len(given) == 1 else f"{stem}{number + 1}.{suffix}")
            file.write_text(textwrap.dedent(item), "utf-8")
            files.append(file)
        settings.setdefault("cwd", self._folder)
        server = Orthanc(files, **settings)
        self._servers.append(server)
        return server


@pytest.fixture
def orthanc_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OrthancFactory]:
    """Give a function that starts an Orthanc; end and examine all of them after the test."""
    yield from _factory(request, tmp_path)


@pytest.fixture(scope="module")
def shared_orthanc(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OrthancFactory]:
    """Give the same for an Orthanc that serves all tests of a module."""
    yield from _factory(request, tmp_path_factory.mktemp("shared"))


def _factory(request: pytest.FixtureRequest, folder: Path) -> Iterator[OrthancFactory]:
    servers: list[OrthancServer] = []
    request.node.stash.setdefault(_LOGS, []).append(servers)
    yield OrthancFactory(folder, servers)
    problems = []
    try:
        for server in servers:
            assert isinstance(server, Orthanc)
            problems += _end(server)
    finally:
        for server in servers:
            server.close()
    assert not problems, "\n".join(problems)


def _end(server: Orthanc) -> list[str]:
    if not server.started:
        return []
    if server.exit_code is None:
        server.stop()
    problems = server.problems()
    try:
        server.wait_no_processes()
    except AssertionError as error:
        problems.append(str(error))
    return problems


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs with a failure."""
    report = yield
    if report.failed:
        for node in item.listchain():
            factories: list[list[OrthancServer]] = node.stash.get(_LOGS, [])
            for server in chain.from_iterable(factories):
                report.sections.append((f"Orthanc's log ({call.when})", server.log_text()))
    return report


@pytest.fixture(scope="session")
def dicom_files() -> list[Path]:
    """The eleven files of one MR study that pydicom ships."""
    folder = Path(pydicom.data.get_testdata_file("DICOMDIR") or "").parent / "98892003"
    studies: dict[str, list[Path]] = {}
    for file in sorted(file for file in folder.glob("*/*") if file.is_file()):
        study = pydicom.dcmread(file, specific_tags=["StudyInstanceUID"]).StudyInstanceUID
        studies.setdefault(study, []).append(file)
    files = max(studies.values(), key=len)
    assert len(files) == 11
    return files


@pytest.fixture(scope="session")
def dicom_file(dicom_files: list[Path]) -> Path:
    """One DICOM file."""
    return dicom_files[0]
