"""What the official configuration keys do on both plugins.

The official plugin 4.0 has `PythonScript` and `PythonVerbose` only and is idle without them; 5.0
and 7.1 have the section `Python` too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter
    from compatibility.known_failures import KnownFailures

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


def loaded(output, uri, **request):
    output.AnswerBuffer("ok", "text/plain")


def release(output, uri, **request):
    let_go.set()
    output.AnswerBuffer("ok", "text/plain")


let_go = threading.Event()
threading.Thread(target=count, daemon=True).start()
orthanc.RegisterRestCallback("/waits", waits)
orthanc.RegisterRestCallback("/calls", calls)
orthanc.RegisterRestCallback("/let-go", release)
orthanc.RegisterRestCallback("/loaded", loaded)
import wave
orthanc.LogWarning("the script has been loaded")
"""
IMPORTED = r"import 'wave' # "
SECTION = {"Path": "my-script.py", "Verbose": True, "AllowThreads": False}
NOT_IN_4 = "the official plugin 4.0 does not have this key"


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
        assert "memory usage" not in server.log_text()
        assert "AllowThreads" not in server.log_text()


def test_python_verbose(ours: Starter, official: Starter) -> None:
    """`PythonVerbose` lets Python tell of each import."""
    for start in (ours, official):
        server = start(SCRIPT, config={"PythonVerbose": True})
        server.wait_log(IMPORTED)


def test_path(section: Pair, known: KnownFailures) -> None:
    """`Python.Path` names the script."""
    mine, other = section
    mine.wait_log("the script has been loaded")
    assert mine.http.get("/loaded").status == 200
    if known.version == "4.0":
        assert other.http.get("/loaded").status == 404
        pytest.skip(NOT_IN_4)
    other.wait_log("the script has been loaded")
    assert other.http.get("/loaded").status == 200


def test_verbose(section: Pair, known: KnownFailures) -> None:
    """`Python.Verbose` is `PythonVerbose` under the section's name."""
    mine, other = section
    mine.wait_log(IMPORTED)
    if known.version == "4.0":
        pytest.skip(NOT_IN_4)
    other.wait_log(IMPORTED)


def test_display_memory_usage(ours: Starter, official: Starter, known: KnownFailures) -> None:
    """`Python.DisplayMemoryUsage` logs memory again and again: ours what the process has.

    The official plugin logs what Python's own objects take.
    """
    settings = {"Path": "my-script.py", "DisplayMemoryUsage": True}
    config = {"PythonScript": None, "Python": settings}
    mine = ours(SCRIPT, config=config)
    sizes = mine.wait_log(r"memory: [0-9.]+ MB resident", count=2)
    status = Path(f"/proc/{mine.pid}/status").read_text(encoding="ascii")
    kilobytes = int(re.findall(r"VmRSS:\s*(\d+)", status)[0])
    logged = float(sizes[-1].split()[1])
    assert 0.5 < logged / (kilobytes / 1000) < 2
    if known.version == "4.0":
        pytest.skip(NOT_IN_4)
    if "memory usage" in known:
        known.tell("memory usage")
    official(SCRIPT, config=config).wait_log(r"memory usage: [0-9.]+MB", count=2)


def test_allow_threads(section: Pair, pair: Pair, known: KnownFailures) -> None:
    """Other threads run during a call, whatever `Python.AllowThreads` says; ours warns of false.

    Without the key it is the same.
    """
    section[0].wait_log('"Python.AllowThreads": false has no effect')
    for server in (*pair, *(section[:1] if known.version == "4.0" else section)):
        assert server.http.get("/calls").json() == ["the other thread ran", True]
