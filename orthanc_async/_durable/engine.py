"""What works on durable things from the start of Orthanc to its stop: a service of `_lifespan`.

It opens the store once Orthanc has started, and runs the worker and what is `beside` it. Thread:
the loop's, for all but what says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orthanc
from orthanc_async._durable import queues
from orthanc_async._durable.queues import Kind, Queue, beside, register
from orthanc_async._durable.store import NewEntry, State, StoreError, StoreLockedError
from orthanc_async._durable.worker import Trouble, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from orthanc_async._durable.attempt import Attempt
    from orthanc_async._durable.queues import Companion
    from orthanc_async._durable.store import Added, Json, Store

__all__ = ["Engine", "Kind", "Queue", "Running", "beside", "engine", "register"]

logger = logging.getLogger("orthanc_async.durable")

START_WAITS = 5.0  # seconds that `on_startup` functions wait for the store
REOPEN_FIRST, REOPEN_LONGEST = 1.0, 30.0
REOPEN_LOCKED = 3.0
BESIDE_AGAIN = 10.0
LOOK_AFTER = 5.0  # seconds between two looks whether the store is still where it was
LEAVING = 5.0  # seconds that attempts have to end when it is not
CLOSING = 1.0

_engine: Engine | None = None


def engine() -> Engine | None:
    """Return the engine that runs: from ORTHANC_STARTED to the end of `on_shutdown`."""
    return _engine


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that runs on this server.

    Attributes:
        entry_id: The entry's number in the store.
        queue: The name of its queue.
        attempt: What the handler sees, with its live progress.
        started: When it began, in seconds since 1970.
    """

    entry_id: int
    queue: str
    attempt: Attempt
    started: float


class Engine:
    """Everything durable of one start of Orthanc.

    Args:
        make_store: Makes the store, called once; by default what the configuration chooses.
    """

    def __init__(self, make_store: Callable[[], Store] | None = None) -> None:
        self._make_store = make_store
        self._store: Store | None = None
        self._failure: StoreError | None = None  # why the store is not open
        self._queues: Mapping[str, Queue] = {}
        self._worker: Worker | None = None
        self._tried = asyncio.Event()
        self._opener: asyncio.Task[None] | None = None
        self._beside: list[asyncio.Task[None]] = []
        self._halted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- what others use

    @property
    def queues(self) -> Mapping[str, Queue]:
        """What the scripts have registered, by name."""
        return self._queues

    @property
    def is_open(self) -> bool:
        """Whether the store is open."""
        return self._worker is not None

    @property
    def store(self) -> Store:
        """The store.

        Raises:
            StoreError: It is not open; the text says why.
        """
        if self._store is None or self._worker is None:
            raise self._failure or StoreError(
                "the store of durable events and tasks is being opened: try again in a moment"
            )
        return self._store

    @property
    def trouble(self) -> Trouble:
        """What the log says of a store that fails: for what runs beside the worker."""
        assert self._worker is not None
        return self._worker.trouble

    def running(self) -> list[Running]:
        """Return the attempts that run on this server, with their live progress, oldest first."""
        if self._worker is None:
            return []
        running = [
            Running(run.entry.id, run.queue.name, run.attempt, run.started)
            for run in self._worker.runs
            if not run.ended
        ]
        return sorted(running, key=lambda one: (one.started, one.entry_id))

    def wake(self) -> None:
        """Have the worker look for entries that are due."""
        if self._worker is not None:
            self._worker.wake()

    async def ready(self) -> Store:
        """Return the store, once opening it has been tried.

        Raises:
            RuntimeError: This is another loop than that of Orthanc's handlers.
            StoreError: It is not open; the text says why.
        """
        if asyncio.get_running_loop() is not self._loop:
            message = (
                "durable events and tasks are reached from the loop on which handlers run: in a "
                "thread, call enqueue_blocking(…) or run_coroutine(…), not asyncio.run(…)"
            )
            raise RuntimeError(message)
        await self._tried.wait()
        return self.store

    async def enqueue(
        self,
        queue: str,
        payload: Json,
        *,
        key: str,
        delay: float = 0.0,
        resource: str | None = None,
    ) -> Added:
        """Add an entry; it is on disk when this returns.

        Raises:
            StoreError: It could not be written.
        """
        store = await self.ready()
        [added] = await store.add([NewEntry(queue, key, payload, delay, resource)])
        if added.new:
            self.wake()
        return added

    async def cancel(self, ids: Collection[int]) -> int:
        """Cancel entries that are not finished, also those that run; return how many."""
        store = await self.ready()
        count = await store.cancel(ids)
        # What runs here tells itself that it was abandoned, once its attempt has ended.
        running = self._worker.drop(ids) if self._worker is not None else set()
        if queues.minds_abandoned():
            await self._abandon(store, set(ids) - running)
        return count

    @staticmethod
    async def _abandon(store: Store, ids: Collection[int]) -> None:
        try:
            for id_ in ids:
                entry = await store.entry(id_)
                if entry is not None and entry.state is State.CANCELLED:
                    await queues.abandon(entry.resume)
        except StoreError as error:  # they are cancelled all the same
            logger.warning("what cancelled entries have begun may go on: %s", error)

    async def retry(self, ids: Collection[int]) -> int:
        """Make waiting, dead or cancelled entries due now; return how many."""
        count = await (await self.ready()).retry(ids)
        self.wake()
        return count

    # --- the service

    async def start(self) -> None:
        """Open the store and begin to work; a store that cannot be opened is tried again."""
        global _engine  # noqa: PLW0603 - one engine a process
        if self._halted.is_set():
            return
        _engine = self
        self._loop = asyncio.get_running_loop()
        self._queues = queues.freeze()
        self._opener = asyncio.create_task(self._keep_open(), name="durable: opening")
        halted = asyncio.ensure_future(self._halted.wait())
        tried = asyncio.ensure_future(self._tried.wait())
        await asyncio.wait(
            {halted, tried}, timeout=START_WAITS, return_when=asyncio.FIRST_COMPLETED
        )
        halted.cancel()
        tried.cancel()

    def halt(self) -> None:
        """Begin nothing new: Orthanc stops."""
        self._halted.set()
        if self._worker is not None:
            self._worker.halt()

    async def stop(self, deadline: float) -> None:
        """Give back what runs.

        Args:
            deadline: By the loop's clock.
        """
        self.halt()
        await self._stop_work(deadline)

    async def _stop_work(self, deadline: float) -> None:
        for task in self._beside:
            task.cancel()
        if self._worker is not None:
            await self._worker.stop(deadline)
        if self._beside:
            left = max(0.1, deadline - asyncio.get_running_loop().time())
            await asyncio.wait(self._beside, timeout=left)

    async def close(self) -> None:
        """Close the store."""
        global _engine  # noqa: PLW0603 - one engine a process
        if _engine is self:
            _engine = None
        self._failure = StoreError(
            "the store of durable events and tasks is closed: Orthanc stops"
        )
        self._worker = None
        if self._opener is not None and not self._opener.done():
            self._opener.cancel()
            await asyncio.wait([self._opener], timeout=CLOSING)
        self._tried.set()
        if self._store is None:
            return
        closing = asyncio.ensure_future(self._store.close())
        await asyncio.wait([closing], timeout=CLOSING)
        if not closing.done():
            logger.warning("%s is still being closed", self._store.description)
        elif closing.exception() is not None:
            logger.error("closing %s", self._store.description, exc_info=closing.exception())

    # --- opening

    async def _keep_open(self) -> None:
        await self._prepare()
        await self._open_forever()
        while await self._is_moved():
            await self._leave()
            await self._open_forever(told=True)

    async def _is_moved(self) -> bool:
        """Return once the store is elsewhere than it was opened; False: Orthanc stops."""
        while not await self._pause(LOOK_AFTER):
            with contextlib.suppress(StoreError):  # who works with it tells of that
                if self._store is not None and await self._store.moved():
                    return not self._halted.is_set()
        return False

    async def _leave(self) -> None:
        """Close a store that was moved away: what has not ended in it has not been."""
        assert self._store is not None
        logger.warning(
            "%s was moved away or replaced while it was open: what is there now is opened. "
            "Deliveries that run are cut off",
            self._store.description,
        )
        await self._stop_work(asyncio.get_running_loop().time() + LEAVING)
        self._failure = self._worker = None
        await self._store.close()

    async def _pause(self, seconds: float) -> bool:
        """Wait so long, or until Orthanc stops; return whether it does."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._halted.wait(), seconds)
        return self._halted.is_set()

    async def _open_forever(self, *, told: bool = False) -> None:
        delay = REOPEN_FIRST
        while not self._halted.is_set():
            error = await self._open_once()
            self._tried.set()
            if error is None:
                if told and self._store is not None:
                    logger.warning("%s is open now: work goes on", self._store.description)
                return
            self._failure = error
            if not told:
                told = True
                logger.error(
                    "the store of durable events and tasks cannot be opened: %s. What is received "
                    "is stored by Orthanc nevertheless; opening is tried again and again",
                    error,
                )
            locked = isinstance(error, StoreLockedError)
            seconds = REOPEN_LOCKED if locked else delay
            delay = min(REOPEN_LONGEST, delay * 2)
            await self._pause(seconds)

    async def _prepare(self) -> None:
        for before in queues.companions().values():
            if before is not None:
                try:
                    await before()
                except Exception:
                    logger.exception("%s.%s failed", before.__module__, before.__qualname__)

    async def _open_once(self) -> StoreError | None:
        try:
            if self._store is None:
                self._store = self._new_store()
            await self._store.open()
        except StoreError as error:
            return error
        except Exception as error:
            logger.exception("opening the store of durable events and tasks")
            name = "" if self._store is None else f"{self._store.description}: "
            return StoreError(f"{name}{type(error).__name__}: {error}")
        if self._halted.is_set():
            return None
        self._worker = Worker(self._store, self._queues)
        self._worker.start()
        self._beside = [
            asyncio.create_task(self._run_beside(companion), name=f"durable: {companion}")
            for companion in queues.companions()
        ]
        return None

    def _new_store(self) -> Store:
        if self._make_store is not None:
            return self._make_store()
        from orthanc_async._durable import choose
        from orthanc_async._host._native import native

        return choose.choose(
            native._settings()["store"],
            json.loads(orthanc.GetConfiguration()),
            Path.cwd(),
            Path(orthanc.GetConfigurationPath()),
        )

    async def _run_beside(self, companion: Companion) -> None:
        what = f"{companion.__module__}.{companion.__qualname__}"
        while not self._halted.is_set():
            try:
                await companion(self)
            except StoreError as error:
                logger.error("%s: %s; it is begun again", what, error)  # noqa: TRY400 - says all
            except Exception:
                logger.exception("%s failed; it is begun again", what)
            else:
                return
            await asyncio.sleep(BESIDE_AGAIN)
