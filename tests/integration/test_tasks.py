"""Durable tasks: what was enqueued is done, whatever happens to Orthanc."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.durable_lines import lines, wait_lines
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.conftest import Orthanc, OrthancFactory

SHARED = Path(__file__).with_name("durable_script.py")
KILLED = -9
SCRIPT = """
    import asyncio, threading, time
    from durable_script import hold, note
    from orthanc_async import on_shutdown, on_startup, rest, tasks

    at_import = None

    @tasks.task(queue="plain", attempts=2, backoff=0.05)
    async def plain(text, *, number=1):
        note("begin", text=text, number=number)
        await hold()
        note("end", text=text)

    @tasks.task(queue="blocking")
    def blocking(value):
        on_main = threading.current_thread() is threading.main_thread()
        note("blocking", value=value, on_main=on_main)

    @tasks.task(queue="slow", timeout=0.1, attempts=2, backoff=0)
    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            note("slow ends")

    @tasks.task(queue="patient", attempts=5, backoff=0.05)
    async def patient():
        attempt = tasks.current()
        attempt.keep((attempt.resume or 0) + 1)
        note("patient", resume=attempt.resume)
        if attempt.resume < 3:
            raise tasks.RetryLater("not yet", after=0.05)
        raise tasks.GiveUp("never", reason="hopeless")

    try:
        plain.enqueue_blocking("early")
    except RuntimeError as error:
        at_import = str(error)

    @on_startup
    async def at_start():
        await plain.enqueue("at start", key="start")

    @on_shutdown
    async def at_stop():
        await blocking.enqueue("at stop", key="stop")

    @rest.post("/enqueue")
    async def enqueue(request):
        body = request.json()
        done = await plain.enqueue(*body.get("args", ["x"]), **body.get("more", {}))
        return {"id": done.id, "new": done.new}

    @rest.post("/enqueue-blocking")
    def enqueue_blocking(request):
        done = blocking.enqueue_blocking([1, {"a": None}], delay=0.01)
        return {"id": done.id, "new": done.new}

    @rest.post("/others")
    async def others(request):
        return {"slow": (await slow.enqueue()).id, "patient": (await patient.enqueue()).id}

    @rest.get("/errors")
    async def errors(request):
        found = {"at_import": at_import}
        for name, call in {
            "json": lambda: plain.enqueue({1: 2}),
            "arguments": lambda: plain.enqueue(),
            "key": lambda: plain.enqueue("a", key=7),
        }.items():
            try:
                await call()
            except TypeError as error:
                found[name] = str(error)
        try:
            plain.enqueue_blocking("a")
        except RuntimeError as error:
            found["on the loop"] = str(error)
        return found

    @rest.get("/entry/{id}")
    async def entry(request):
        entry = await tasks.get(int(request.path["id"]))
        return {"state": entry.state, "payload": entry.payload, "reason": entry.reason,
                "error": entry.error, "resume": entry.resume, "attempts": entry.attempts,
                "due_in": entry.due_in}
"""


@pytest.fixture
def start(orthanc_server: OrthancFactory, tmp_path: Path) -> Callable[..., Orthanc]:
    """Give a function that starts an Orthanc on the test's one storage folder."""
    shutil.copy(SHARED, tmp_path)

    def start(**more: Any) -> Orthanc:
        more.setdefault("storage", tmp_path / "storage")
        return orthanc_server([tmp_path / SHARED.name, SCRIPT], **more)

    return start


def _enqueue(server: Orthanc, **body: Any) -> dict[str, Any]:
    answer = server.http.post("/enqueue", json.dumps(body))
    assert answer.status == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def _state(server: Orthanc, id_: int, state: str) -> Any:
    return server.wait_json(f"/entry/{id_}", lambda entry: entry["state"] == state)


def test_life_of_tasks(start: Callable[..., Orthanc], tmp_path: Path) -> None:
    """Tasks from routes, hooks and threads are done, with their arguments."""
    server = start()
    server.ask("/entries")
    [first] = wait_lines(tmp_path, 1, "end")
    assert (first["key"], first["text"]) == ("start", "at start")
    added = _enqueue(server, args=["ü"], more={"number": 7})
    assert added["new"] is True
    entry = _state(server, added["id"], "done")
    assert entry["payload"] == {"args": ["ü"], "kwargs": {"number": 7}}
    assert lines(tmp_path, "begin")[-1]["number"] == 7
    server.http.post("/enqueue-blocking")
    [blocking] = wait_lines(tmp_path, 1, "blocking")
    assert (blocking["value"], blocking["on_main"]) == ([1, {"a": None}], False)
    # What a stop hook has enqueued is done after the next start.
    server.stop()
    server = start()
    stop = wait_lines(tmp_path, 2, "blocking")[-1]
    assert (stop["key"], stop["value"]) == ("stop", "at stop")
    assert len(lines(tmp_path, "end")) == 2  # the key of the start hook was known


def test_errors(start: Callable[..., Orthanc]) -> None:
    """What cannot work is said where it is asked for."""
    server = start()
    found = server.ask("/errors").json()
    assert "durable tasks work from ORTHANC_STARTED on" in found["at_import"]
    assert "argument 1 is {1: 2}, which JSON cannot hold" in found["json"]
    assert "missing a required argument: 'text'" in found["arguments"]
    assert "key must be a text" in found["key"]
    assert "write `await Task.enqueue(…)`" in found["on the loop"]


def test_killed_with_tasks(start: Callable[..., Orthanc], tmp_path: Path) -> None:
    """Tasks that run or wait when Orthanc is killed are done after the next start."""
    server = start(exit_code=KILLED)
    server.ask("/entries")
    wait_lines(tmp_path, 1, "end")
    (tmp_path / "hold").touch()
    added = [_enqueue(server, args=[str(number)])["id"] for number in range(10)]
    wait_lines(tmp_path, 1 + 4, "begin")
    server.kill()
    (tmp_path / "hold").unlink()
    server = start()
    for id_ in added:
        _state(server, id_, "done")
    texts = sorted(line["text"] for line in lines(tmp_path, "end")[1:])
    assert texts == [str(number) for number in range(10)]


def test_ends(start: Callable[..., Orthanc], tmp_path: Path) -> None:
    """Timeouts count as failures, RetryLater and kept values work, GiveUp ends with its reason."""
    server = start()
    server.ask("/entries")
    ids = server.http.post("/others").json()
    slow = _state(server, ids["slow"], "dead")
    assert (slow["reason"], slow["attempts"]) == ("exhausted", 2)
    assert slow["error"] == "it took longer than its timeout, 0.1 s"
    assert len(lines(tmp_path, "slow ends")) == 2
    patient = _state(server, ids["patient"], "dead")
    assert (patient["reason"], patient["error"], patient["resume"]) == ("hopeless", "never", 3)
    assert [line["resume"] for line in lines(tmp_path, "patient")] == [1, 2, 3]


def test_keys_delay_and_cancel(start: Callable[..., Orthanc], tmp_path: Path) -> None:
    """A known key is not written again; a delayed task waits; one that runs can be cancelled."""
    server = start()
    server.ask("/entries")
    wait_lines(tmp_path, 1, "end")
    later = _enqueue(server, args=["later"], more={"delay": 1000, "key": "k"})
    again = _enqueue(server, args=["other"], more={"key": "k"})
    assert again == {"id": later["id"], "new": False}
    assert 990 < _state(server, later["id"], "waiting")["due_in"] <= 1000
    assert server.http.post(f"/retry/{later['id']}").json() == {"done": True}
    _state(server, later["id"], "done")
    assert server.http.post(f"/cancel/{later['id']}").json() == {"done": False}
    (tmp_path / "hold").touch()
    held = _enqueue(server, args=["held"])
    wait_until(
        lambda: [line for line in lines(tmp_path, "begin") if line["text"] == "held"], "its begin"
    )
    assert server.http.post(f"/cancel/{held['id']}").json() == {"done": True}
    _state(server, held["id"], "cancelled")
    (tmp_path / "hold").unlink()
    last = _enqueue(server, args=["last"])
    _state(server, last["id"], "done")
    assert "held" not in {line["text"] for line in lines(tmp_path, "end")}
