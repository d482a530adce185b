"""What the official configuration keys do on both plugins.

The official plugin 4.0 knows `PythonScript` and `PythonVerbose`; the section `Python` came later.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter

SCRIPT = """
import json
import threading
import orthanc

turns, go = [], threading.Event()


def count():
    go.wait()
    turns.append("the other thread ran")
    orthanc.RestApiGetAfterPlugins("/let-go")


def waits(output, uri, **request):
    turns.append(let_go.wait(20))
    output.AnswerBuffer("ok", "text/plain")


def calls(output, uri, **request):
    go.set()
    orthanc.RestApiGetAfterPlugins("/waits")  # ends only when the other thread has run
    output.AnswerBuffer(json.dumps(turns), "application/json")


def release(output, uri, **request):
    let_go.set()
    output.AnswerBuffer("ok", "text/plain")


let_go = threading.Event()
threading.Thread(target=count, daemon=True).start()
orthanc.RegisterRestCallback("/waits", waits)
orthanc.RegisterRestCallback("/calls", calls)
orthanc.RegisterRestCallback("/let-go", release)
import wave
orthanc.LogWarning("the script has been loaded")
"""
IMPORTED = r"import 'wave' # "
SECTION = {
    "Path": "my-script.py",
    "Verbose": True,
    "DisplayMemoryUsage": True,
    "AllowThreads": False,
}


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter) -> Pair:
    """Both plugins with the script and no other key; ours first."""
    return ours(SCRIPT), official(SCRIPT)


@pytest.fixture(scope="module")
def section(ours: Starter, official: Starter) -> Pair:
    """Both plugins with the section of the later official versions, and no PythonScript."""
    config = {"PythonScript": None, "Python": SECTION}
    return ours(SCRIPT, config=config), official(SCRIPT, config=config)


def test_defaults(pair: Pair) -> None:
    """With the script alone, Python is not verbose and nothing of its memory is logged."""
    for server in pair:
        server.wait_log("the script has been loaded")
        assert not re.search(IMPORTED, server.log_text())
        assert "MB resident" not in server.log_text()
        assert "AllowThreads" not in server.log_text()


def test_python_verbose(ours: Starter, official: Starter) -> None:
    """`PythonVerbose` lets Python tell of each import."""
    for start in (ours, official):
        server = start(SCRIPT, config={"PythonVerbose": True})
        server.wait_log(IMPORTED)


def test_path(section: Pair) -> None:
    """`Python.Path` names the script; the official 4.0 stays idle."""
    mine, other = section
    mine.wait_log("the script has been loaded")
    assert mine.http.get("/let-go").status == 200
    assert other.http.get("/let-go").status == 404
    assert "the script has been loaded" not in other.log_text()


def test_verbose(section: Pair) -> None:
    """`Python.Verbose` is `PythonVerbose` under the section's name."""
    section[0].wait_log(IMPORTED)


def test_display_memory_usage(section: Pair) -> None:
    """`Python.DisplayMemoryUsage` logs the process's memory again and again."""
    mine, _ = section
    sizes = mine.wait_log(r"memory: [0-9.]+ MB resident", count=2)
    status = Path(f"/proc/{mine.pid}/status").read_text(encoding="ascii")
    kilobytes = int(re.findall(r"VmRSS:\s*(\d+)", status)[0])
    logged = float(sizes[-1].split()[1])
    assert 0.5 < logged / (kilobytes / 1000) < 2


def test_allow_threads(section: Pair, pair: Pair) -> None:
    """Other threads run during a call; `Python.AllowThreads` false is a warning of ours.

    Both plugins do so without the key.
    """
    section[0].wait_log('"Python.AllowThreads": false has no effect')
    for server in (section[0], *pair):
        assert server.http.get("/calls").json() == ["the other thread ran", True]
