"""The reader of /changes and the sweep, against an Orthanc that a test makes up."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import orthanc
import orthanc_async as oa
import pytest
from orthanc_async._durable import reader, sweep
from orthanc_async._durable.store import State, StoreDamagedError, StoreError
from unit.durable.memory_store import MemoryStore
from unit.durable.reader_fakes import (
    FakeOrthanc,
    caught_up,
    keys,
    running,
    subscribe_instances,
    subscribe_studies,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGE = orthanc.ChangeType


pytestmark = pytest.mark.usefixtures("fresh_registry")


async def test_pages(fake: FakeOrthanc) -> None:
    """Thousands of changes are read in pages, each with its own cursor, and all are delivered."""
    got = subscribe_instances(concurrency=100)
    store = MemoryStore()
    async with running(store):
        for number in range(2500):
            fake.change("NewInstance", f"i{number}")
        await caught_up(store, fake)
        await until(lambda: len(got) == 2500)
    assert len(set(got)) == 2500
    assert store.calls.count("advance") == 3


async def test_late_commit(fake: FakeOrthanc) -> None:
    """With several servers a number that becomes visible late is read, and nothing twice."""
    fake.backend = "postgresql"
    fake.change("NewInstance", "before")
    got = subscribe_instances()
    store = MemoryStore()
    async with running(store):
        for seq in (2, 4):
            fake.change("NewInstance", f"i{seq}", seq=seq)
        await caught_up(store, fake)
        await until(lambda: len(got) == 2)
        fake.change("NewInstance", "i3", seq=3)
        reader.wake()
        await until(lambda: len(got) == 3)
    assert got == ["i2", "i4", "i3"]
    async with running(store):  # reads the window again, and knows what it finds
        fake.change("NewInstance", "i5", seq=5)
        await caught_up(store, fake)
        await until(lambda: len(got) == 4)
    assert len(store.rows) == 4


async def test_alone_no_window(fake: FakeOrthanc) -> None:
    """With an index of its own Orthanc is asked for what comes after the cursor only."""
    subscribe_instances()
    fake.change("NewInstance", "before")
    async with running(MemoryStore()) as engine:
        await until(lambda: "/changes?since=1&limit=1000" in fake.asked)
        assert engine.is_open


async def test_received_before_the_start(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Orthanc has received before it says that it has started is none of the past."""
    monkeypatch.setattr(reader, "elapsed", lambda: 2)
    got = subscribe_instances()
    fake.change("NewInstance", "before")
    fake.now = 10
    fake.change("NewInstance", "soon")
    fake.now = 11
    fake.change("NewInstance", "next")
    store = MemoryStore()
    async with running(store):
        await caught_up(store, fake)
        await until(lambda: len(got) == 2)
    assert got == ["soon", "next"]
    assert store.known["instances"].since == fake.text(9)


async def test_numbers_begin_again(fake: FakeOrthanc) -> None:
    """An index whose numbers are lower and newer is read from its beginning."""
    fake.change("NewInstance", "zero", seq=7)
    got = subscribe_instances()
    store = MemoryStore()
    async with running(store):
        fake.change("NewInstance", "old", seq=8)
        await caught_up(store, fake)
    fake.changes.clear()
    fake.now = 100
    fake.change("NewInstance", "new", seq=1)
    async with running(store):
        await until(lambda: "new" in got)
        fake.change("NewInstance", "newer", seq=8)
        await until(lambda: store.known["instances"].cursor == 1)
        await caught_up(store, fake)
        await until(lambda: "newer" in got)
    assert got == ["old", "new", "newer"]


async def test_backup(fake: FakeOrthanc) -> None:
    """An index as it was some time ago is read again, and nothing comes twice."""
    fake.change("NewInstance", "zero")
    fake.now = 1
    got = subscribe_instances()
    store = MemoryStore()
    async with running(store):
        for number in range(5):
            fake.now += 1
            fake.change("NewInstance", f"i{number}")
        await caught_up(store, fake)
        await until(lambda: len(got) == 5)
    del fake.changes[3:]
    async with running(store):
        await until(lambda: store.known["instances"].cursor == 3)
        fake.now = 50
        fake.change("NewInstance", "after")
        await caught_up(store, fake)
        await until(lambda: len(got) == 6)
    assert got[-1] == "after"


async def test_another_older_index(fake: FakeOrthanc) -> None:
    """Where the numbers are lower and the dates older, it may be another index, not a backup."""
    fake.change("NewInstance", "zero")
    got = subscribe_instances()
    store = MemoryStore()
    async with running(store):
        fake.now = 10
        for number in range(5):
            fake.change("NewInstance", f"i{number}")
        await caught_up(store, fake)
        await until(lambda: len(got) == 5)
    fake.changes.clear()
    fake.now = 5  # another Orthanc's, which ran meanwhile without this store
    fake.change("NewInstance", "other")
    async with running(store):
        await until(lambda: got[-1] == "other")


async def test_another_index_of_the_same_second(fake: FakeOrthanc) -> None:
    """A change with the number and the date of one that was taken is another one nevertheless."""
    got = subscribe_instances()
    store = MemoryStore()
    async with running(store):
        fake.now = 10
        for number in range(3):
            fake.change("NewInstance", f"i{number}")
        await caught_up(store, fake)
        await until(lambda: len(got) == 3)
    fake.changes.clear()
    fake.change("NewInstance", "other")
    async with running(store):
        await until(lambda: got[-1] == "other")


async def test_another_index(fake: FakeOrthanc) -> None:
    """Where the change at the cursor is another one, the index is read from its beginning."""
    got = subscribe_instances()
    store = MemoryStore()
    async with running(store):
        fake.change("NewInstance", "old")
        await caught_up(store, fake)
        await until(lambda: got)
    fake.changes.clear()
    fake.now = 100
    fake.change("NewInstance", "first")
    fake.now = -100
    fake.change("NewInstance", "older than the subscription")
    fake.now = 101
    fake.change("NewInstance", "last")
    async with running(store):
        await until(lambda: "last" in got)
        await caught_up(store, fake)
        await until(lambda: "first" in got)
        await until(lambda: all(row.state is State.DONE for row in store.rows.values()))
    assert got == ["old", "first", "last"]


async def test_cursor_moves_with_the_entries(fake: FakeOrthanc) -> None:
    """A store that fails loses no change: the cursor has not moved either."""
    got = subscribe_instances()
    store = MemoryStore()
    async with running(store):
        store.fail["advance"] = [OSError("disk full")]
        reader.AFTER_ERROR, before = 0.01, reader.AFTER_ERROR
        try:
            fake.change("NewInstance", "a")
            await caught_up(store, fake)
            await until(lambda: got == ["a"])
        finally:
            reader.AFTER_ERROR = before


async def test_leader(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the one that leads reads; who takes over goes on where the other was."""
    monkeypatch.setattr(reader, "LEAD_AGAIN", 0.02)
    got = subscribe_instances()
    store = MemoryStore()
    store.leads = False
    async with running(store):
        fake.change("NewInstance", "a")
        fake.change("NewInstance", "b")
        reader.wake()
        await until(lambda: store.calls.count("lead") > 3)
        assert got == []
        await store.subscribe("instances", 0, "")
        store.leads = True
        await store.advance({"instances": 1}, [])  # by the other
        await until(lambda: got)
        assert got == ["b"]
        store.leads = False
        count = store.calls.count("lead")
        await until(lambda: store.calls.count("lead") > count + 1)
        fake.change("NewInstance", "c")
        reader.wake()
        asked = len(fake.asked)
        count = store.calls.count("lead")
        await until(lambda: store.calls.count("lead") > count + 2)
        assert len(fake.asked) == asked


async def test_stable_studies(fake: FakeOrthanc) -> None:
    """Stable events are keyed by LastUpdate; what grows again waits; what is gone is dead."""
    got = subscribe_studies()
    store = MemoryStore()
    async with running(store):
        fake.study("a")
        fake.study("grows", stable=False)
        for id_ in ("a", "a", "grows", "gone"):
            fake.change("StableStudy", id_)
        fake.now = 5
        await caught_up(store, fake)
        await until(lambda: len(got) == 2)
    known = [f"Study/a/{fake.text(0)}", f"Study/gone/{fake.text(0)}"]
    assert keys(store) == known
    # Seen again after a restart: whether it was delivered before it went, nobody knows.
    fake.backend = "postgresql"
    del fake.studies["a"]
    fake.now = 7
    for change in fake.changes:
        change["Date"] = fake.text(7)
    store.known["studies"] = dataclasses.replace(store.known["studies"], mark="")
    async with running(store):
        await until(lambda: "/studies/a" in fake.asked[-8:])
        fake.study("b")
        fake.change("StableStudy", "b")
        await caught_up(store, fake)
    assert keys(store)[:-1] == known


async def test_sweep(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep adds what is old enough, new enough, and has no delivery; in pages."""
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    monkeypatch.setattr(sweep, "PAGE", 7)
    monkeypatch.setattr(orthanc, "GetConfiguration", lambda: '{"StableAge": -1}')
    fake.study("before")
    fake.now = 100
    got = subscribe_studies(concurrency=50)
    store = MemoryStore()
    async with running(store):
        stable_age = 10
        monkeypatch.setattr(sweep, "earlier", _earlier_by(stable_age))
        fake.now = 110
        for number in range(20):
            fake.study(f"s{number}")
        fake.study("grows", stable=False)
        fake.now = 115
        fake.study("young")
        fake.now = 121
        await until(lambda: len(got) == 20)
        await _swept(fake)
        assert "young" not in got
        fake.now = 126
        await until(lambda: "young" in got)
        fake.now = 300
        await _swept(fake)
        assert "grows" not in got
        fake.studies["grows"]["IsStable"] = True
        await until(lambda: "grows" in got)
        # From a clock that was ahead: it would be too young for a long time.
        fake.now = 500
        fake.study("future")
        fake.now = 130
        await until(lambda: "future" in got)
    assert len(got) == len(set(got)) == 23


async def _swept(fake: FakeOrthanc) -> None:
    """Wait until a sweep has begun and ended."""

    def begun() -> int:
        return sum("/studies?expand&since=0&" in uri for uri in fake.asked)

    count = begun()
    await until(lambda: begun() > count + 1)


def _earlier_by(stable_age: int) -> Callable[[str, float], str]:
    real = sweep.earlier
    return lambda time, seconds: real(time, seconds + stable_age)


async def test_sweep_after_the_clock_was_set_back(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What seems older than the subscription because the clock was set back is not lost."""
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    monkeypatch.setattr(sweep, "MARGIN", 0)
    monkeypatch.setattr(orthanc, "GetConfiguration", lambda: '{"StableAge": 0}')
    fake.now = 10000
    got = subscribe_studies()
    late = []

    @oa.on_stable_study(durable="tomorrow", since=dt.date(2026, 3, 31))
    async def tomorrow(study: oa.Study) -> None:
        late.append(study.id)

    store = MemoryStore()
    async with running(store):
        await _swept(fake)
        fake.now = 500
        fake.study("later")
        fake.now = 900
        await until(lambda: got == ["later"])
        fake.now = 20000
        await _swept(fake)
        fake.now = 600
        fake.study("last")
        fake.now = 700
        await until(lambda: got == ["later", "last"])
    assert late == []


async def test_since_in_the_future(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A since= that lies in the future is as none: the sweep finds what comes from now on."""
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    monkeypatch.setattr(sweep, "MARGIN", 0)
    monkeypatch.setattr(orthanc, "GetConfiguration", lambda: '{"StableAge": 0}')
    fake.study("old")
    fake.now = 10000
    got = []

    @oa.on_stable_study(durable="tomorrow", since=dt.date(2026, 3, 31))
    async def tomorrow(study: oa.Study) -> None:
        got.append(study.id)

    async with running(MemoryStore()):
        await _swept(fake)
        fake.now = 10001
        fake.study("new")
        fake.now = 10003
        await until(lambda: got == ["new"])
    assert "tomorrow lies in the future" in caplog.text


async def test_index_fails(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When Orthanc's index does not answer, reading goes on soon, without a traceback."""
    monkeypatch.setattr(reader, "AFTER_ORTHANC", 0.01)
    got = subscribe_studies()
    answer = fake.page

    def fails(_whole: str, _query: dict[str, str]) -> dict[str, Any]:
        raise orthanc.OrthancException(orthanc.ErrorCode.DATABASE_UNAVAILABLE, "not available")

    async with running(MemoryStore()):
        monkeypatch.setattr(fake, "page", fails)
        fake.study("a")
        fake.change("StableStudy", "a")
        reader.wake()
        await until(lambda: "not available" in caplog.text)
        monkeypatch.setattr(fake, "page", answer)
        await until(lambda: got == ["a"])
    assert "Traceback" not in caplog.text


async def test_store_restored(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store in trouble is told to work when it does; as restored, it is taken up anew."""
    monkeypatch.setattr(reader, "LEAD_AGAIN", 0.01)
    got = subscribe_studies()
    store = MemoryStore()
    lead = store.lead

    async def damaged(_lease: float) -> bool:
        raise StoreDamagedError("gone")

    async with running(store):
        fake.study("a")
        backup = dict(store.known)
        store.fail["advance"] = [StoreError("full")]
        fake.change("StableStudy", "a")
        reader.wake()
        await until(lambda: got == ["a"])
        # Not only once there is something to do again.
        await until(lambda: "works again" in caplog.text)
        monkeypatch.setattr(store, "lead", damaged)
        await until(lambda: not any(r._leads.is_set() for r in reader._readers))
        store.rows.clear()
        store.known = backup
        monkeypatch.setattr(store, "lead", lead)
        await until(lambda: got == ["a", "a"])
