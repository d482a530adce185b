"""The circuit breaker, by a clock that is moved by hand."""

from __future__ import annotations

import pytest
from orthanc_async import forward


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def test_breaker_opens_tries_and_closes() -> None:
    """Closed, open after failures in a row, half-open for one attempt, closed by its success."""
    clock = Clock()
    breaker = forward.Breaker(3, first=10, longest=100, clock=clock)
    for _ in range(2):
        breaker.failed(breaker.began())
    breaker.succeeded(breaker.began())
    for _ in range(2):
        breaker.failed(breaker.began())
    assert breaker.state == "closed"
    assert breaker.free(7) == 7
    breaker.failed(breaker.began())
    assert breaker.state == "open"
    assert breaker.free(7) == 0
    assert 7.5 <= breaker.wait() <= 10
    clock.now += 10
    assert breaker.state == "half-open"
    assert breaker.free(7) == 1
    assert breaker.free(7) == 0, "one is offered already"
    tries = breaker.began()
    assert breaker.free(7) == 0, "one tries already"
    assert breaker.wait() > 0
    breaker.succeeded(tries)
    assert breaker.state == "closed"
    assert breaker.free(7) == 7
    assert breaker.wait() == 0


def test_breaker_grows_and_is_bounded() -> None:
    """Each attempt that fails doubles the time, up to a limit; Retry-After is obeyed within it."""
    clock = Clock()
    breaker = forward.Breaker(1, first=10, longest=50, clock=clock)
    waits = []
    for _ in range(5):
        breaker.failed(breaker.began())
        waits.append(breaker.wait())
        clock.now += breaker.wait()
    for wait, whole in zip(waits, (10, 20, 40, 50, 50), strict=True):
        assert 0.75 * whole <= wait <= whole
    for after, wait in ((45.0, 45.0), (1e6, 50.0)):
        breaker = forward.Breaker(1, first=1, longest=50, clock=clock)
        breaker.failed(breaker.began(), after)
        assert breaker.wait() == pytest.approx(wait)


def test_breakers_do_not_come_back_together() -> None:
    """The time is a little less by chance, so that many servers spread out."""
    waits = set()
    for _ in range(20):
        breaker = forward.Breaker(1, first=10, clock=lambda: 0.0)
        breaker.failed(breaker.began())
        waits.add(breaker.wait())
    assert len(waits) > 1


def test_breaker_minds_only_who_tries() -> None:
    """Attempts that had begun before do not lengthen the time, and an offer lapses."""
    clock = Clock()
    breaker = forward.Breaker(1, first=10, longest=1000, clock=clock)
    before = [breaker.began() for _ in range(4)]
    for tries in before:
        breaker.failed(tries)
    assert breaker.wait() <= 10
    clock.now += 10
    assert breaker.free(1) == 1
    clock.now += 6  # nothing was due after all
    assert breaker.free(1) == 1
    tries = breaker.began()
    breaker.ended(tries)  # says nothing
    assert breaker.free(1) == 1
