"""What doctor finds, each finding provoked."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from orthanc_async import _server_config
from orthanc_async._cli import _access, _checks, _sdk, main
from orthanc_async._cli._findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterable


def only(findings: Iterable[Finding], level: Level) -> list[str]:
    """Return the lines of a level."""
    return [finding.line() for finding in findings if finding.level is level]


@pytest.fixture
def orthanc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says it is Orthanc 1.12.7."""
    program = tmp_path / "Orthanc"
    program.write_text('#!/bin/sh\necho "$0 1.12.7"\necho "Copyright 2012"\n')
    program.chmod(0o755)
    monkeypatch.setenv("ORTHANC", str(program))
    return program


def test_no_orthanc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing Orthanc is an error that says how to name one."""
    monkeypatch.setenv("ORTHANC", "/none/Orthanc")
    (line,) = only(_checks.check_orthanc("1.10.1"), Level.ERROR)
    assert "/none/Orthanc" in line


@pytest.mark.parametrize(
    ("sdk", "level", "text"),
    [
        ("1.12.7", Level.OK, "same SDK"),
        ("1.12.10", Level.WARNING, "newer than Orthanc 1.12.7"),
        ("1.10.1", Level.WARNING, "older than Orthanc 1.12.7"),
        ("1.12.6", Level.OK, "has no more functions"),
    ],
)
@pytest.mark.usefixtures("orthanc")
def test_sdk_version(sdk: str, level: Level, text: str) -> None:
    """The SDK's version is compared as a version, not as a text."""
    assert any(text in line for line in only(_checks.check_orthanc(sdk), level))


def details(findings: Iterable[Finding], level: Level) -> dict[str, str]:
    """Return what stands below the finding of a level."""
    (found,) = [finding for finding in findings if finding.level is level]
    return dict(found.details)


def test_what_orthanc_lacks() -> None:
    """What came after the installed Orthanc is listed by version, and none of it twice."""
    lacks = details(_sdk.check_sdk("1.12.8", "1.12.8"), Level.NOTE)
    assert set(lacks) == {"1.12.9", "1.12.10", "1.13.0"}
    assert "HTTP authentication (RegisterHttpAuthentication)" in lacks["1.12.9"]
    assert lacks["1.12.9"].endswith("; SetStableStatus")
    assert "RegisterFindCallback2" in lacks["1.12.10"]
    old = details(_sdk.check_sdk("1.10.1", "1.10.1"), Level.NOTE)
    assert "streamed answers (RestOutput.SendStreamChunk" in old["1.12.6"]
    assert "key-value stores (" in old["1.12.8"]
    assert list(old) == sorted(old, key=lambda text: [int(part) for part in text.split(".")])


def test_what_an_older_header_lacks() -> None:
    """A plugin that was built with an older header says what it lacks; Orthanc lacks the rest."""
    findings = list(_sdk.check_sdk("1.12.6", "1.12.8"))
    (line,) = only(findings, Level.WARNING)
    assert line.endswith("build again")
    assert set(details(findings, Level.WARNING)) == {"1.12.8"}
    assert "1.12.8" not in details(findings, Level.NOTE)
    newest = list(_sdk.check_sdk("1.12.6", "mainline (0123)"))
    assert "1.13.0" in details(newest, Level.WARNING)
    assert not only(newest, Level.NOTE)


def test_a_newer_header_in_an_older_orthanc() -> None:
    """What such a plugin has bound and this Orthanc does not have is listed, too."""
    findings = list(_sdk.check_sdk("1.13.0", "1.12.8"))
    assert "newer than Orthanc 1.12.8" in only(findings, Level.WARNING)[0]
    assert "1.12.9" in details(findings, Level.NOTE)


def test_the_newest_is_quiet() -> None:
    """An Orthanc that has everything is one line."""
    (finding,) = _sdk.check_sdk("1.13.0", "1.13.0")
    assert finding.level is Level.OK


def test_never_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the generated package the versions are still compared."""
    monkeypatch.setitem(sys.modules, "orthanc._since", None)
    assert "newer than" in only(_sdk.check_sdk("1.13.0", "1.12.8"), Level.WARNING)[0]


def test_details_are_wrapped_below_their_finding() -> None:
    """A long list stays within the page, each of its lines beside its heading."""
    long = ", ".join(["Function"] * 30)
    finding = Finding(Level.NOTE, "text", "", (("1.9", long), ("1.10.1", "one")))
    lines = finding.below()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 99
    assert lines[0].startswith(" " * 9 + "1.9     Function")
    assert lines[1].startswith(" " * 19 + "Function")
    assert lines[-1] == " " * 9 + "1.10.1  one"


def test_what_is_not_orthanc(orthanc: Path) -> None:
    """A program without a version is no Orthanc."""
    orthanc.write_text("#!/bin/sh\necho hello\n")
    (line,) = only(_checks.check_orthanc(None), Level.ERROR)
    assert "gives no version" in line


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library that is linked to nothing of ours."""
    monkeypatch.setattr(_server_config, "plugin_library", lambda: Path("/plugin.so"))
    return Path("/plugin.so")


def test_no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package without its library is an error that says how to build it."""
    monkeypatch.setattr("orthanc_async.__path__", ["/none"])
    (line,) = only(_checks.check_plugin({}), Level.ERROR)
    assert "pip install" in line


@pytest.mark.usefixtures("library")
def test_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin of another minor version is an error that names both versions."""
    monkeypatch.setattr(_checks, "loaded_libpython", lambda _library: "/lib/libpython3.so")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    (line,) = only(_checks.check_plugin({"PYTHON_VERSION": "3.1.4"}), Level.ERROR)
    assert "3.1.4" in line
    assert here in line
    assert not only(_checks.check_plugin({"PYTHON_VERSION": f"{here}.99"}), Level.ERROR)


@pytest.mark.usefixtures("library")
def test_another_libpython(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another libpython than at the build is named, a missing one an error."""
    monkeypatch.setattr(_checks, "loaded_libpython", lambda _library: "/lib/libpython3.so")
    (line,) = only(_checks.check_plugin({"LIBPYTHON": "/opt/libpython3.so"}), Level.WARNING)
    assert "/opt/libpython3.so" in line
    assert "/lib/libpython3.so" in line
    monkeypatch.setattr(_checks, "loaded_libpython", lambda _library: None)
    assert only(_checks.check_plugin({}), Level.ERROR)


@pytest.mark.parametrize(
    "keys", [{"PythonScript": "/x.py"}, {"Python": {"Path": "/x.py", "Scripts": ["/y.py"]}}]
)
def test_official_plugin_too(tmp_path: Path, keys: dict[str, object]) -> None:
    """The official plugin in a folder of plugins, with a script, is an error."""
    (tmp_path / "libOrthancPython.so").touch()
    config = {"Plugins": [str(tmp_path), "/x/libOrthancAsync.so"], **keys}
    (line,) = only(_checks.check_config(config, named=True), Level.ERROR)
    assert str(tmp_path) in line
    assert "Scripts" in line


def test_official_plugin_idle(tmp_path: Path) -> None:
    """Without its key the official plugin stays idle, which is fine."""
    (tmp_path / "libOrthancPython.so").touch()
    config = {
        "Plugins": [str(tmp_path), "/x/libOrthancAsync.so"],
        "Python": {"Scripts": ["/y.py"]},
    }
    findings = list(_checks.check_config(config, named=True))
    assert {finding.level for finding in findings} == {Level.OK}


def test_configuration_without_the_plugin() -> None:
    """A configuration that was named and lacks the plugin gets a hint."""
    assert only(_checks.check_config({}, named=True), Level.WARNING)
    assert not list(_checks.check_config({}, named=False))


def test_port_taken() -> None:
    """A taken port is named with the process that has it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        config = {"HttpPort": port, "DicomServerEnabled": False}
        (line,) = only(_checks.check_ports(config), Level.ERROR)
    assert str(port) in line
    assert str(os.getpid()) in line


OTHER = _access.User("other", 54321, frozenset({54321}))


def test_obstacle_is_the_first_closed_folder(tmp_path: Path) -> None:
    """The folder that stops a user is named, not the file behind it."""
    folder = tmp_path / "closed" / "open"
    folder.mkdir(parents=True)
    script = folder / "script.py"
    script.touch(0o644)
    (tmp_path / "closed").chmod(0o700)
    stopped = _access.obstacle(script, OTHER)
    assert stopped is not None
    assert script.is_relative_to(stopped)
    assert stopped != script


def test_obstacle_by_group(tmp_path: Path) -> None:
    """A group's right counts for its members, and only the file's own bits decide."""
    script = tmp_path / "script.py"
    script.touch()
    script.chmod(0o640)
    member = _access.User("member", 54321, frozenset({script.stat().st_gid}))
    assert _access._allowed(script, member, 4)
    assert not _access._allowed(script, OTHER, 4)


def test_root_reads_everything(tmp_path: Path) -> None:
    """Nothing stops root."""
    script = tmp_path / "script.py"
    script.touch(0o600)
    assert _access.obstacle(script, _access.User("root", 0, frozenset())) is None


def test_unknown_user() -> None:
    """A user that was asked for and does not exist is an error; the default one is not."""
    asked = list(_access.check_user("no-such-user", [], {}, asked=True))
    assert only(asked, Level.ERROR)
    assert not list(_access.check_user("no-such-user", [], {}, asked=False))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("bad.py", "def f(:\n", "bad.py:1"),
        ("orthanc.py", "", "rename it"),
        ("notes.txt", "", ".py"),
        ("null.py", "\0", "null.py"),
    ],
)
def test_wrong_scripts(tmp_path: Path, name: str, text: str, expected: str) -> None:
    """Each wrong script is an error with its reason."""
    script = tmp_path / name
    script.write_text(text)
    (line,) = only(_access.check_scripts([script]), Level.ERROR)
    assert expected in line


def test_scripts_of_one_name(tmp_path: Path) -> None:
    """Two scripts that would be one module are an error that names both; so is one given twice."""
    first, second = tmp_path / "one" / "script.py", tmp_path / "two" / "script.py"
    for script in (first, second):
        script.parent.mkdir()
        script.touch()
    (line,) = only(_access.check_scripts([first, second]), Level.ERROR)
    assert f"{first} and {second} have the same name" in line
    assert "rename one" in line
    (line,) = only(_access.check_scripts([first, Path(first)]), Level.ERROR)
    assert "give each script once" in line


def test_missing_script(tmp_path: Path) -> None:
    """A script that is not there is an error."""
    (line,) = only(_access.check_scripts([tmp_path / "none.py"]), Level.ERROR)
    assert "No such file" in line


def test_exit_code_one_with_an_error(tmp_path: Path) -> None:
    """The command's exit code tells of an error; findings are lines of their own."""
    answer = CliRunner().invoke(main, ["doctor", str(tmp_path / "none.py")])
    assert answer.exit_code == 1
    lines = answer.output.splitlines()
    assert any(line.startswith("error ") and "none.py" in line for line in lines)
    heads = [line for line in lines if not line.startswith("   ")]
    assert all(line.split()[0] in ("ok", "note", "warning", "error") for line in heads)
