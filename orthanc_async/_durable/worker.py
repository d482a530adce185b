"""The worker: takes entries that are due, runs them, keeps their leases, writes what follows.

Thread: the loop's. Nothing here polls: the worker sleeps until the next entry is due or somebody
wakes it; only in a store that other servers share does it look every two seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from orthanc_async._durable import figures, queues
from orthanc_async._durable.runner import Run, Why
from orthanc_async._durable.store import LeaseLost, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orthanc_async._durable.queues import Queue
    from orthanc_async._durable.store import Claim, Outcome, Store

logger = logging.getLogger("orthanc_async.durable")

LEASE = 30.0  # seconds
RENEW = 10.0
SAVE = 1.0
SHARED_POLL = 2.0
LEAST_SLEEP = 0.02  # a store that calls an entry due which it does not give must not spin us
RETRY_FIRST, RETRY_LONGEST = 0.5, 10.0


class Trouble:
    """What the log says of a store that fails: once when it begins, once when it is over."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._since = 0.0
        self._failing: set[str] = set()  # a full disk can be read, so each has its own state
        self._delay = RETRY_FIRST

    def failed(self, what: str, error: Exception) -> float:
        """Note that something fails; return the seconds until the next try."""
        first = not self._failing
        self._failing.add(what)
        if first:
            self._since = time.monotonic()
            self._delay = RETRY_FIRST
            logger.error(
                "the store of durable events and tasks fails, %s: %s. What is received is stored "
                "by Orthanc nevertheless; deliveries and tasks go on once the store does",
                self._store.description,
                error,
                exc_info=None if isinstance(error, StoreError) else error,
            )
        delay = self._delay
        self._delay = min(RETRY_LONGEST, self._delay * 2)
        return delay

    def works(self, what: str) -> None:
        """Note that something has succeeded."""
        if what not in self._failing:
            return
        self._failing.discard(what)
        if not self._failing:
            seconds = time.monotonic() - self._since
            logger.warning(
                "the store %s works again after %.0f s", self._store.description, seconds
            )


class Worker:
    """Works on the entries of some queues, from `start` to `stop`."""

    def __init__(self, store: Store, queues: Mapping[str, Queue]) -> None:
        self.runs: set[Run] = set()  # until what follows has been written
        self.trouble = Trouble(store)
        self._store = store
        self._queues = queues
        self._wake = asyncio.Event()
        self._halted = asyncio.Event()
        self._renewed = time.monotonic()
        self._claimer: asyncio.Task[None] | None = None
        self._helpers: list[asyncio.Task[None]] = []
        self._attempts: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to work."""
        self._claimer = asyncio.create_task(self._claim_forever(), name="durable: claims")
        helpers = {"leases": self._keep_leases(), "progress": self._save_forever()}
        if self._store.shared:
            helpers["changes"] = self._wake_on_changes()
        self._helpers = [
            asyncio.create_task(helper, name=f"durable: {name}")
            for name, helper in helpers.items()
        ]

    def wake(self) -> None:
        """Have it look for entries that are due."""
        self._wake.set()

    def halt(self) -> None:
        """Take no further entries; those that run go on."""
        self._halted.set()
        self._wake.set()

    def drop(self, ids: Collection[int]) -> set[int]:
        """Cancel attempts whose entries are ours no longer; return the entries of these."""
        dropped = {run for run in self.runs if run.entry.id in ids and not run.ended}
        for run in dropped:
            run.cancel(Why.LOST)
        return {run.entry.id for run in dropped}

    async def stop(self, deadline: float) -> None:
        """Cancel the attempts, and wait until they are given back or the time is over.

        Args:
            deadline: By the loop's clock.
        """
        loop = asyncio.get_running_loop()
        self.halt()
        for run in self.runs:
            run.cancel(Why.STOP)
        # A claim under way is not cut off: what it gives has to be given back.
        waiting = {task for task in (self._claimer, *self._attempts) if task is not None}
        while waiting and loop.time() < deadline:
            await asyncio.wait(waiting, timeout=max(0.0, deadline - loop.time()))
            waiting = {
                task
                for task in (self._claimer, *self._attempts)
                if task is not None and not task.done()
            }
        for task in self._helpers:
            task.cancel()
        for run in self.runs:
            logger.warning(
                "%r still runs when Orthanc stops: it is begun again at the next start", run
            )
        # They would write once the store is closed, or after the next start has opened it.
        for task in waiting:
            task.cancel()
        if self._helpers or waiting:
            await asyncio.wait({*self._helpers, *waiting}, timeout=0.2)

    # --- claims

    async def _claim_forever(self) -> None:
        while not self._halted.is_set():
            self._wake.clear()
            try:
                seconds = await self._claim()
                self.trouble.works("claim")
            except Exception as error:  # noqa: BLE001 - whatever the store raises
                await self._pause(self.trouble.failed("claim", error))
                continue
            if seconds is None or seconds > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), seconds)

    async def _pause(self, seconds: float) -> None:
        """Wait, also when there is something to do; not when there is no more."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._halted.wait(), seconds)

    async def _claim(self) -> float | None:
        """Take what is due; return the seconds until there may be more, None: nobody knows."""
        free, gates = self._free()
        waits = gates
        if self._store.shared:
            waits = [*gates, SHARED_POLL]
        if not free:
            return min(waits, default=None)
        if time.monotonic() - self._renewed > LEASE / 2:
            # The loop stood still. A lease that has run out meanwhile would be given to us again.
            await self._renew()
        claims = await self._store.claim(free, LEASE)
        for claim in claims:
            self._begin(claim)
        if claims:
            return 0.0
        due = await self._store.next_due(free)
        if due is not None:
            waits = [*waits, max(LEAST_SLEEP, due)]
        return min(waits, default=None)

    def _free(self) -> tuple[dict[str, int], list[float]]:
        """Return how many entries each queue may begin, and when gates may give more."""
        running = dict.fromkeys(self._queues, 0)
        for run in self.runs:
            running[run.queue.name] += 1
        free, waits = {}, []
        for name, queue in self._queues.items():
            wanted = queue.policy.concurrency - running[name]
            given = wanted
            gate = queue.policy.gate
            if gate is not None and wanted > 0:
                given = min(wanted, gate.free(wanted))
                if given < wanted:
                    waits.append(max(LEAST_SLEEP, gate.wait()))
            if given > 0:
                free[name] = given
        return free, waits

    def _begin(self, claim: Claim) -> None:
        before = [run for run in self.runs if run.entry.id == claim.entry.id]
        for run in before:
            if not run.lost:
                # Its lease had run out while it was running here. It goes on: it is ours again.
                run.adopt(claim.token)
                return
        run = Run(self._queues[claim.entry.queue], claim, self._store.save)
        self.runs.add(run)
        task = asyncio.create_task(self._run(run, before), name=f"durable: {run!r}")
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    # --- attempts

    async def _run(self, run: Run, before: Collection[Run]) -> None:
        try:
            # One that was cancelled, made due again, and has not ended yet.
            for other in before:
                await other.over.wait()
            if self._halted.is_set():
                run.cancel(Why.STOP)
            began = time.monotonic()
            outcome = await run.run()
            seconds = time.monotonic() - began
            figures.attempt_ended(run.queue.name, outcome, seconds, run.attempt.progress.bytes)
            if outcome is None or not await self._write(run, outcome):
                await queues.abandon(run.attempt.resume)
        finally:
            self.runs.discard(run)
            run.over.set()
            self._wake.set()

    async def _write(self, run: Run, outcome: Outcome) -> bool:
        """Write what follows. The attempt is over: only the writing is tried again.

        Returns:
            Whether it was written; else the entry is no longer ours.
        """
        while True:
            token = run.token
            try:
                await self._store.finish(token, outcome)
            except LeaseLost:
                if run.token != token:  # adopted meanwhile
                    continue
                logger.info("%r: cancelled, or another server has it: its end is not noted", run)
                self.trouble.works("finish")
                return False
            except Exception as error:  # noqa: BLE001 - whatever the store raises
                seconds = self.trouble.failed("finish", error)
            else:
                self.trouble.works("finish")
                return True
            # Also while stopping: the deadline of `stop` ends it.
            await asyncio.sleep(min(seconds, 0.5) if self._halted.is_set() else seconds)

    # --- leases and progress

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(RENEW)
            try:
                await self._renew()
                self.trouble.works("renew")
            except Exception as error:  # noqa: BLE001 - whatever the store raises
                await asyncio.sleep(min(RENEW / 2, self.trouble.failed("renew", error)))

    async def _renew(self) -> None:
        tokens = {run.token: run for run in self.runs}
        began = time.monotonic()
        lost = await self._store.renew(tokens, LEASE) if tokens else set()
        self._renewed = began
        for token in lost:
            run = tokens[token]
            # Not one that was adopted, or has ended, while the store was asked.
            if run.token == token and run in self.runs:
                run.cancel(Why.LOST)

    async def _save_forever(self) -> None:
        while True:
            await asyncio.sleep(SAVE)
            # At once, so that the store can write them together.
            results = await asyncio.gather(
                *(run.save_if_changed() for run in self.runs), return_exceptions=True
            )
            for result in results:
                # A lost lease the next renewal sees too, and cancels.
                if isinstance(result, Exception) and not isinstance(result, LeaseLost):
                    await asyncio.sleep(self.trouble.failed("save", result))
                    break
            else:
                self.trouble.works("save")

    async def _wake_on_changes(self) -> None:
        while True:
            try:
                await self._store.changed()
                self._wake.set()
            except Exception as error:  # noqa: BLE001 - whatever the store raises
                # Nothing waits for it: the store is looked at every two seconds anyway.
                logger.debug("not told of changes in the store: %s", error)
                await asyncio.sleep(RETRY_LONGEST)
