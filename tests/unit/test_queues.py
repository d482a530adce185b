"""The queues of `async def` event handlers, without Orthanc."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from orthanc_async._host.queues import EventQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Recorder:
    """A handler that notes begin and end, and waits at an event's gate if there is one."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.gated: Callable[[str], bool] = lambda _event: False
        self.running = 0
        self.most = 0

    async def __call__(self, event: str) -> None:
        """Handle an event."""
        self.log.append(("begin", event))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.gated(event):
                await self.gates[event].wait()
            else:
                await asyncio.sleep(0)
            if event.startswith("bad"):
                raise ValueError(event)
            self.log.append(("end", event))
        finally:
            self.running -= 1

    def of(self, what: str) -> list[str]:
        """Give the events that have begun or ended, in that order."""
        return [event for kind, event in self.log if kind == what]


def make(recorder: Recorder, concurrency: int = 4) -> EventQueue[str]:
    """Give a queue of a handler; an event's text begins with its resource: `a1`."""
    return EventQueue(recorder, lambda event: f"handler, {event}", concurrency)


async def turns(count: int = 20) -> None:
    """Let everything that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_order_of_one_resource() -> None:
    """Events of one resource never overlap, and keep their order."""
    recorder = Recorder()
    queue = make(recorder)
    events = [f"a{number}" for number in range(50)]
    for event in events:
        queue.put("a", event)
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert recorder.log == [(kind, event) for event in events for kind in ("begin", "end")]
    assert recorder.most == 1


async def test_resources_do_not_wait_for_each_other() -> None:
    """A resource whose handler is slow delays nothing but its own later events."""
    recorder = Recorder()
    recorder.gated = lambda event: event == "a1"
    queue = make(recorder)
    for event in ("a1", "a2", "b1", "b2"):
        queue.put(event[0], event)
    await turns()
    assert recorder.of("end") == ["b1", "b2"]
    assert queue.running() == ["handler, a1"]
    assert queue.waiting() == 1
    recorder.gates["a1"].set()
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert recorder.of("end") == ["b1", "b2", "a1", "a2"]


async def test_limit() -> None:
    """No more than the allowed number run; the first that waits is the next to begin."""
    recorder = Recorder()
    recorder.gated = lambda event: event in "abc"
    queue = make(recorder, concurrency=3)
    for event in "abcdef":
        queue.put(event, event)
    await turns()
    assert recorder.of("begin") == ["a", "b", "c"]
    assert queue.waiting() == 3
    recorder.gates["b"].set()
    await turns()
    assert recorder.of("end") == ["b", "d", "e", "f"]
    recorder.gates["a"].set()
    recorder.gates["c"].set()
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert recorder.most == 3
    assert queue.waiting() == 0
    assert queue.running() == []


async def test_order_beyond_the_limit() -> None:
    """An event that waits for a place is not overtaken by a later one of its resource."""
    recorder = Recorder()
    recorder.gated = lambda event: event == "a1"
    queue = make(recorder, concurrency=1)
    for event in ("a1", "b1", "b2", "a2", "b3", "c1"):
        queue.put(event[0], event)
    recorder.gates["a1"].set()
    await asyncio.wait_for(queue.wait_idle(), 10)
    ended = recorder.of("end")
    assert [event for event in ended if event[0] == "b"] == ["b1", "b2", "b3"]
    assert [event for event in ended if event[0] == "a"] == ["a1", "a2"]
    assert sorted(ended) == ["a1", "a2", "b1", "b2", "b3", "c1"]
    assert recorder.most == 1


async def test_busy_resource_takes_turns() -> None:
    """With every place taken, a resource with many events lets the others go before its next."""
    recorder = Recorder()
    queue = make(recorder, concurrency=1)
    for number in range(5):
        queue.put("a", f"a{number}")
    queue.put("b", "b0")
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert recorder.of("end") == ["a0", "b0", "a1", "a2", "a3", "a4"]


async def test_endless_resource_does_not_starve_others() -> None:
    """A resource that keeps getting events leaves its place to one that waits."""
    recorder = Recorder()
    served = asyncio.Event()

    async def handler(event: str) -> None:
        await recorder(event)
        if event == "b":
            served.set()
        elif not served.is_set():
            queue.put("a", "a")

    queue = EventQueue(handler, str, 1)
    queue.put("a", "a")
    queue.put("b", "b")
    await asyncio.wait_for(served.wait(), 10)
    await asyncio.wait_for(queue.wait_idle(), 10)


async def test_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    """What escapes the handler stops neither the resource's later events nor other ones."""
    recorder = Recorder()
    queue = make(recorder, concurrency=1)
    for event in ("bad1", "bad2", "b", "c"):
        queue.put(event[0], event)
    await asyncio.wait_for(queue.wait_idle(), 10)
    # One resource gave its place to another between its events.
    assert recorder.of("begin") == ["bad1", "c", "bad2", "b"]
    assert recorder.of("end") == ["c", "b"]
    assert [record.message for record in caplog.records] == [
        "handler, bad1 raised",
        "handler, bad2 raised",
    ]


async def test_wait_idle() -> None:
    """wait_idle returns at once on an empty queue, and to all that wait when it is empty."""
    recorder = Recorder()
    recorder.gated = lambda _event: True
    queue = make(recorder)
    await asyncio.wait_for(queue.wait_idle(), 1)
    queue.put("a", "a1")
    waiters = [asyncio.ensure_future(queue.wait_idle()) for _ in range(3)]
    await turns()
    assert not any(waiter.done() for waiter in waiters)
    queue.put("a", "a2")
    recorder.gates["a1"].set()
    await turns()
    assert not any(waiter.done() for waiter in waiters)
    recorder.gates["a2"].set()
    await asyncio.wait_for(asyncio.gather(*waiters), 10)


async def test_cancel() -> None:
    """Cancel drops what waits, cancels what runs, and says how many were dropped."""
    recorder = Recorder()
    recorder.gated = lambda _event: True
    queue = make(recorder, concurrency=2)
    for event in ("a1", "b1", "a2", "a3", "c1", "c2"):
        queue.put(event[0], event)
    await turns()
    assert queue.running() == ["handler, a1", "handler, b1"]
    assert queue.waiting() == 4
    assert queue.cancel() == 4
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert recorder.of("begin") == ["a1", "b1"]
    assert recorder.of("end") == []
    assert queue.running() == []
    assert queue.waiting() == 0


async def test_usable_after_cancel() -> None:
    """Events that come after a cancellation are handled, also those of a dropped resource."""
    recorder = Recorder()
    recorder.gated = lambda event: event.endswith("1")
    queue = make(recorder, concurrency=1)
    for event in ("a1", "b1", "b2"):
        queue.put(event[0], event)
    await turns()
    assert queue.cancel() == 2
    queue.put("a", "a2")
    queue.put("b", "b3")
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert sorted(recorder.of("end")) == ["a2", "b3"]


async def test_cancel_before_the_first_step() -> None:
    """A handler that is cancelled before it could begin leaves no trace in the queue."""
    recorder = Recorder()
    queue = make(recorder, concurrency=1)
    for event in ("a1", "a2", "b1"):
        queue.put(event[0], event)
    assert queue.cancel() == 2
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert recorder.log == []
    queue.put("a", "a3")
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert recorder.of("end") == ["a3"]


async def test_one_handler_cancelled() -> None:
    """A handler that ends itself by a cancellation does not take its later events along."""
    recorder = Recorder()

    async def handler(event: str) -> None:
        if event == "a1":
            raise asyncio.CancelledError
        await recorder(event)

    queue = EventQueue(handler, str, 1)
    queue.put("a", "a1")
    queue.put("a", "a2")
    queue.put("b", "b1")
    await asyncio.wait_for(queue.wait_idle(), 10)
    assert sorted(recorder.of("end")) == ["a2", "b1"]


async def test_many_waiting_events_are_cheap() -> None:
    """Ten thousand waiting events make no more tasks than may run."""
    recorder = Recorder()
    recorder.gated = lambda _event: recorder.running <= 8 and not opened
    opened = False
    queue = make(recorder, concurrency=8)
    before = len(asyncio.all_tasks())
    for number in range(10_000):
        queue.put(number, f"{number}")
    await turns()
    assert len(asyncio.all_tasks()) - before == 8
    assert queue.waiting() == 10_000 - 8
    opened = True
    for gate in list(recorder.gates.values()):
        gate.set()
    await asyncio.wait_for(queue.wait_idle(), 30)
    assert len(recorder.of("end")) == 10_000
