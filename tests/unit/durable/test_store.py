"""What every store promises."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async._durable.store import (
    FINISHED,
    Added,
    Again,
    Claim,
    Dead,
    Done,
    LeaseLost,
    NewEntry,
    Progress,
    State,
    Subscription,
)

if TYPE_CHECKING:
    from orthanc_async._durable.store import Store


def new(key: str, queue: str = "q", **fields: Any) -> NewEntry:
    return NewEntry(queue, key, fields.pop("payload", {"key": key}), **fields)


async def claim_one(store: Store, queue: str = "q", lease: float = 60.0) -> Claim:
    claims = await store.claim({queue: 1}, lease)
    assert len(claims) == 1
    return claims[0]


async def test_add_once(store: Store) -> None:
    """A key is added once, in a call and over calls, and keeps its first payload."""
    first, second, again = await store.add(
        [new("a"), new("b", resource="/studies/1"), new("a", payload=2)]
    )
    assert (first.new, second.new, again) == (True, True, Added(first.id, new=False))
    known, other = await store.add([new("b"), new("b", "other")])
    assert (known, other.new) == (Added(second.id, new=False), True)
    entry = await store.entry(second.id)
    assert entry is not None
    assert (entry.queue, entry.key, entry.payload) == ("q", "b", {"key": "b"})
    assert (entry.resource, entry.state) == ("/studies/1", State.WAITING)
    assert (entry.attempts, entry.interruptions, entry.due_in) == (0, 0, 0.0)
    assert (entry.reason, entry.error, entry.resume, entry.server) == (None, None, None, None)
    assert entry.created_at == entry.changed_at
    assert entry.created_at > 1.7e9


@pytest.mark.parametrize(
    "payload",
    [None, 0, "", [], {"b": 1, "a": [1.5, "ü\0\ud800", None]}, "x" * 3_000_000],
    ids=["none", "zero", "empty", "list", "odd text", "large"],
)
async def test_payload(store: Store, payload: Any) -> None:
    """A payload comes back as JSON gives it back, with its order, NUL and lone surrogates."""
    await store.add([new("a", payload=payload)])
    claim = await claim_one(store)
    assert claim.entry.payload == payload
    if isinstance(payload, dict):
        assert list(claim.entry.payload) == list(payload)


@pytest.mark.parametrize(
    "entry",
    [
        new("a", payload=object()),
        new("a\0"),
        new("\ud800"),
        new(""),
        new("a", ""),
        new("a", delay=math.nan),
        new("a", delay=math.inf),
    ],
    ids=["no json", "nul", "surrogate", "no key", "no queue", "nan", "inf"],
)
async def test_add_all_or_none(store: Store, entry: NewEntry) -> None:
    """What cannot be written is an error, and nothing of the call is written."""
    with pytest.raises((TypeError, ValueError)):
        await store.add([new("fine"), entry])
    assert await store.entries() == []


async def test_claim_order(store: Store) -> None:
    """The oldest due come first over all queues, each queue to its limit, the delayed not."""
    for key, queue, delay in (
        ("1", "a", 0), ("2", "b", 0), ("3", "a", 0), ("4", "b", 0), ("5", "c", 0), ("6", "a", 99),
    ):  # fmt: skip
        await store.add([new(key, queue, delay=delay)])
    claims = await store.claim({"a": 5, "b": 1, "c": 0, "none": 3}, 60)
    assert [claim.entry.key for claim in claims] == ["1", "2", "3"]
    assert all(claim.entry.state is State.RUNNING for claim in claims)
    assert len({claim.token for claim in claims}) == 3
    assert [claim.entry.key for claim in await store.claim({"a": 5, "b": 5}, 60)] == ["4"]
    assert claims[0].entry.server == "one"


async def test_done(store: Store) -> None:
    """A finished attempt leaves the progress, and its token is worth nothing any more."""
    await store.add([new("a")])
    claim = await claim_one(store)
    await store.save(claim.token, {"at": 1}, Progress(1, 2, 3))
    entry = await store.entry(claim.entry.id)
    assert entry is not None
    assert (entry.resume, entry.progress) == ({"at": 1}, Progress(1, 2, 3))
    await store.finish(claim.token, Done(Progress(2, 2, 6)))
    entry = await store.entry(claim.entry.id)
    assert entry is not None
    assert (entry.state, entry.resume, entry.progress) == (State.DONE, None, Progress(2, 2, 6))
    assert entry.changed_at >= entry.created_at
    for call in (
        store.save(claim.token, None, Progress()),
        store.finish(claim.token, Done()),
        store.finish(claim.token, Again(0, "late")),
    ):
        with pytest.raises(LeaseLost):
            await call
    assert await store.claim({"q": 1}, 60) == []


async def test_again(store: Store) -> None:
    """Another attempt gets what was kept; failures and interruptions are counted apart."""
    await store.add([new("a")])
    claim = await claim_one(store)
    await store.finish(claim.token, Again(0, "no \0\ud800", {"at": 1}, Progress(1, 2)))
    claim = await claim_one(store)
    entry = claim.entry
    assert (entry.attempts, entry.interruptions, entry.resume) == (1, 0, {"at": 1})
    assert entry.error == r"no \x00\ud800"
    await store.finish(claim.token, Again(0, None, {"at": 2}, counted=False))
    claim = await claim_one(store)
    entry = claim.entry
    assert (entry.attempts, entry.interruptions, entry.resume) == (1, 1, {"at": 2})
    assert entry.error == r"no \x00\ud800", "a stop is not why it failed"
    await store.finish(claim.token, Again(90, "later"))
    assert await store.claim({"q": 1}, 60) == []
    found = await store.entry(entry.id)
    assert found is not None
    assert (found.state, found.attempts) == (State.WAITING, 2)
    assert 30 < found.due_in <= 90
    with pytest.raises(ValueError, match="finite"):
        await store.finish(claim.token, Again(math.inf, "never"))


async def test_dead(store: Store) -> None:
    """A dead letter tells why; retried, it begins as if new but for what was kept."""
    await store.add([new("a"), new("b")])
    claim = await claim_one(store)
    await store.finish(claim.token, Dead("refused", "404", {"at": 1}))
    other = await claim_one(store)
    await store.finish(other.token, Dead("poison", "100 crashes", counted=False))
    poison = await store.entry(other.entry.id)
    assert poison is not None
    assert (poison.state, poison.attempts, poison.reason) == (State.DEAD, 0, "poison")
    dead = await store.entry(claim.entry.id)
    assert dead is not None
    assert (dead.state, dead.attempts, dead.reason, dead.error) == (
        State.DEAD, 1, "refused", "404",
    )  # fmt: skip
    assert await store.claim({"q": 1}, 60) == []
    assert await store.retry([dead.id, dead.id, 10**30, -1, 999]) == 1
    claim = await claim_one(store)
    entry = claim.entry
    assert (entry.id, entry.attempts, entry.interruptions) == (dead.id, 0, 0)
    assert (entry.reason, entry.resume) == (None, {"at": 1})


async def test_retry_makes_waiting_due(store: Store) -> None:
    """What waits is due at once after a retry; what runs or is done is left alone."""
    await store.add([new("done"), new("running")])
    claims = await store.claim({"q": 2}, 60)
    await store.finish(claims[0].token, Done())
    [waiting] = await store.add([new("waiting", delay=999)])
    assert await store.retry([waiting.id, *(claim.entry.id for claim in claims)]) == 1
    assert (await claim_one(store)).entry.id == waiting.id


async def test_cancel(store: Store) -> None:
    """What is cancelled is not claimed, and who runs it loses the lease."""
    await store.add([new("running"), new("done"), new("waiting")])
    running, done = await store.claim({"q": 2}, 60)
    await store.finish(done.token, Done())
    ids = [entry.id for entry in await store.entries()]
    assert len(ids) == 3
    assert await store.cancel(ids) == 2
    assert await store.renew([running.token], 60) == {running.token}
    with pytest.raises(LeaseLost):
        await store.finish(running.token, Done())
    assert await store.claim({"q": 9}, 60) == []
    assert await store.next_due(["q"]) is None
    assert [entry.state for entry in await store.entries(states=[State.CANCELLED])] == [
        State.CANCELLED
    ] * 2
    assert await store.retry([running.entry.id]) == 1
    assert (await claim_one(store)).entry.id == running.entry.id


async def test_lease_runs_out(store: Store) -> None:
    """A lease that has run out can be claimed, as an interruption; the old token is lost."""
    await store.add([new("a")])
    first = await claim_one(store, lease=0)
    second = await claim_one(store, lease=60)
    assert (second.entry.id, second.entry.interruptions) == (first.entry.id, 1)
    assert second.token != first.token
    assert await store.renew([first.token, second.token, "", "-", "7-x", "²-1"], 60) == {
        first.token, "", "-", "7-x", "²-1",
    }  # fmt: skip
    for token in (first.token, "", "²-1"):
        with pytest.raises(LeaseLost):
            await store.save(token, 1, Progress())
    await store.finish(second.token, Done())


async def test_renew(store: Store) -> None:
    """A renewed lease holds, and one that has run out is good as long as nobody has taken it."""
    await store.add([new("a")])
    claim = await claim_one(store, lease=0)
    assert await store.renew([claim.token], 60) == set()
    assert await store.claim({"q": 1}, 60) == []
    due = await store.next_due(["q"])
    assert due is not None
    assert 30 < due <= 60


async def test_next_due(store: Store) -> None:
    """The next time is the least of the queues asked for."""
    assert await store.next_due(["a", "b"]) is None
    await store.add([new("1", "a", delay=100), new("2", "b", delay=200), new("3", "c")])
    assert await store.next_due([]) is None
    assert await store.next_due(["c", "a"]) == 0
    due = await store.next_due(["a", "b"])
    assert due is not None
    assert 50 < due <= 100


async def test_entries(store: Store) -> None:
    """Entries are listed newest first, by queue, state and page."""
    for number in range(6):
        await store.add([new(str(number), "ab"[number % 2])])
    claim = await claim_one(store, "a")
    await store.finish(claim.token, Done())

    async def keys(**fields: Any) -> str:
        return "".join([entry.key for entry in await store.entries(**fields)])

    assert await keys() == "543210"
    assert await keys(queue="a") == "420"
    assert await keys(queue="none") == ""
    assert await keys(states=[State.WAITING]) == "54321"
    assert await keys(states=[State.DONE, State.DEAD]) == "0"
    assert await keys(states=[]) == ""
    page = await store.entries(limit=2)
    assert await keys(before=page[-1].id, limit=3) == "321"
    assert await keys(before=10**30, limit=10**30) == "543210"
    assert await keys(before=-(10**30)) == ""
    assert await store.entry(10**30) is None
    assert await store.entry(-1) is None


async def test_counts(store: Store) -> None:
    """Every queue tells how many stand where, and how old its oldest unfinished entry is."""
    assert await store.counts() == {}
    await store.add([new("1", "a"), new("2", "a"), new("3", "a"), new("4", "b")])
    await store.finish((await claim_one(store, "a")).token, Done())
    await claim_one(store, "a")
    await store.finish((await claim_one(store, "b")).token, Dead("no", "no"))
    counts = await store.counts()
    assert counts["a"].states == {State.WAITING: 1, State.RUNNING: 1, State.DONE: 1}
    assert counts["b"].states == {State.DEAD: 1}
    assert counts["b"].oldest is None
    assert counts["a"].oldest is not None
    assert 0 <= counts["a"].oldest < 60


async def finished(store: Store) -> dict[State, int]:
    """Add one entry for each finished state, and one that waits."""
    await store.add([new("done"), new("dead"), new("cancelled")])
    done, dead, cancelled = await store.claim({"q": 3}, 60)
    await store.finish(done.token, Done())
    await store.finish(dead.token, Dead("no", "no"))
    await store.cancel([cancelled.entry.id])
    await store.add([new("waiting")])
    return {
        State.DONE: done.entry.id,
        State.DEAD: dead.entry.id,
        State.CANCELLED: cancelled.entry.id,
    }


@pytest.mark.parametrize("keep_keys", [True, False])
async def test_purge(store: Store, keep_keys: bool) -> None:  # noqa: FBT001
    """What is purged is gone everywhere; its key is refused exactly if it was to be kept."""
    ids = await finished(store)
    count = await store.purge(queue=None, states=FINISHED, older=999, keep_keys=keep_keys)
    assert count == 0
    count = await store.purge(queue="other", states=FINISHED, older=0, keep_keys=keep_keys)
    assert count == 0
    count = await store.purge(
        queue="q", states=[State.DONE, State.WAITING], older=0, keep_keys=keep_keys
    )
    assert count == 1
    assert await store.entry(ids[State.DONE]) is None
    assert await store.purge(queue=None, states=FINISHED, older=0, keep_keys=keep_keys) == 2
    assert [entry.key for entry in await store.entries()] == ["waiting"]
    assert (await store.counts())["q"].states == {State.WAITING: 1}
    assert await store.retry(list(ids.values())) == 0
    added = await store.add([new("done"), new("dead"), new("cancelled")])
    assert [entry.new for entry in added] == [not keep_keys] * 3
    if keep_keys:
        assert [entry.id for entry in added] == list(ids.values())
    else:
        assert min(entry.id for entry in added) > max(ids.values()), "numbers are used once"


async def test_purge_forgets_kept_keys(store: Store) -> None:
    """A purge that keeps no keys forgets those that an earlier one has kept, of its states."""
    await finished(store)
    assert await store.purge(queue=None, states=FINISHED, older=0, keep_keys=True) == 3
    assert await store.purge(queue="q", states=[State.DONE], older=0, keep_keys=False) == 0
    added = await store.add([new("done"), new("dead")])
    assert [entry.new for entry in added] == [True, False]


async def test_subscribe(store: Store) -> None:
    """A subscription is made once, and keeps what it was made with."""
    made = await store.subscribe("s", 7, "20260101T000000", "m")
    assert made == Subscription("s", 7, "20260101T000000", "m", new=True)
    known = await store.subscribe("s", 99, "later", "n")
    assert known == Subscription("s", 7, "20260101T000000", "m", new=False)
    await store.subscribe("t", 0, "")
    assert sorted(one.name for one in await store.subscriptions()) == ["s", "t"]


async def test_advance(store: Store) -> None:
    """Cursors, marks and entries are written together; known keys are left out."""
    await store.subscribe("s", 7, "", "m")
    await store.add([new("a", "s")])
    assert await store.lead(60)
    assert await store.advance({"s": 9, "none": 3}, [new("a", "s"), new("b", "s")]) == 1
    assert await store.subscriptions() == [Subscription("s", 9, "", "m")]
    with pytest.raises(ValueError, match="key"):
        await store.advance({"s": 11}, [new("c", "s"), new("", "s")])
    assert await store.advance({"s": 2}, [], marks={"s": "x", "none": "y"}) == 0
    assert await store.subscriptions() == [Subscription("s", 9, "", "m")]
    assert await store.advance({"s": 2}, [], marks={"s": "x"}, back=True) == 0
    assert await store.subscriptions() == [Subscription("s", 2, "", "x")]


async def test_concurrent(store: Store) -> None:
    """Many callers at once get each its own result, and no entry is claimed twice."""
    added = await asyncio.gather(*(store.add([new(str(n % 100))]) for n in range(300)))
    assert sum(one.new for [one] in added) == 100
    claims = await asyncio.gather(*(store.claim({"q": 3}, 60) for _ in range(50)))
    ids = [claim.entry.id for some in claims for claim in some]
    assert len(ids) == len(set(ids)) == 100
    results = await asyncio.gather(
        *(store.finish(claim.token, Done()) for some in claims for claim in some),
        *(store.finish(claim.token, Done()) for some in claims for claim in some),
        return_exceptions=True,
    )
    assert results.count(None) == 100
    assert sum(isinstance(result, LeaseLost) for result in results) == 100


async def test_cancelled_claim_is_given_back(store: Store) -> None:
    """A caller that is cancelled while it claims leaves nothing claimed, whenever that is."""
    await store.add([new("a")])
    for turns in range(25):
        task = asyncio.ensure_future(store.claim({"q": 1}, 600))
        for _ in range(turns):
            await asyncio.sleep(0.0002 if turns > 5 else 0)
        if not task.done():
            task.cancel()
        try:
            claims = await task
        except asyncio.CancelledError:
            continue
        for claim in claims:  # none, while that of the turn before is not given back yet
            await store.finish(claim.token, Again(0, None, counted=False))
    async with asyncio.timeout(60):
        while not (found := await store.claim({"q": 1}, 600)):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert found[0].entry.attempts == 0
