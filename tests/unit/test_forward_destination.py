"""What all destinations share: their policy, the breaker's news, what is kept for the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import Change, Series, Study, forward
from orthanc_async.forward import _destination, _source
from orthanc_async.forward._destination import Delivery, Destination, Work
from orthanc_async.forward._errors import Down
from unit.forward_fakes import Attempts, FakeOrthanc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STUDY = Study("11111111-study")


class Made(Destination):
    """A destination that does what a test says."""

    kind = "to_test"

    def __init__(self, do: Callable[[Delivery], Awaitable[None]], **common: Any) -> None:
        super().__init__("somewhere", **common)
        self._do = do

    async def deliver(self, delivery: Delivery) -> None:
        """Do it."""
        await self._do(delivery)


async def nothing(_delivery: Delivery) -> None:
    """Have delivered."""


def failing(error: BaseException, *, reached: bool = False) -> Callable[..., Awaitable[None]]:
    """Return what fails in this way."""

    async def do(delivery: Delivery) -> None:
        delivery.reached = reached
        raise error

    return do


def half_open() -> forward.Breaker:
    """Return a breaker that lets one attempt through."""
    now = [0.0]
    breaker = forward.Breaker(1, first=10, clock=lambda: now[0])
    breaker.failed(breaker.began())
    now[0] = 11
    assert breaker.state == "half-open"
    return breaker


def test_policy() -> None:
    """Some three days of attempts, two at once and a breaker of its own, or what is given."""
    usual = Made(nothing).__durable_policy__
    assert (usual.retry.attempts, usual.timeout, usual.concurrency) == (100, None, 2)
    # The mean of what is random.
    days = sum(usual.retry.backoff.delay(number) for number in range(1, 100)) / 86400
    assert 2.5 < days < 3.8
    assert isinstance(usual.gate, forward.Breaker)
    assert Made(nothing).__durable_policy__.gate is not usual.gate
    breaker, retry = forward.Breaker(), forward.Retry(3)
    for _ in range(2):
        given = Made(nothing, retry=retry, timeout=60, concurrency=7, breaker=breaker)
        policy = given.__durable_policy__
        assert (policy.retry, policy.timeout, policy.concurrency) == (retry, 60, 7)
        assert policy.gate is breaker
    assert Made(nothing, breaker=None).__durable_policy__.gate is None


@pytest.mark.parametrize(
    ("asked", "waited"), [(None, None), (0.0, 20.0), (77.0, 77.0), (1e9, 24 * 3600.0)]
)
@pytest.mark.parametrize("breaker", [True, None])
async def test_a_retry_after_has_its_bounds(
    asked: float | None, waited: float | None, breaker: Any
) -> None:
    """It is waited for a day at most, and not less than the backoff of this attempt."""
    retry = forward.Retry(backoff=forward.Backoff(first=5, jitter=0))
    send = Made(failing(Down("busy", after=asked)), retry=retry, breaker=breaker)
    attempts = Attempts()
    attempts.number = 2
    with pytest.raises(Down) as caught:
        await attempts.run(lambda: send(STUDY))
    assert caught.value.after == waited


async def test_the_breaker_spares_as_long_as_it_is_asked() -> None:
    """A Retry-After holds the other deliveries back too."""
    breaker = forward.Breaker(1, first=1, longest=300, clock=lambda: 0.0)
    with pytest.raises(Down):
        await Made(failing(Down("busy", after=100)), breaker=breaker)(STUDY)
    assert breaker.wait() == 100


async def test_what_says_nothing_about_the_destination() -> None:
    """An attempt that is cancelled, or fails on its way, neither closes the breaker nor jams."""
    for error in (
        asyncio.CancelledError(),
        forward.GiveUp("no such tag"),
        forward.RetryLater("no secret"),
        ZeroDivisionError(),
    ):
        breaker = half_open()
        with pytest.raises(type(error)):
            await Made(failing(error), breaker=breaker)(STUDY)
        assert breaker.state == "half-open"
        assert breaker.free(1) == 1
    breaker = half_open()
    await Made(nothing, breaker=breaker)(STUDY)  # nothing was to be sent
    assert breaker.state == "half-open"
    with pytest.raises(forward.GiveUp):
        await Made(failing(forward.GiveUp("no"), reached=True), breaker=breaker)(STUDY)
    assert breaker.state == "closed"


async def test_each_keeps_its_own() -> None:
    """Kept is what this destination has sent of this resource, also after a restart."""

    def transform(file: bytes, _instance: object) -> bytes:
        return file

    makes: list[Callable[[], Destination]] = [
        lambda: Made(nothing),
        lambda: Made(nothing, only=forward.modality("CT")),
        lambda: Made(nothing, only=forward.modality("MR")),
        lambda: Made(nothing, transform=transform),
    ]
    attempts = Attempts()

    async def keep() -> None:
        for number, make in enumerate(makes):
            Delivery(make(), STUDY).keep({"sent": number})
            Delivery(make(), Series("a")).keep({"sent": -number})

    found: list[tuple[int, int]] = []

    async def look() -> None:
        found.extend(
            (Delivery(make(), STUDY).state["sent"], Delivery(make(), Series("a")).state["sent"])
            for make in makes
        )

    await attempts.run(keep)
    await attempts.run(look)
    assert found == [(number, -number) for number in range(len(makes))]


async def test_the_key_fits_into_a_header() -> None:
    """The idempotency key is ASCII, whatever the names are, and different for different ones."""
    keys = []

    async def note(delivery: Delivery) -> None:
        keys.append(delivery.key)

    for name in ("Tür/1", "T\u00fcr%2F1", "a\r\nb"):
        await Attempts(name, payload={"id": STUDY.id}).run(lambda: Made(note)(STUDY))
    assert keys == ["archive/T%C3%BCr/1", "archive/T%C3%BCr%252F1", "archive/a%0D%0Ab"]


async def test_a_change_is_sent_as_its_resource() -> None:
    """A destination can be a handler of on_change."""
    got = []

    async def note(delivery: Delivery) -> None:
        got.append(delivery.resource)

    change = Change(orthanc.ChangeType.NEW_STUDY, orthanc.ResourceType.STUDY, STUDY.id)
    await Made(note)(change)
    assert got == [STUDY]


async def test_what_is_done_is_kept_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in the middle finds what was sent, as of half a second before at most."""
    fake = FakeOrthanc(monkeypatch)
    for name in "123":
        fake.add(name, b"x", number=int(name))
    now = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now, raising=False)
    kept = []

    async def do(delivery: Delivery) -> None:
        nonlocal now
        listed = await _source.listing(delivery.resource)
        work = Work(delivery, listed)
        for item in listed:
            work.done(item, 1)
            now += _destination._KEEP / 1.5
            kept.append(Work(Delivery(send, STUDY), listed).count)

    send = Made(do)
    await Attempts().run(lambda: send(STUDY))
    assert kept == [1, 1, 3]


async def test_the_first_failure_ends_the_others() -> None:
    """What runs beside one that has failed is cancelled, and has ended when the error is seen."""
    ended = []

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await asyncio.wait_for(_destination.together([long(), fail(), long()]), 30)
    assert ended == [True, True]
