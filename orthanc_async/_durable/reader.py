"""From `/changes` to entries: reads what Orthanc has logged, in order, and moves the cursors.

Orthanc writes a change in the transaction of what has changed, so nothing that it has stored is
missing there; a change event that arrives only says when to look. Stable events are the exception:
they are logged when a resource has been quiet for a while, and after a crash never: `sweep` looks
for these.

Thread: the loop's. All times are Orthanc's own texts, which are in UTC.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orthanc
from orthanc_async._durable import deliveries, subscriptions
from orthanc_async._durable.deliveries import get, get_text
from orthanc_async._durable.store import LeaseLost, NewEntry, StoreDamagedError, StoreError
from orthanc_async._durable.sweep import Sweep, earlier

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from orthanc_async._durable.engine import Engine
    from orthanc_async._durable.store import Subscription
    from orthanc_async._durable.subscriptions import Source

logger = logging.getLogger("orthanc_async.durable")

PAGE = 1000  # changes asked for at once
# In PostgreSQL a change may become visible after one with a higher number. So many numbers behind
# the cursor are looked at again each time.
WINDOW = 500
LOOK_ANYWAY = 60.0  # seconds; in vain, unless a wake was missed
SHARED_POLL = 2.0  # other servers' changes do not wake this one
SETTLE = 0.05  # seconds between a wake and the reading: a burst of changes is read at once
QUESTIONS = 8  # at once
LEAD, LEAD_AGAIN = 30.0, 10.0
AFTER_ERROR = 10.0
AFTER_ORTHANC = 2.0  # whose database may just have been restarted

Info = dict[str, Any]
_readers: set[Reader] = set()
_begin: Begin | None = None
_declared = 0.0


class Begin(NamedTuple):
    """Where new subscriptions begin: Orthanc's time, and its last change."""

    now: str
    last: int


def declared() -> None:
    """Note that scripts are imported: Orthanc receives nothing yet, and will do so soon."""
    global _declared  # noqa: PLW0603 - one start of Orthanc a process
    _declared = time.time()


def elapsed() -> int:
    """Return the seconds since then, as a clock that shows no fractions counts them."""
    return max(0, int(time.time()) - int(_declared))


async def look() -> Begin:
    """Return where a subscription of this start begins.

    Orthanc receives a moment before it tells plugins that it has started: that counts already.
    """
    start = earlier(await get_text("/tools/now"), elapsed())
    last = int((await get("/changes?last"))["Last"])
    page = await get(f"/changes?since={max(0, last - PAGE)}&limit={PAGE}")
    received = [int(change["Seq"]) for change in page["Changes"] if change["Date"] >= start]
    return Begin(start, min(received, default=last + 1) - 1)


async def prepare() -> None:
    """Note where new subscriptions begin: at the start of Orthanc, whenever the store opens."""
    global _begin  # noqa: PLW0603 - one start of Orthanc a process
    _begin = await look()


def wake() -> None:
    """Have the changes read soon."""
    for reader in _readers:
        reader.wake()


async def read(engine: Engine) -> None:
    """Read until cancelled: what runs beside the engine."""
    reader = Reader(engine, subscriptions.sources())
    _readers.add(reader)
    try:
        await reader.run()
    finally:
        _readers.discard(reader)


@dataclass(frozen=True)
class Position:
    """Where a subscription is; all but the cursor is kept in the subscription's mark.

    Attributes:
        cursor: The last change that was taken.
        begin: The last change before the subscription; what comes before is none of its business.
        floor: Up to this change, those older than the subscription's `since` are left out.
        since: As `Subscription.since`.
        date: Of the change at the cursor.
        id: Of the resource of the change at the cursor.
    """

    cursor: int
    begin: int = 0
    floor: int = 0
    since: str = ""
    date: str = ""
    id: str = ""

    def mark(self) -> str:
        """Return what is kept with the cursor."""
        values = asdict(self)
        return json.dumps({name: values[name] for name in ("begin", "floor", "date", "id")})

    @classmethod
    def of(cls, known: Subscription) -> Position:
        """Return the position that the store has."""
        kept = json.loads(known.mark) if known.mark else {}
        return cls(known.cursor, since=known.since, **kept)


class Reader:
    """Reads for all subscriptions of this start, as long as this server is the one that reads."""

    def __init__(self, engine: Engine, sources: tuple[Source, ...]) -> None:
        self._engine = engine
        self._sources = {source.name: source for source in sources}
        self._positions: dict[str, Position] = {}
        self._wake = asyncio.Event()
        self._leads = asyncio.Event()
        self._several = False  # whether other servers write into the same index
        self._seen: set[int] = set()  # of the window
        self._checked = False

    def wake(self) -> None:
        """Have it look."""
        self._wake.set()

    async def run(self) -> None:
        """Read, sweep, and stay the one that does."""
        system = await get("/system")
        self._several = system.get("DatabaseBackendPlugin") is not None
        await self._begin()
        sweep = Sweep(self._engine, self._sources, self._positions)
        tasks = [
            asyncio.ensure_future(self._repeat(self._read_step, self._rest)),
            asyncio.ensure_future(self._repeat(sweep.step, sweep.rest)),
            asyncio.ensure_future(self._stay_leader()),
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # none ends but by an error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> None:
        """Enter new subscriptions where they begin, and take up the others where they were."""
        store = self._engine.store
        begin = _begin if _begin is not None else await look()
        at = begin.last
        for source in self._sources.values():
            since = begin.now if source.since is None else min(source.since, begin.now)
            # Stable resources from before are found by the sweep, and only by it if their events
            # are no longer in the log.
            from_log = source.since is not None and any(
                not type_.startswith("Stable") for type_ in source.types
            )
            new = Position(0 if from_log else at, begin=0 if from_log else at, floor=at)
            known = await store.subscribe(source.name, new.cursor, since, new.mark())
            if known.new:
                logger.info("the durable subscription %s begins", source.name)
                if source.since is not None and source.since > begin.now:
                    logger.warning(
                        "since= of the durable subscription %s lies in the future (%s, in UTC): "
                        "it begins now, as without since=",
                        source.name,
                        source.since,
                    )
            self._positions[source.name] = Position.of(known)

    async def _repeat(
        self,
        step: Callable[[], Coroutine[Any, Any, None]],
        rest: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        what = step.__qualname__
        trouble = self._engine.trouble
        while True:
            await self._leads.wait()
            try:
                await step()
            except LeaseLost:
                logger.info("another server reads /changes now")
                self._leads.clear()
                trouble.works(what)
            except StoreError as error:
                await asyncio.sleep(trouble.failed(what, error))
            except orthanc.OrthancException as error:
                logger.warning("%s: %s; tried again in %g s", what, error, AFTER_ORTHANC)
                await asyncio.sleep(AFTER_ORTHANC)
            except Exception:
                logger.exception("%s failed; tried again in %g s", what, AFTER_ERROR)
                await asyncio.sleep(AFTER_ERROR)
            else:
                trouble.works(what)
                await rest()

    async def _stay_leader(self) -> None:
        store = self._engine.store
        trouble = self._engine.trouble
        while True:
            try:
                leads = await store.lead(LEAD)
                trouble.works("lead")
            except StoreError as error:
                if isinstance(error, StoreDamagedError):
                    self._leads.clear()  # what comes back may be a backup: it is taken up anew
                await asyncio.sleep(trouble.failed("lead", error))
                continue
            if leads and not self._leads.is_set():
                await self._take_up()
                self._leads.set()
            elif not leads:
                self._leads.clear()
            await asyncio.sleep(LEAD_AGAIN)

    async def _take_up(self) -> None:
        # The one that led before has moved them.
        for known in await self._engine.store.subscriptions():
            if known.name in self._positions:
                self._positions[known.name] = Position.of(known)
        self._seen.clear()
        self._checked = False
        self._wake.set()

    # --- reading

    async def _read_step(self) -> None:
        self._wake.clear()
        if not self._checked:
            await self._check_index()
            self._checked = True
        done = False
        behind = WINDOW if self._several else 0
        while not done:
            done = await self._read_page(behind)
            behind = 0

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(
                self._wake.wait(), SHARED_POLL if self._several else LOOK_ANYWAY
            )
            await asyncio.sleep(SETTLE)

    def _cursor(self) -> int:
        return min(position.cursor for position in self._positions.values())

    async def _read_page(self, behind: int) -> bool:
        """Take the changes of one page; return whether that was the last page."""
        cursor = self._cursor()
        page = await get(f"/changes?since={max(0, cursor - behind)}&limit={PAGE}")
        changes: list[Info] = page["Changes"]
        if not changes:
            if int(page["Last"]) < cursor:  # its numbers have begun again
                await self._restart()
            return True
        new = [change for change in changes if int(change["Seq"]) not in self._seen]
        entries = await self._entries(new)
        last = changes[-1]
        moved = {
            name: replace(position, cursor=int(last["Seq"]), date=last["Date"], id=last["ID"])
            for name, position in self._positions.items()
            if position.cursor < int(last["Seq"])
        }
        if entries or moved:
            await self._advance(moved, entries)
        if self._several:
            self._seen.update(int(change["Seq"]) for change in new)
            bottom = self._cursor() - WINDOW
            self._seen = {seq for seq in self._seen if seq > bottom}
        # A page that ends within the window is no reason to go on from the cursor.
        return bool(page["Done"]) or (behind > 0 and not moved)

    async def _advance(
        self, moved: Mapping[str, Position], entries: list[NewEntry], *, back: bool = False
    ) -> None:
        added = await self._engine.store.advance(
            {name: position.cursor for name, position in moved.items()},
            entries,
            marks={name: position.mark() for name, position in moved.items()},
            back=back,
        )
        self._positions.update(moved)
        if added:
            self._engine.wake()

    async def _entries(self, changes: list[Info]) -> list[NewEntry]:
        wanted = [
            (source, change)
            for change in changes
            for source in self._sources.values()
            if source.wants(change["ChangeType"], change["ResourceType"])
            and self._concerns(self._positions[source.name], change)
        ]
        infos = await self._ask({c["Path"] for _, c in wanted if is_stable_event(c)})
        entries = []
        for source, change in wanted:
            again = int(change["Seq"]) <= self._positions[source.name].cursor
            entry = _entry(source.name, change, infos, again=again)
            if entry is not None:
                entries.append(entry)
        return entries

    def _concerns(self, position: Position, change: Info) -> bool:
        seq = int(change["Seq"])
        if seq <= (position.begin if self._several else position.cursor):
            return False
        return seq > position.floor or str(change["Date"]) >= position.since

    async def _ask(self, paths: Iterable[str]) -> dict[str, Info | None]:
        """Return what Orthanc says of some resources; None of those that are gone."""
        places = asyncio.Semaphore(QUESTIONS)

        async def ask(path: str) -> tuple[str, Info | None]:
            async with places:
                try:
                    return path, await get(path)
                except orthanc.OrthancException as error:
                    if error.code != orthanc.ErrorCode.UNKNOWN_RESOURCE:
                        raise
                    return path, None

        return dict(await asyncio.gather(*map(ask, paths)))

    # --- an index that is another one

    async def _check_index(self) -> None:
        """Look whether the change at a cursor is still the one that was taken."""
        for position in set(self._positions.values()):
            if position.cursor < 1 or not position.date:
                continue
            page = await get(f"/changes?since={position.cursor - 1}&limit=1")
            found = [c for c in page["Changes"] if int(c["Seq"]) == position.cursor]
            if found and (found[0]["Date"], found[0]["ID"]) != (position.date, position.id):
                await self._restart()
                return

    async def _restart(self) -> None:
        """Read another index from its beginning, but for what is older than the subscriptions.

        It may also be this index as it was some time ago, such as a backup: what had a delivery
        is known by its key then.
        """
        last = int((await get("/changes?last"))["Last"])
        logger.warning(
            "Orthanc's index is not the one that durable subscriptions have read before: /changes "
            "is read from its beginning"
        )
        moved = {
            name: Position(0, floor=last, since=position.since)
            for name, position in self._positions.items()
        }
        self._seen.clear()
        await self._advance(moved, [], back=True)
        self._wake.set()


def is_stable_event(change: Mapping[str, Any]) -> bool:
    """Tell whether a change says that a resource is stable."""
    return str(change["ChangeType"]).startswith("Stable")


def _entry(
    name: str, change: Info, infos: Mapping[str, Info | None], *, again: bool
) -> NewEntry | None:
    level, id_, seq = change["ResourceType"], change["ID"], int(change["Seq"])
    updated: str | None = None
    if is_stable_event(change):
        info = infos[change["Path"]]
        if info is None:
            if again:  # it may have been delivered before it was deleted
                return None
            updated = change["Date"]  # the delivery finds that it is gone
        elif not info["IsStable"]:
            return None  # it grows: another event follows, or the sweep finds it
        else:
            updated = info.get("LastUpdate", "")
        key = deliveries.stable_key(level, id_, updated)
    else:
        # The number alone would come again if the index were replaced, also within a second.
        key = f"change/{seq}/{change['Date']}/{id_}"
    return deliveries.entry(name, key, change["ChangeType"], level, id_, updated=updated, seq=seq)
