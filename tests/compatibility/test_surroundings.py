"""What scripts find around themselves, and the processes they start, on both plugins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from compatibility.known_failures import DEFAULT_METHOD
from orthanc_async._server import StartError

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter
    from compatibility.known_failures import KnownFailures
    from integration.conftest import Orthanc

SCRIPT = Path(__file__).with_name("surroundings_script.py")
FILES = {
    "helper.py": "WHERE = __name__\n",
    "helpers/inner.py": "WHERE = __name__\n",
    "relative.txt": "from the working directory",
}


@pytest.fixture(scope="module")
def pair(
    ours: Starter,
    official: Starter,
    known: KnownFailures,
    dicom_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Pair:
    """Both plugins with the same script, which has had an event of each kind; ours first."""
    extra = tmp_path_factory.mktemp("extra")
    (extra / "on_pythonpath.py").write_text("VALUE = 7\n")
    text = SCRIPT.read_text("utf-8")
    variables = {"PYTHONPATH": str(extra), "PYTHONUNBUFFERED": "1"}
    servers = []
    for start, script in (ours, text), (official, known.with_fork(text)):
        server = start(script, FILES, environment=variables)
        # One after another: a fork is no matter for several threads at once.
        server.wait_json("/elsewhere", lambda elsewhere: "change" in elsewhere)
        server.upload(dicom_file)
        servers.append(server)
    return servers[0], servers[1]


@pytest.fixture(scope="module")
def facts(pair: Pair) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both scripts see."""
    mine, other = (server.http.get("/facts").json() for server in pair)
    return mine, other


def test_same_facts(pair: Pair, facts: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Names, paths, processes and threads are the same, but for the folder's own name."""
    folders = [folder_of(server) for server in pair]
    mine, other = (
        {key: replaced(value, folder) for key, value in found.items()}
        for found, folder in zip(facts, folders, strict=True)
    )
    del mine["start method"], other["start method"]
    for key, value in other.items():
        assert (key, mine[key]) == (key, value)


def folder_of(server: Orthanc) -> str:
    """Give the working directory of a running Orthanc."""
    return str(Path(f"/proc/{server.pid}/cwd").readlink())


def replaced(value: Any, folder: str) -> Any:
    """Write FOLDER for a folder in a text or a list of texts."""
    if isinstance(value, list):
        return [replaced(item, folder) for item in value]
    return value.replace(folder, "FOLDER") if isinstance(value, str) else value


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "official"])
def test_modules(facts: tuple[dict[str, Any], dict[str, Any]], pair: Pair, which: int) -> None:
    """A script is a module named by its file, with its folder and PYTHONPATH on the path."""
    found, folder = facts[which], folder_of(pair[which])
    assert (found["name"], found["point"]) == ("my-script", ["my-script", 4])
    assert found["helper"] == ["helper", f"{folder}/helper.py", "helpers.inner"]
    assert (found["pythonpath"], found["argv"], found["cwd"]) == (7, [""], folder)
    assert found["relative"] == "from the working directory"
    assert found["unbuffered"] is True
    assert found["from threads"] == [36]


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "official"])
def test_processes(facts: tuple[dict[str, Any], dict[str, Any]], which: int) -> None:
    """Pools and processes work at import and in each kind of callback.

    What is made at import has Python's default start method, on unstable's forkserver the official
    plugin does not start; what callbacks make is forked.
    """
    found = facts[which]
    worked = {
        "fresh": [8, 10],
        "exit": 3,
        "queue": "through a queue",
        "fork": ["forked", 4],
        "old pool": [42],
        "executor": 8,
    }
    assert found["in a route"] == worked
    assert found["elsewhere"] == {"change": worked, "stored": worked}


def test_ends_of_processes(pair: Pair, known: KnownFailures) -> None:
    """A process started in a callback ends as its script says, and can be terminated."""
    mine, other = (server.http.get("/ends").json() for server in pair)
    assert mine == [3, -15]
    if "ends of processes" in known:
        assert other in ([1, None], [3, None])
        known.tell("ends of processes")
    assert mine == other


def test_streams(pair: Pair) -> None:
    """The standard streams can be written to, reconfigured and handed to child processes."""
    for server in pair:
        answer = server.http.get("/streams")
        assert answer.status == 200, answer.text
        assert [stream[0] for stream in answer.json()] == ["<stdout>", "<stderr>"]
        assert [stream[1:] for stream in answer.json()] == [
            ["utf-8", 1, False, "w"],
            ["utf-8", 2, False, "w"],
        ]
        for text in ("printed to", "a line of", "bytes of"):
            for name in ("<stdout>", "<stderr>"):
                server.wait_log(f"{text} {name}")
        server.wait_log("written in two parts", count=2)
        server.wait_log("^a child's words$")


def test_unbuffered(pair: Pair) -> None:
    """With PYTHONUNBUFFERED what a script prints is there while Orthanc runs."""
    for server in pair:
        server.wait_log("printed without a flush")


def test_no_child_is_left(pair: Pair, facts: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Pools and processes that a script leaves open end with Orthanc."""
    assert facts
    for server in pair:
        assert len(server.processes()) >= 5
        server.stop()
        server.wait_no_processes()


USED_AT_IMPORT = """
import multiprocessing
import orthanc

def double(x):
    return 2 * x

pool = multiprocessing.Pool(1)
orthanc.LogWarning("made the pool")
orthanc.LogWarning("the pool says %s" % pool.map(double, [21]))
"""


MADE_AT_IMPORT = """
import concurrent.futures
import json
import multiprocessing
import os
import sys
import orthanc

# What only Orthanc's own process can do, but scripts do at import.
name = json.loads(orthanc.GetConfiguration())["PythonScript"]
token = orthanc.GenerateRestApiAuthorizationToken()
orthanc.LogWarning("%d characters" % len(orthanc.GenerateUuid()))
orthanc.SetDescription("doubles")

def double(x):
    orthanc.LogWarning("doubles %s in %s" % (x, name))
    return 2 * x

def answer(output, uri, **request):
    output.AnswerBuffer(json.dumps([pool.map(double, [21]), multiprocessing.get_start_method()]),
                        "application/json")

KIND
orthanc.RegisterRestCallback("/double", answer)
sys.path = [os.getcwd()]
"""
KINDS = {
    "pool": "pool = multiprocessing.Pool(2)",
    "executor": """
class Executor(concurrent.futures.ProcessPoolExecutor):
    def map(self, *arguments):
        return list(super().map(*arguments))

pool = Executor(1)
""",
    "process": """
class Pool:
    def map(self, function, values):
        return [function(value) for value in values] if process.exitcode == 0 else None

pool = Pool()
process = multiprocessing.Process(target=double, args=(2,))
process.start()
process.join()
""",
}


def outcome(start: Starter, script: str) -> object:
    """Start Orthanc with a script that makes processes; give what its route answers, or None."""
    try:
        server = start(script, start_timeout=15, stop_timeout=5)
    except StartError:
        return None
    try:
        answer = server.http.get("/double", timeout=15)
    except TimeoutError:
        server.kill()  # it would not end
        return None
    server.stop()
    return answer.json() if answer.status == 200 else None


@pytest.mark.parametrize(
    ("kind", "method"),
    [("pool", ""), ("executor", ""), ("process", ""), ("pool", "forkserver"), ("pool", "spawn")],
)
def test_made_at_import(
    ours: Starter, official: Starter, known: KnownFailures, kind: str, method: str
) -> None:
    """What is made at import without a guard works, with Python's default method and others."""
    chosen = f"multiprocessing.set_start_method({method!r})\n" if method else ""
    script = MADE_AT_IMPORT.replace("KIND", chosen + KINDS[kind])
    wanted = [[42], method or DEFAULT_METHOD]
    assert outcome(ours, script) == wanted
    if wanted[1] != "fork" and "processes without fork" in known:
        assert outcome(official, script) != wanted
        known.tell("processes without fork")
    assert outcome(official, script) == wanted


def test_pool_used_at_import(ours: Starter, official: Starter, known: KnownFailures) -> None:
    """A pool works while its script is still loaded."""
    ours(USED_AT_IMPORT).wait_log(r"the pool says \[42\]")
    if "pool used at import" in known:
        with pytest.raises(StartError) as caught:
            official(known.with_fork(USED_AT_IMPORT), start_timeout=4)
        assert "made the pool" in caught.value.log
        assert "the pool says" not in caught.value.log
        known.tell("pool used at import")
    official(USED_AT_IMPORT).wait_log(r"the pool says \[42\]")
