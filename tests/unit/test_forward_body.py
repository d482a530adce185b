"""The body of a request: its pieces, and the time that it may stand still."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async.forward import _body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class FakeLoop:
    """Time that stands still until it is moved, and one timer."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: float | None = None
        self._call: Any = None

    def time(self) -> float:
        """Return the time."""
        return self.now

    def call_at(self, when: float, call: Any) -> FakeLoop:
        """Set the timer."""
        self.due, self._call = when, call
        return self

    def call_later(self, after: float, call: Any) -> FakeLoop:
        """Set the timer."""
        return self.call_at(self.now + after, call)

    def cancel(self) -> None:
        """Stop the timer."""
        self.due = None

    def advance(self, seconds: float) -> None:
        """Let time pass; call the timer each time that it is due."""
        end = self.now + seconds
        while self.due is not None and self.due <= end:
            self.now, self.due = self.due, None
            self._call()
        self.now = end


class FakeLimit:
    """Records to when a timeout was moved."""

    def __init__(self) -> None:
        self.moved: list[float | None] = []

    def reschedule(self, when: float | None) -> None:
        """Record it."""
        self.moved.append(when)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    """The time that the body's stall is counted by."""
    loop = FakeLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def test_a_stall_counts_from_the_last_move(clock: FakeLoop) -> None:
    """The time is full after each move, stands still in a pause, and ends the request once."""
    limit: Any = FakeLimit()
    stall = _body.Stall(limit, 10)
    clock.advance(50)
    assert limit.moved == []  # the time for connecting still counts
    stall.move()
    for _ in range(5):
        clock.advance(9)
        stall.move()
    stall.pause()
    clock.advance(75)
    stall.move()
    clock.advance(9.9)
    assert limit.moved == [None]
    clock.advance(0.2)
    assert limit.moved == [None, pytest.approx(clock.now - 0.1)]
    clock.advance(100)
    assert len(limit.moved) == 2


def test_a_stall_of_a_request_that_has_ended(clock: FakeLoop) -> None:
    """After its end nothing is counted, whatever its body still does."""
    limits: list[Any] = [FakeLimit(), FakeLimit()]
    begun, early = (_body.Stall(limit, 10) for limit in limits)
    begun.move()
    for stall in (begun, early):
        stall.stop()
        stall.move()
    clock.advance(100)
    assert [limit.moved for limit in limits] == [[None], []]
    assert clock.due is None


@pytest.mark.parametrize("whole", [True, False])
async def test_pieces_of_a_body(whole: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """Small buffers are joined, large ones cut without a copy, and the bytes stay."""
    sizes = [70, 525_042, 80, 525_042, 80, *[10_000] * 30, 3_000_000, 600_000, 1]
    chance = random.Random(3)
    buffers = [chance.randbytes(size) for size in sizes]

    async def body() -> AsyncGenerator[bytes, None]:
        for buffer in buffers:
            yield buffer

    given: Any = b"".join(buffers) if whole else body
    async with asyncio.timeout(None) as limit:
        stall = _body.Stall(limit, 1000)
        stream = _body.Stream(given, stall)
        pieces = [piece async for piece in stream.chunks()]
        stall.stop()
    assert b"".join(pieces) == b"".join(buffers)
    assert max(len(piece) for piece in pieces) == 512 * 1024
    assert len(pieces[0]) <= 8192  # it is joined with the headers
    # All but the first and the last are worth their way, or stand between two large ones.
    assert len(pieces) <= (11 if whole else 18)
    assert all(isinstance(piece, memoryview) for piece in pieces if len(piece) > 128 * 1024)
