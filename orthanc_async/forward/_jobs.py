"""DICOM modalities and Orthanc peers: Orthanc itself sends, as jobs that outlive a restart."""

from __future__ import annotations

import asyncio
import json
import re
import weakref
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import orthanc
from orthanc_async import _checks, _registry
from orthanc_async._durable import queues
from orthanc_async._durable.attempt import RetryLater
from orthanc_async.forward import _job_ends, _job_search
from orthanc_async.forward._destination import Delivery, Destination, Work, kept, logger
from orthanc_async.forward._dicomweb import batches
from orthanc_async.forward._errors import Down

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orthanc_async._durable.store import Json
    from orthanc_async.forward._source import Item

_FIRST_LOOK = 0.05  # seconds after which a job is looked at, growing to
_LONGEST_LOOK = 2.0
_BATCH_BYTES = 256 * 2**20
# Orthanc's errors that say that the other side cannot be reached.
_UNREACHABLE = frozenset({9, 20})  # NetworkProtocol, Timeout
_ENDED = frozenset({"Success", "Failure"})
_TYPES = {"to_modality": "DicomModalityStore", "to_peer": "OrthancPeerStore"}

_all: weakref.WeakSet[_Jobs] = weakref.WeakSet()


@_registry.on_clear
def _clear() -> None:
    _all.clear()


def to_modality(
    name: str, *, batch: int = 100, options: dict[str, Any] | None = None, **common: Any
) -> Destination:
    """Send by C-STORE to a modality of Orthanc's configuration (`DicomModalities`).

    Orthanc's job engine sends, in batches of instances that show under `/jobs`. A job that goes
    on through a restart is waited for, not begun anew.

    Args:
        name: The modality's symbolic name.
        batch: Instances in a job, at most.
        options: More of what `POST /modalities/{name}/store` takes, such as `{"Timeout": 60}`.
        common: `only`, `retry`, `timeout`, `concurrency`, `breaker`, as for all destinations.

    Returns:
        The destination: `await destination(study)`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument makes no sense.
    """
    return _Jobs("to_modality", "modalities", name, batch, options, common)


def to_peer(
    name: str, *, batch: int = 100, options: dict[str, Any] | None = None, **common: Any
) -> Destination:
    """Send to another Orthanc, a peer of Orthanc's configuration (`OrthancPeers`).

    Orthanc's job engine sends, as with `to_modality`.

    Args:
        name: The peer's symbolic name.
        batch: Instances in a job, at most.
        options: More of what `POST /peers/{name}/store` takes, such as `{"Compress": True}`.
        common: `only`, `retry`, `timeout`, `concurrency`, `breaker`, as for all destinations.

    Returns:
        The destination: `await destination(study)`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument makes no sense.
    """
    return _Jobs("to_peer", "peers", name, batch, options, common)


class _Jobs(Destination):
    __durable_shows_job__ = True  # no second job beside Orthanc's own

    def __init__(  # noqa: PLR0917 - called above
        self,
        kind: str,
        folder: str,
        name: str,
        batch: int,
        options: dict[str, Any] | None,
        common: dict[str, Any],
    ) -> None:
        self.kind = kind
        given: object = name
        if not isinstance(given, str) or not given:
            problem = TypeError if given and not isinstance(given, str) else ValueError
            raise problem(f"{kind} needs the name of one of Orthanc's {folder}, not {name!r}")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(
                f"{kind}: {name!r} is no name of one of Orthanc's {folder}: those have letters, "
                "digits, - and _"
            )
        if options is not None and not isinstance(options, dict):
            raise TypeError(f"{kind}: options must be a dict, such as {{'Timeout': 60}}")
        if common.get("transform") is not None:
            raise TypeError(
                f"{kind} sends what is in Orthanc as it is: it takes no transform. Store what "
                "is changed in Orthanc and send that, or use to_dicomweb"
            )
        super().__init__(name, **common)
        _checks.whole(kind, "batch", batch)
        taken = {"Resources", "Synchronous", "Asynchronous", "Permissive"} & set(options or ())
        if taken:
            raise ValueError(f"{kind}: options cannot hold {', '.join(sorted(taken))}")
        self._uri = f"/{folder}/{quote(name, safe='')}/store"
        self._batch = batch
        self._options = dict(options or {})
        self._type = _TYPES[kind]
        _all.add(self)
        _job_ends.listen()
        queues.when_abandoned(_abandoned)

    async def deliver(self, delivery: Delivery) -> None:
        work = Work(delivery, await self.items(delivery))
        begun = delivery.state.get("job")
        if begun:
            await self._go_on(work, begun)
        for batch in batches([i for i in work.left if i not in work.sent], self._batch,
                             _BATCH_BYTES):  # fmt: skip
            job = await self._begin_and_keep(work, batch)
            await self._watch(work, job, batch)

    async def _begin_and_keep(self, work: Work, batch: Sequence[Item]) -> str:
        delivery = work.delivery
        begun = {"of": work.sent.marks(batch), **_job_search.mark(self._uri, batch)}
        delivery.keep({"sent": work.sent.state(), "job": begun})
        # Before anything else: whoever comes after a crash has to know that there may be a job.
        await delivery.attempt.save()
        beginning = asyncio.ensure_future(self._begin(batch, begun))
        cancelled = None
        try:
            await asyncio.wait([beginning])
        except asyncio.CancelledError as error:
            cancelled = error  # Orthanc begins it all the same
        try:
            job = await beginning
        except RetryLater:
            self._forget(work)  # there is none
            raise
        delivery.keep({**delivery.state, "job": {**begun, "id": job}})
        if cancelled is not None:
            raise cancelled
        await delivery.attempt.save()
        return job

    async def _go_on(self, work: Work, begun: dict[str, Any]) -> None:
        """Wait for a job of an earlier attempt, if Orthanc still has it."""
        wanted = type(work.sent)(work.items)
        wanted.add_all(begun["of"])
        batch = [item for item in work.left if item in wanted]
        state = await self.begun_job(begun)
        job = begun.get("id") or (state or {}).get("ID")
        if job is None or state is None or state["State"] == "Failure" or not batch:
            # Sent anew: what the job has sent comes twice, which C-STORE and peers allow.
            logger.info("%r: the job %s of an earlier attempt is of no use", self, job)
            if job is not None and state is not None:
                await _cancel(job, state)
            self._forget(work)
            return
        work.delivery.keep({**work.delivery.state, "job": {**begun, "id": job}})
        await self._watch(work, job, batch)

    async def begun_job(self, begun: dict[str, Any]) -> dict[str, Any] | None:
        """Return the job of what an attempt has kept, as Orthanc shows it; None: there is none.

        Args:
            begun: The "job" of a delivery's state.

        Raises:
            orthanc.OrthancException: Orthanc cannot tell.
        """
        job = begun.get("id")
        if job is not None:
            return await _look(job) or await _job_ends.of(job)
        others = [one for one in _all if one.kind == self.kind and one._options != self._options]
        return await _job_search.find(begun, self._type, self._options, alone=not others)

    async def _begin(self, batch: Sequence[Item], begun: dict[str, Any]) -> str:
        wanted = {
            **self._options,
            "UserData": _job_search.user_data(self._options.get("UserData"), begun),
            "Resources": [item.instance for item in batch],
            "Synchronous": False,
        }
        try:
            answer = await orthanc.rest_api_post(self._uri, json.dumps(wanted).encode())
        except orthanc.OrthancException as error:
            await self._explain(error, batch)
        job: str = json.loads(answer)["ID"]
        return job

    async def _explain(self, error: orthanc.OrthancException, batch: Sequence[Item]) -> NoReturn:
        try:
            await orthanc.rest_api_get(self._uri.rpartition("/")[0])
        except orthanc.OrthancException:
            where = "DicomModalities" if self.kind == "to_modality" else "OrthancPeers"
            raise RetryLater(
                f"{self.kind}: Orthanc knows no {self.target!r}: is it in {where} of its "
                "configuration?"
            ) from None
        raise RetryLater(
            f"{self!r}: Orthanc does not begin to send {len(batch)} instances: {error}"
        ) from error

    async def _watch(self, work: Work, job: str, batch: Sequence[Item]) -> None:
        pause = _FIRST_LOOK
        already = work.count
        while True:
            state = await _look(job) or await _job_ends.of(job, late=True)
            if state is None:
                self._forget(work)
                raise RetryLater(
                    f"{self!r}: Orthanc no longer knows the job {job}, so nobody can tell what "
                    "has become of it. Was it cancelled and removed? If JobsHistorySize is very "
                    "small, make it larger"
                )
            if state["State"] == "Success":
                break
            if state["State"] == "Failure":
                self._forget(work)
                self._raise(job, state)
            done = len(batch) * int(state.get("Progress", 0)) // 100
            work.show(already + done)
            await _job_ends.wait(job, pause)
            pause = min(pause * 1.5, _LONGEST_LOOK)
        work.delivery.reached = True
        missing = int((state.get("Content") or {}).get("FailedInstancesCount", 0))
        self._forget(work)
        if missing:
            raise RetryLater(f"{self!r}: {missing} of {len(batch)} instances were not sent")
        for item in batch:
            work.done(item, item.size)
        work.keep()

    def _forget(self, work: Work) -> None:
        state = dict(work.delivery.state)
        state.pop("job", None)
        work.delivery.keep(state)

    def _raise(self, job: str, state: dict[str, Any]) -> NoReturn:
        # Newer versions say more in ErrorDetails than in ErrorDescription.
        text = state.get("ErrorDetails") or state.get("ErrorDescription") or "no reason given"
        text = f"{self!r}: the job {job} has failed: {text}"
        if state.get("ErrorCode") in _UNREACHABLE:
            raise Down(text)
        raise RetryLater(text)


async def _abandoned(resume: Json) -> None:
    """Cancel the jobs of what an attempt has kept: nobody waits for them any more."""
    for state in kept(resume):
        begun = state.get("job")
        if not isinstance(begun, dict):
            continue
        sender = next((one for one in _all if one._uri == begun.get("to")), None)
        if sender is not None:
            found = await sender.begun_job(begun)
        else:  # no script sends there any more, or an earlier version has kept it
            found = await _look(str(begun.get("id")))
        if found is not None:
            await _cancel(str(found.get("ID") or begun.get("id")), found)


async def _cancel(job: str, state: dict[str, Any]) -> None:
    if state["State"] in _ENDED:
        return
    try:
        await orthanc.rest_api_post(f"/jobs/{job}/cancel", b"")
    except orthanc.OrthancException as error:  # it has ended meanwhile
        logger.info("the job %s is not cancelled with its delivery: %s", job, error)


async def _look(job: str) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads(await orthanc.rest_api_get(f"/jobs/{job}"))
    except orthanc.OrthancException as error:
        if error.code in {orthanc.ErrorCode.UNKNOWN_RESOURCE, orthanc.ErrorCode.INEXISTENT_ITEM}:
            return None
        raise
    return state
