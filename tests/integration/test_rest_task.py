"""The task of an `async def` route, as asyncio shows it to the handler and to others."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import asyncio
    import json
    import orthanc

    held = []

    def seen():
        task = asyncio.current_task()
        return {
            "known": task in asyncio.all_tasks(),
            "frame": task.get_stack()[-1].f_code.co_name,
            "named": "look" in repr(task),
            "coroutine": asyncio.iscoroutine(task.get_coro()),
        }

    async def look(output, uri, **request):
        first = seen()
        await asyncio.sleep(0)
        output.AnswerBuffer(json.dumps([first, seen()]), "application/json")

    async def count(output, uri, **request):
        output.AnswerBuffer(str(len(asyncio.all_tasks())), "text/plain")

    async def end_task():
        await asyncio.create_task(asyncio.sleep(0))
        await asyncio.sleep(0)  # it is gone in the next turn

    async def iterate(output, uri, **request):
        tasks = asyncio.tasks._all_tasks
        before = len(tasks)
        iterator = iter(tasks)
        next(iterator)
        await end_task()
        while_iterating = len(tasks._pending_removals)
        iterator.close()
        await end_task()
        answer = [while_iterating, len(tasks) - before, len(tasks._pending_removals)]
        output.AnswerBuffer(json.dumps(answer), "application/json")

    async def hold(output, uri, **request):
        held.append(asyncio.current_task())
        await asyncio.Event().wait()

    async def cancel(output, uri, **request):
        while not held:
            await asyncio.sleep(0)
        held.pop().cancel()
        output.AnswerBuffer("cancelled", "text/plain")

    for function in (look, count, iterate, hold, cancel):
        orthanc.RegisterRestCallback(f"/{function.__name__}", function)
"""


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with all routes of this module."""
    return shared_orthanc(SCRIPT, errors=(r"\braised|CancelledError|Traceback",))


def test_shown(server: Orthanc) -> None:
    """From its first line on, the current task is among all, and shows the handler's frame."""
    expected = {"known": True, "frame": "look", "named": True, "coroutine": True}
    assert server.http.get("/look").json() == [expected, expected]


def test_forgotten(server: Orthanc) -> None:
    """Tasks that have ended are no longer among all tasks."""
    before = server.http.get("/count").text
    for _ in range(30):
        server.http.get("/look")
    assert server.http.get("/count").text == before


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later versions keep tasks in C")
def test_iterated(server: Orthanc) -> None:
    """A task that ends while somebody iterates over all tasks is taken out afterwards."""
    assert server.http.get("/iterate").json() == [1, 0, 0]


def test_cancelled(server: Orthanc) -> None:
    """A handler whose task is cancelled by another one is answered with 500."""
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.http.get, "/hold")
        assert server.http.get("/cancel").text == "cancelled"
        answer = held.result(30)
    assert answer.status == 500
    assert "CancelledError" in answer.json()["Message"]
