"""The command line itself: options, arguments, log lines, exit codes."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from orthanc_async._cli import _log_lines, main
from orthanc_async._cli._options import Exit, Port, Script, refuse_same_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """An empty script."""
    file = tmp_path / "script.py"
    file.touch()
    return file


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("8042", 8042), ("65535", 65535)])
def test_ports(text: str, port: int) -> None:
    """Every number that a port can have is taken."""
    assert Port().convert(text, None, None) == port


@pytest.mark.parametrize("text", ["-1", "65536", "x", "", "80.5"])
def test_what_is_no_port(text: str) -> None:
    """Anything else is refused with the range."""
    with pytest.raises(click.BadParameter, match=r"0 .* to 65535"):
        Port().convert(text, None, None)


def test_a_script_is_made_absolute(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is meant from the working directory."""
    monkeypatch.chdir(script.parent)
    assert Script().convert("script.py", None, None) == script


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.py", "does not exist"),
        ("script.txt", "does not end in .py"),
        ("orthanc.py", "rename it"),
        ("orthanc_async.py", "rename it"),
        ("folder.py", "is a folder"),
    ],
)
def test_what_is_no_script(tmp_path: Path, name: str, reason: str) -> None:
    """Each kind of wrong script is a wrong command line, with its reason."""
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "orthanc.py").touch()
    answer = CliRunner().invoke(main, ["run", str(tmp_path / name)])
    assert answer.exit_code == Exit.USAGE
    assert reason in " ".join(answer.output.split())


def test_two_scripts_of_one_name_are_refused(tmp_path: Path) -> None:
    """The message names both, for they would be one module."""
    first, second = tmp_path / "a" / "x.py", tmp_path / "b" / "x.py"
    with pytest.raises(click.UsageError, match=r"a/x\.py and .*b/x\.py"):
        refuse_same_names([first, second])
    refuse_same_names([first, tmp_path / "b" / "y.py"])
    with pytest.raises(click.UsageError, match="named twice"):
        refuse_same_names([first, tmp_path / "a" / "x.py"])


@pytest.mark.parametrize(
    ("arguments", "config", "reason"),
    [
        (["--http-port", "18500", "--dicom-port", "18500"], "{}", "both the HTTP and the DICOM"),
        (
            ["--http-port", "0", "--dicom-port", "0", "--storage", "/proc/nowhere"],
            "{}",
            "/proc/nowhere cannot be made",
        ),
        ([], '{"HttpServerEnabled": false}', '"HttpServerEnabled" to false'),
        ([], '{"HttpPort": "8042"}', '"HttpPort" must be a number'),
    ],
)
def test_run_says_what_is_wrong(
    script: Path, arguments: list[str], config: str, reason: str
) -> None:
    """What Orthanc would say late, or of something else, is said before it is started."""
    file = script.with_name("orthanc.json")
    file.write_text(config, "utf-8")
    answer = CliRunner().invoke(main, ["run", str(script), "--config", str(file), *arguments])
    assert answer.exit_code in (Exit.USAGE, Exit.NOT_STARTED)
    assert reason in answer.output


def test_no_script_is_a_wrong_command_line() -> None:
    """`run` needs a script."""
    assert CliRunner().invoke(main, ["run"]).exit_code == Exit.USAGE


def test_a_broken_configuration_is_a_wrong_command_line(script: Path) -> None:
    """The configuration file's error names file and line."""
    config = script.parent / "more.json"
    config.write_text("{\n!")
    answer = CliRunner().invoke(main, ["run", str(script), "--config", str(config)])
    assert answer.exit_code == Exit.USAGE
    assert "more.json:2:" in answer.output


def test_an_environment_variable_sets_an_option(script: Path) -> None:
    """Each option has a variable, and its mistakes are named like the option's."""
    environment = {"ORTHANC_ASYNC_HTTP_PORT": "many"}
    answer = CliRunner().invoke(main, ["run", str(script)], env=environment)
    assert answer.exit_code == Exit.USAGE
    assert "'many' is not a port" in " ".join(answer.output.split())
    assert "ORTHANC_ASYNC_HTTP_PORT" in CliRunner().invoke(main, ["run", "--help"]).output


def test_no_orthanc_is_told(script: Path) -> None:
    """A wrong ORTHANC is a failure to start, named."""
    answer = CliRunner().invoke(main, ["run", str(script)], env={"ORTHANC": "/none/Orthanc"})
    assert answer.exit_code == Exit.NOT_STARTED
    assert answer.output.startswith("orthanc-async: ")


@pytest.mark.parametrize("command", ["run", "config", "plugin-path", "doctor"])
def test_each_command_has_help(command: str) -> None:
    """The help of each command says what it does."""
    answer = CliRunner().invoke(main, [command, "--help"])
    assert answer.exit_code == Exit.OK
    summary = (main.commands[command].help or "").partition("\n")[0]
    assert summary.endswith(".")
    assert summary in " ".join(answer.output.split())


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("W1124 08:42:09.868322 main.cpp:2017] Orthanc version: 1.10.1",
         "08:42:09 WARN  Orthanc version: 1.10.1"),
        ("E1124 08:42:09.868322             MAIN main.cpp:20] x] y", "08:42:09 ERROR x] y"),
        ("I0226 00:00:01.000001          HTTP-12 a/b.cpp:1] ", "00:00:01 INFO  "),
        ("T0226 00:00:01.000001 DCMTK X Y.cpp:1] z", "00:00:01 TRACE z"),
        ('  File "x.py", line 3, in f', '  File "x.py", line 3, in f'),
        ("", ""),
        ("Warning: no record", "Warning: no record"),
    ],
)  # fmt: skip
def test_log_lines(line: str, shown: str) -> None:
    """Records of old and new Orthanc become short; other lines stay as they are."""
    assert click.unstyle(_log_lines.readable(line)) == shown


def test_log_line_with_its_place() -> None:
    """With `--verbose`, Orthanc's source line stands behind the text."""
    line = "W1124 08:42:09.868322 main.cpp:2017] text"
    shown = click.unstyle(_log_lines.readable(line, with_place=True))
    assert shown == "08:42:09 WARN  text  [main.cpp:2017]"


def test_version_of_a_copied_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that was copied rather than installed says so instead of a traceback."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("orthanc-async, version unknown: the package has been copied")
