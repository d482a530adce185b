"""What all destinations share: the policy, the filters, the breaker, what is resumed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from typing import TYPE_CHECKING, Any

from orthanc_async import _checks, _registry
from orthanc_async._durable import attempt as attempts
from orthanc_async._durable import options
from orthanc_async._durable.attempt import Attempt, GiveUp, Policy, Retry, RetryLater
from orthanc_async.forward import _filters, _source
from orthanc_async.forward._breaker import Breaker
from orthanc_async.forward._errors import Down
from orthanc_async.forward._sent import Sent
from orthanc_async.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from orthanc_async._durable.store import Json, Progress
    from orthanc_async.events import Change
    from orthanc_async.forward._source import Item, Transform
    from orthanc_async.resources import Instance, Patient, Series, Study

logger = logging.getLogger("orthanc_async.forward")

# Through a weekend: with the default backoff, some three days.
_ATTEMPTS = 100
_LONGEST_AFTER = 24 * 3600.0  # seconds of a Retry-After that are believed
_KEEP = 0.5  # seconds between two notes of how far it has come
_OURS = "forward"  # our key in what a handler keeps


class Delivery:
    """One attempt to send one resource. Thread: the loop's.

    Attributes:
        resource: What is sent.
        attempt: The durable attempt; outside of one, one that is forgotten.
        state: What an earlier attempt has kept, a dictionary; `keep` replaces it.
        reached: Whether the destination has answered.
    """

    def __init__(self, destination: Destination, resource: Any) -> None:
        self.resource: Patient | Study | Series | Instance = resource
        try:
            self.attempt = attempts.current()
        except LookupError:
            self.attempt = _transient()
        self._kept_at = 0.0
        # A handler may call several destinations, and one destination with several resources.
        name = f"{destination.identity} {resource.uri}"
        self._slot = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
        resume = self.attempt.resume
        if resume is not None and not isinstance(resume, dict):
            raise TypeError(
                "a handler that calls a destination must keep a dict in its attempt: the "
                f"destination keeps its own under {_OURS!r}"
            )
        self.state: dict[str, Any] = dict(((resume or {}).get(_OURS) or {}).get(self._slot) or {})
        self.reached = False

    @property
    def key(self) -> str:
        """The idempotency key, in ASCII."""
        from urllib.parse import quote

        key = quote(self.attempt.full_key, safe="/:-_@+")
        payload = self.attempt.payload
        # A handler may send other resources than the one that it was called for.
        own = isinstance(payload, dict) and payload.get("id") == self.resource.id
        return key if own else f"{key}/{self.resource.id}"

    def keep(self, state: dict[str, Json]) -> None:
        """Give the next attempt this."""
        self.state = state
        resume = dict(self.attempt.resume or {})
        resume[_OURS] = {**(resume.get(_OURS) or {}), self._slot: state}
        self.attempt.keep(resume)

    def keep_sometimes(self, make: Callable[[], dict[str, Json]]) -> None:
        """Do the same if the last time was a while ago: making it costs some time."""
        now = asyncio.get_running_loop().time()
        if now >= self._kept_at + _KEEP:
            self._kept_at = now
            self.keep(make())


def kept(resume: Json) -> list[dict[str, Any]]:
    """Return what destinations have kept in an attempt, one for each; none in a script's own."""
    slots = resume.get(_OURS) if isinstance(resume, dict) else None
    states = slots.values() if isinstance(slots, dict) else ()
    return [state for state in states if isinstance(state, dict)]


def _transient() -> Attempt:
    async def save(_resume: Json, _progress: Progress) -> None:
        pass

    return Attempt(
        id=0, queue="once", key=uuid.uuid4().hex, number=1, resume=None, save=save, payload=None
    )


class Destination:
    """Something to send to: `await destination(study)`, or a handler of events by itself.

    Args:
        retry: How often it is tried; by default 100 times, which is some three days.
        timeout: Seconds for one attempt; None: no limit, as studies are large. A peer that
            stalls is noticed all the same.
        concurrency: How many deliveries at once.
        only: Which instances are sent: a filter, or a function that gets an `Instance`.
        breaker: Spares a destination that is down; None: nothing does.
    """

    kind = "destination"

    def __init__(
        self,
        target: str,
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
        concurrency: int = 2,
        only: _filters.Filter | _filters.Given | None = None,
        transform: Transform | None = None,
        breaker: Breaker | bool | None = True,
    ) -> None:
        """Check the settings that all destinations have.

        Raises:
            TypeError: A filter or transform cannot be called as it will be.
            ValueError: A number makes no sense.
        """
        concurrency = _checks.whole(self.kind, "concurrency", concurrency)
        timeout = options.timeout(self.kind, timeout)
        if transform is not None:
            _registry.check_handler(transform, "transform=", "file", "instance")
        self.target = target
        self.transform = transform
        self.only = None if only is None else _filters.made(only)
        if not isinstance(breaker, Breaker | bool | None):
            raise TypeError(
                f"{self.kind}: breaker must be a forward.Breaker(…), or None for none, not "
                f"{breaker!r}"
            )
        self.breaker = Breaker() if breaker is True else breaker or None
        again = options.retry(self.kind, retry, Retry(_ATTEMPTS))
        self.__durable_policy__ = Policy(again, timeout, concurrency, self.breaker)

    def __repr__(self) -> str:
        return f"<forward.{self.kind} {self.target}>"

    @property
    def identity(self) -> str:
        """What tells it from other destinations, the same after a restart.

        What one of them has sent, another has not: with another filter, transform or path it is
        another one.
        """
        transform = self.transform and _registry.describe(self.transform)
        return f"{self.kind} {self.target} {self.only!r} {transform} {self.place}"

    @property
    def place(self) -> str:
        """Where at its target it puts what it sends."""
        return ""

    async def __call__(self, resource: Resource | Change) -> None:
        """Send a resource, or what a change is about.

        Args:
            resource: A patient, study, series or instance.

        Raises:
            GiveUp: It has been refused for good.
            RetryLater: It may succeed later.
            orthanc.OrthancException: Orthanc cannot give it, as it is gone.
        """
        subject = resource if isinstance(resource, Resource) else resource.resource
        delivery = Delivery(self, subject)
        try:
            await self._deliver_by_breaker(delivery)
        except Down as down:
            if down.after is not None:
                # What it asks for is the least: one that says "0 s" each time would soon have
                # had all attempts.
                least = self.__durable_policy__.retry.backoff.delay(delivery.attempt.number)
                down.after = max(least, min(down.after, _LONGEST_AFTER))
            raise

    async def _deliver_by_breaker(self, delivery: Delivery) -> None:
        breaker = self.breaker
        if breaker is None:
            await self.deliver(delivery)
            return
        tries = breaker.began()
        try:
            await self.deliver(delivery)
        except Down as down:
            breaker.failed(tries, down.after)
            raise
        except (GiveUp, RetryLater):
            # What is refused was answered all the same.
            (breaker.succeeded if delivery.reached else breaker.ended)(tries)
            raise
        except BaseException:
            breaker.ended(tries)
            raise
        (breaker.succeeded if delivery.reached else breaker.ended)(tries)

    async def deliver(self, delivery: Delivery) -> None:
        """Send what a delivery is about."""
        raise NotImplementedError

    async def items(self, delivery: Delivery) -> list[Item]:
        """Return the instances that the filter lets through, in their order."""
        found = await _source.listing(delivery.resource)
        kept = await _filters.chosen(found, self.only)
        if not kept:
            logger.info("%r: nothing of %r is to be sent", self, delivery.resource)
        return kept


class Work:
    """The instances of one delivery, and which of them are done."""

    def __init__(self, delivery: Delivery, items: Sequence[Item]) -> None:
        self.delivery = delivery
        self.items = items
        self.sent = Sent(items, delivery.state.get("sent"))
        self.left = [item for item in items if item not in self.sent]
        self._bytes = 0
        self._done = len(items) - len(self.left)
        self._advance()

    def done(self, item: Item, size: int, *, resume: bool = True) -> None:
        """Note that one has been sent, or left out by the transform.

        Args:
            item: Which one.
            size: Bytes that were sent.
            resume: Whether the next attempt can do without it.
        """
        self._done += 1
        self._bytes += size
        self._advance()
        if resume:
            self.sent.add(item)
            self.delivery.keep_sometimes(self.state)

    @property
    def count(self) -> int:
        """How many are done."""
        return self._done

    def show(self, done: int) -> None:
        """Show that so many are done, though it is not known which."""
        self.delivery.attempt.advance(done=done, total=len(self.items), bytes=self._bytes)

    def keep(self) -> None:
        """Give the next attempt what is done."""
        self.delivery.keep(self.state())

    def state(self) -> dict[str, Json]:
        """Return what the next attempt needs."""
        return {**self.delivery.state, "sent": self.sent.state()}

    def _advance(self) -> None:
        self.show(self._done)


async def together(workers: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines at once; the first that fails ends the others, and its error is raised."""
    tasks = [asyncio.create_task(worker) for worker in workers]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
