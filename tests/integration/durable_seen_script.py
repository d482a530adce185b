# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Tasks for test_durable_seen.py, on the real engine and its store."""

import asyncio

from orthanc_async import rest, tasks

go = asyncio.Event()
ended = []


@tasks.task(queue="slow", attempts=2, backoff=3600, concurrency=2)
async def slow(number):
    """Wait, and tell how far it is."""
    attempt = tasks.current()
    attempt.advance(done=3, total=4, bytes=2_000_000)
    try:
        await go.wait()
    except asyncio.CancelledError:
        ended.append(number)
        raise


@tasks.task(queue="failing", attempts=1)
async def failing(text):
    """Fail for good."""
    raise tasks.GiveUp(text)


@tasks.task(queue="later")
async def later(number):
    """Come much later."""


@rest.post("/test/{queue}/{number:int}")
async def enqueue(request):
    """Enqueue so many."""
    task = {"slow": slow, "failing": failing, "later": later}[request.path["queue"]]
    delay = 3600 if task is later else 0
    numbers = range(request.path["number"])
    found = await asyncio.gather(
        *(task.enqueue(number, delay=delay, key=f"key/{number}") for number in numbers)
    )
    return [[one.id, one.new] for one in found]


@rest.post("/test/go")
async def let_go(_request):
    """Let the slow ones end."""
    go.set()


@rest.get("/test/ended")
async def show_ended(_request):
    """Tell which were cancelled."""
    return ended
