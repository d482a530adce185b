"""Which changes a subscription takes, in which order, and what of them is kept."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import orthanc
import orthanc_async as oa
import pytest
from orthanc_async import _checks
from orthanc_async._durable import options, reader, subscriptions
from orthanc_async._durable.attempt import Policy, Retry
from orthanc_async._durable.store import State
from unit.durable.memory_store import MemoryStore
from unit.durable.reader_fakes import (
    FakeOrthanc,
    caught_up,
    running,
    subscribe_instances,
    subscribe_studies,
    until,
)

CHANGE = orthanc.ChangeType


pytestmark = pytest.mark.usefixtures("fresh_registry")


async def test_each_takes_its_own(fake: FakeOrthanc) -> None:
    """A subscription gets the types and the level that it has named, and nothing else."""
    instances = subscribe_instances()
    studies = subscribe_studies()
    changes: list[Any] = []

    @oa.on_change(CHANGE.UPDATED_METADATA, CHANGE.NEW_STUDY, durable="changes")
    async def handler(change: oa.Change) -> None:
        changes.append((change.type, change.resource))

    store = MemoryStore()
    async with running(store):
        fake.study("s")
        fake.change("NewInstance", "i")
        fake.change("NewStudy", "s")
        fake.change("StableStudy", "s")
        fake.change("UpdatedMetadata", "s")
        await caught_up(store, fake)
        await until(lambda: all(row.state is State.DONE for row in store.rows.values()))
    assert (instances, studies) == (["i"], ["s"])
    study = oa.Study("s")
    assert changes == [(CHANGE.NEW_STUDY, study), (CHANGE.UPDATED_METADATA, study)]
    kept = {row.queue: row for row in store.rows.values()}
    assert kept["studies"].resource == "/studies/s"
    assert kept["instances"].key == f"change/1/{fake.text(0)}/i"


async def test_since(fake: FakeOrthanc) -> None:
    """With since= what the log still holds from then on is delivered too, once."""
    fake.change("NewInstance", "too-old")
    fake.now = 100
    fake.change("NewInstance", "old")
    fake.now = 200
    new = subscribe_instances()
    given: list[str] = []
    when = dt.datetime(2026, 3, 29, 0, 1, tzinfo=dt.UTC)

    @oa.on_new_instance(durable="given", since=when)
    async def handler(instance: oa.Instance) -> None:
        given.append(instance.id)

    store = MemoryStore()
    for _ in range(2):
        async with running(store):
            fake.change("NewInstance", f"new-{fake.now}")
            await caught_up(store, fake)
            await until(lambda: all(row.state is State.DONE for row in store.rows.values()))
        fake.now += 1
    assert given == ["old", "new-200", "new-201"]
    assert new == ["new-200", "new-201"]


async def test_a_live_change_wakes_it(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler that Orthanc calls for the types of the subscriptions has the log read."""
    listening: list[Any] = []
    monkeypatch.setattr(orthanc, "RegisterOnChangeCallback", listening.append)
    got = subscribe_instances()
    (listener,) = listening
    assert listener.__orthanc_changes__ == {CHANGE.NEW_INSTANCE}
    store = MemoryStore()
    async with running(store):
        await until(lambda: any("/changes?since=0&limit" in uri for uri in fake.asked))
        fake.change("NewInstance", "a")
        await listener(CHANGE.NEW_INSTANCE, orthanc.ResourceType.INSTANCE, "a")
        await until(lambda: got == ["a"])


async def test_where_it_begins(fake: FakeOrthanc) -> None:
    """A new subscription begins with Orthanc's start, however late the store opens."""
    fake.change("NewInstance", "before")
    got = subscribe_instances()
    asked = asyncio.Event()
    go = asyncio.Event()

    class Late(MemoryStore):
        async def open(self) -> None:
            asked.set()
            await go.wait()
            await super().open()

    store = Late()
    opening = asyncio.create_task(_run_until(store, lambda: got))
    await asked.wait()
    fake.change("NewInstance", "meanwhile")
    go.set()
    await opening
    assert got == ["meanwhile"]


async def _run_until(store: MemoryStore, look: Any) -> None:
    async with running(store):
        await until(look)


async def test_an_error_of_orthanc(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that cannot be asked for now is asked for again, and is not taken as gone."""
    monkeypatch.setattr(reader, "AFTER_ERROR", 0.01)
    got = subscribe_studies()
    fake.study("a")
    store = MemoryStore()
    failed: list[str] = []

    async def rest_api_get(uri: str) -> bytes:
        if uri == "/studies/a" and len(failed) < 2:
            failed.append(uri)
            raise orthanc.OrthancException(orthanc.ErrorCode.DATABASE, "busy")
        return await fake.rest_api_get(uri)

    async with running(store):
        monkeypatch.setattr(orthanc, "rest_api_get", rest_api_get)
        fake.change("StableStudy", "a")
        await caught_up(store, fake)
        await until(lambda: got == ["a"])
    assert len(failed) == 2
    assert next(iter(store.rows.values())).key == f"Study/a/{fake.text(0)}"


async def test_other_servers_changes(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others write into the same index, it is looked at without a wake."""
    monkeypatch.setattr(reader, "SHARED_POLL", 0.02)
    fake.backend = "postgresql"
    got = subscribe_instances()
    async with running(MemoryStore()):
        await until(lambda: any("&limit" in uri for uri in fake.asked))
        await asyncio.sleep(0.01)
        fake.change("NewInstance", "a")
        await until(lambda: got == ["a"])


def test_the_policy_of_a_handler() -> None:
    """A destination's own policy holds, but for what the decorator is given."""

    class Gate:
        def free(self, wanted: int) -> int:
            return wanted

        def wait(self) -> float:
            return 0.0

    def handler(_: object) -> None: ...

    assert options.policy("@x", handler) == Policy()
    own = Policy(Retry(100), 60.0, 2, Gate())
    handler.__dict__["__durable_policy__"] = own
    assert options.policy("@x", handler) == own
    given = options.policy("@x", handler, Retry(3), 7, 9)
    assert given == Policy(Retry(3), 7.0, 9, own.gate)


def test_values_of_options() -> None:
    """Times are in UTC as Orthanc's are; a number as backoff stays as it is."""
    zone = dt.timezone(dt.timedelta(hours=2))
    moment = dt.datetime(2026, 3, 29, 1, 0, tzinfo=zone)
    assert options.since("@x", moment) == "20260328T230000"
    day = dt.date(2026, 3, 29)
    here = dt.datetime(2026, 3, 29).astimezone(dt.UTC)
    assert options.since("@x", day) == here.strftime(options.TIME)
    assert (options.since("@x", "all"), options.since("@x", None)) == ("", None)
    assert [options.backoff("@x", 3).delay(number) for number in (1, 2, 9)] == [3.0, 3.0, 3.0]
    for wrong in (True, float("nan"), 0, -1, "1"):
        with pytest.raises((TypeError, ValueError), match="@x: timeout must be"):
            options.timeout("@x", wrong)
    for wrong in (True, 0, 1.5):
        with pytest.raises((TypeError, ValueError), match="@x: attempts must be"):
            _checks.whole("@x", "attempts", wrong)


def test_levels() -> None:
    """A source of one level leaves the same type of another level alone."""
    source = subscriptions.Source("a", frozenset({"UpdatedMetadata"}), "Study", None)
    assert source.wants("UpdatedMetadata", "Study")
    assert not source.wants("UpdatedMetadata", "Series")
    assert not source.wants("NewStudy", "Study")


async def test_another_server_has_taken_over(fake: FakeOrthanc) -> None:
    """Whose entries are refused because another one leads now stops reading at once."""
    got = subscribe_instances()
    store = MemoryStore()
    async with running(store):
        fake.change("NewInstance", "a")
        await caught_up(store, fake)
        await until(lambda: got == ["a"])
        before = store.calls.count("advance")
        store.leads = False
        fake.change("NewInstance", "b")
        reader.wake()
        await until(lambda: store.calls.count("advance") > before)
        await asyncio.sleep(0.1)
        assert store.calls.count("advance") == before + 1
    assert got == ["a"]


async def test_the_clock_was_set_back_while_orthanc_was_down(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came since then seems older than the subscription, and is delivered all the same."""
    monkeypatch.setattr(orthanc, "GetConfiguration", lambda: '{"StableAge": 0}')
    got = subscribe_studies()
    store = MemoryStore()
    fake.now = 10000
    async with running(store):
        pass
    fake.now = 500
    fake.study("later")
    fake.now = 600
    async with running(store):
        await until(lambda: got == ["later"])
