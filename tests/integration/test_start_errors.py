"""An Orthanc that must not start: it ends at once, and its log says what to mend."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async._server import StartError

if TYPE_CHECKING:
    from integration.conftest import OrthancFactory

_STAMP = re.compile(r"^[EWI]\d{4} \d\d:\d\d:\d\d\.\d{6} +(\S+ )?")
# What Orthanc itself logs once a plugin has failed: its own reason and its closing lines.
_CLOSING = re.compile(
    r"Orthanc has stopped|Uncaught exception|Finalizing the|Error while initializing plugin"
    r"|Error in the plugin|Exiting|stopp?ed|closed|Unloading|Orthanc is stopping",
    re.IGNORECASE,
)


def last_lines(error: StartError, count: int = 6) -> str:
    """Return what stands just before Orthanc's closing lines, one line each."""
    lines = [_STAMP.sub("", line) for line in error.log.splitlines()]
    while lines and (not lines[-1].strip() or _CLOSING.search(lines[-1])):
        lines.pop()
    return "\n".join(lines[-count:])


def refused(error: StartError) -> str:
    """Check that Orthanc has ended by itself as a failure; return its reason."""
    assert error.exit_code is not None, "Orthanc hung"
    assert error.exit_code > 0, error.exit_code
    return last_lines(error)


def test_missing_script(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """A script that is not there is named with the folder it was looked for in."""
    for name in ("gone.py", "loop/dangling.py"):
        reason = refused(
            orthanc_server.fails(config={"Python": {"Scripts": [name]}}, cwd=tmp_path)
        )
        assert f"script {name} (relative to {tmp_path}) does not exist" in reason


def test_folder_and_dangling_link(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """A folder called like a script, and a link that leads nowhere, are told apart."""
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "link.py").symlink_to(tmp_path / "nowhere.py")
    assert "folder.py is not a file" in refused(orthanc_server.fails(tmp_path / "folder.py"))
    reason = refused(orthanc_server.fails(tmp_path / "link.py"))
    assert f"link.py is a link to {tmp_path}/nowhere.py, which does not exist" in reason


def test_unreadable_script(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """A script that the service's user may not read names that user and the file."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, to become somebody who may not read the script")
    nobody = Path("/tmp") / f"orthanc-async-{os.getpid()}"
    nobody.mkdir(mode=0o777)
    try:
        nobody.chmod(0o777)  # whatever the umask
        script = nobody / "secret.py"
        script.write_text("import orthanc\n")
        script.chmod(0o600)
        launcher = nobody / "launcher"
        server = orthanc_server.make(script, storage=nobody / "storage", cwd="/")
        launcher.write_text(
            "#!/bin/sh\n"
            f'cp "$1" {nobody}/config.json; chmod 644 {nobody}/config.json; shift\n'
            "exec setpriv --reuid=65534 --regid=65534 --clear-groups "
            f'{server.executable} {nobody}/config.json "$@"\n'
        )
        launcher.chmod(0o755)
        server.executable = launcher
        server.expected_errors, server.expected_exit = (".",), None
        with pytest.raises(StartError) as caught:
            server.start()
        reason = refused(caught.value)
        assert (
            f"script {script} cannot be read by the user that runs Orthanc (uid 65534)" in reason
        )
    finally:
        shutil.rmtree(nobody)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "import orthanc\n\ndef f(:\n    pass\n",
            r"script.py has a syntax error: .*script\.py, line 3: ",
        ),
        (
            "import orthanc\nopen('x')\n",
            r"script\.py, line 2 cannot be loaded: FileNotFoundError: .*'x'",
        ),
        ("import sys\n\nsys.exit(3)\n", r"script\.py, line 3 cannot be loaded: .*sys\.exit\(3\)"),
        (
            "import broken_helper\n",
            r"script\.py, line 1 cannot be loaded: NameError: .*\(raised in .*\.py, line 2\)",
        ),
        ("import absent_helper\n", r"line 1 cannot be loaded: ModuleNotFoundError: .*absent_help"),
        ("raise KeyboardInterrupt\n", r"line 1 cannot be loaded: KeyboardInterrupt"),
        ("x = '\udcff'\n", r"script\.py.*(UTF-8|utf-8)"),
        (
            "import orthanc\northanc.RegisterRestCallback('/x(', lambda *a, **b: 0)\n",
            r"script\.py, line 2 cannot be loaded: ",
        ),
    ],
    ids=["syntax", "raises", "exit", "helper", "absent", "interrupt", "encoding", "regex"],
)
def test_broken_script(
    orthanc_server: OrthancFactory, tmp_path: Path, text: str, expected: str
) -> None:
    """Whatever is wrong inside a script: file, line and reason, and no Orthanc."""
    (tmp_path / "broken_helper.py").write_text("import sys\nnot python\n")
    script = tmp_path / "script.py"
    script.write_bytes(text.encode("utf-8", "surrogateescape"))
    reason = refused(orthanc_server.fails(script))
    assert re.search(expected, reason), reason


def test_traceback_of_a_broken_script(orthanc_server: OrthancFactory) -> None:
    """The traceback is whole, chained causes too, and starts in the script."""
    error = orthanc_server.fails("""
        import logging

        def inner():
            try:
                {}["missing"]
            except KeyError as error:
                raise ValueError("bad input") from error

        inner()
    """)
    assert "KeyError: 'missing'" in error.log
    assert "The above exception was the direct cause" in error.log
    assert "_host" not in error.log.replace("_host.main", "")
    assert "script.py, line 10 cannot be loaded: ValueError: bad input" in refused(error)


def test_script_names(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """Names that hide a module, that are used twice, or that are not Python are refused."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    for folder in (first, second):
        (folder / "job.py").write_text("")
    reason = refused(orthanc_server.fails([first / "job.py", second / "job.py"]))
    assert f"two scripts are called 'job': {first}/job.py and {second}/job.py" in reason
    for name in ("orthanc.py", "json.py"):
        (tmp_path / name).write_text("raise RuntimeError('must not run')\n")
        reason = refused(orthanc_server.fails(tmp_path / name))
        module = name.removesuffix(".py")
        assert f"{tmp_path}/{name}" in reason
        assert f"the module {module!r}" in reason
        assert "rename" in reason
    (tmp_path / "script.txt").write_text("")
    reason = refused(orthanc_server.fails(tmp_path / "script.txt"))
    assert f'"{tmp_path}/script.txt" is not a Python script: its name must end in .py' in reason


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"PythonScript": 1}, '"PythonScript" must be a string, not 1'),
    ({"PythonVerbose": "yes"}, '"PythonVerbose" must be true or false, not "yes"'),
    ({"Python": []}, '"Python" must be a section'),
    ({"Python": {"Path": ["a.py"]}}, '"Python.Path" must be a string, not ["a.py"]'),
    ({"Python": {"Scripts": "a.py"}}, '"Python.Scripts" must be a list of strings, not "a.py"'),
    ({"Python": {"Scripts": [1]}}, '"Python.Scripts" must be a list of strings, not [1]'),
    ({"Python": {"Verbose": 0}}, '"Python.Verbose" must be true or false'),
    ({"Python": {"DisplayMemoryUsage": 1}}, '"Python.DisplayMemoryUsage" must be true or false'),
    ({"Python": {"AllowThreads": "x"}}, '"Python.AllowThreads" must be true or false'),
    ({"Python": {"Executable": 3}}, '"Python.Executable" must be a string'),
    ({"Python": {"EventLoop": "trio"}}, '"Python.EventLoop" must be "asyncio" or "uvloop"'),
    ({"Python": {"SdkThreads": 0}}, '"Python.SdkThreads" must be a whole number from 1 to 256'),
    ({"Python": {"SdkThreads": 2.5}}, '"Python.SdkThreads" must be a whole number'),
    ({"Python": {"EventConcurrency": -1}}, '"Python.EventConcurrency" must be a whole number'),
    ({"Python": {"HandlerTimeout": "5"}}, '"Python.HandlerTimeout" must be a number of seconds'),
    ({"Python": {"ShutdownTimeout": 0}}, '"Python.ShutdownTimeout" must be a number of seconds'),
    ({"Python": {"ShutdownTimeout": True}}, '"Python.ShutdownTimeout" must be a number'),
    ({"Python": {"OnFilterError": "drop"}}, '"Python.OnFilterError" must be "refuse" or "accept"'),
    ({"Python": {"Store": 1}}, '"Python.Store" must be a string'),
    ({"Python": {"Debug": "true"}}, '"Python.Debug" must be true or false, not "true"'),
]


@pytest.mark.parametrize(
    ("config", "expected"),
    WRONG,
    ids=[str(number) for number in range(len(WRONG))],
)
def test_wrong_type(orthanc_server: OrthancFactory, config: dict[str, Any], expected: str) -> None:
    """A configuration value of the wrong type is an error that names its key."""
    assert expected in refused(orthanc_server.fails(config=config))


def test_wrong_executable(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """A Python that does not run, or is of another minor version, is refused by name."""

    def reason(executable: Path) -> str:
        return refused(
            orthanc_server.fails(
                "import orthanc", config={"Python": {"Executable": str(executable)}}
            )
        )

    gone = tmp_path / "gone" / "bin" / "python"
    assert f'"Python.Executable" names {gone}, which this user cannot run' in reason(gone)
    assert "which is no Python but " in reason(Path("/bin/ls"))
    (tmp_path / "python3.7").write_text("#!/bin/sh\n")
    (tmp_path / "python3.7").chmod(0o755)
    assert "which is Python 3.7, but this plugin" in reason(tmp_path / "python3.7")
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "python").symlink_to(sys.executable)
    (other / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.7.3\n")
    text = reason(other / "bin" / "python")
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"the environment {other} has Python 3.7.3" in text
    assert f"built for Python {mine}" in text


def test_official_plugin_beside(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """With the official plugin beside ours, its key is refused and ours works."""
    official = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
    if not official.exists():
        pytest.skip("the official plugin is not installed here")
    script = tmp_path / "script.py"
    script.write_text("import orthanc\n")
    from orthanc_async._server_config import plugin_library

    plugins = [plugin_library(), official]
    for beside in (official, official.parent):  # the library, or Debian's folder of plugins
        reason = refused(
            orthanc_server.fails(
                plugins=[plugin_library(), beside], config={"PythonScript": str(script)}
            )
        )
        assert f"the official Python plugin ({official})" in reason
        assert '"Python": {"Scripts": […]} instead of "PythonScript"' in reason
    both = orthanc_server(script, plugins=plugins)
    assert both.http.get("/system").status == 200


def test_idle_and_unknown_keys(orthanc_server: OrthancFactory) -> None:
    """Without a script Orthanc runs; an unknown key is a warning with the nearest known one."""
    server = orthanc_server(config={"Python": {"HandlerTimeOut": 3, "SdkThread": 4}})
    assert server.http.get("/system").status == 200
    log = server.log_text()
    assert re.search(
        r"W\d{4} .*unknown key \"Python.HandlerTimeOut\"; .*\"Python.HandlerTimeout", log
    )
    assert 'unknown key "Python.SdkThread"; the nearest known one is "Python.SdkThreads"' in log
    assert "orthanc-async is idle: no script is configured" in log


def test_uvloop_missing(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """An event loop that is not installed says how to install it, once."""
    (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError('no uvloop', name='uvloop')\n")
    error = orthanc_server.fails(
        "import orthanc",
        config={"Python": {"EventLoop": "uvloop"}},
        environment={
            "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        },
    )
    assert "pip install uvloop" in refused(error)
    assert error.log.count("pip install uvloop") == 1
    assert "Traceback" not in error.log
