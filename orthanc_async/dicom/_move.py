"""C-MOVE requests: what is to be sent where, one C-STORE a sub-operation."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import json
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
)
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union, overload
from urllib.parse import quote

import orthanc
from orthanc_async import _registry, _waited
from orthanc_async.dicom import _answers, _handlers

if TYPE_CHECKING:
    import pydicom

    _Move = TypeVar("_Move", bound=Callable[["MoveRequest"], Any])

SubOperation: TypeAlias = Union[
    str, bytes, "pydicom.Dataset", Callable[[], object], Callable[[], Awaitable[object]]
]
"""Orthanc's id of what to send, a DICOM file, a pydicom Dataset, or a function to call."""

# So many stored instances share one association: opening one costs more than sending a slice.
_BATCH = 16
_MOST = 0xFFFF  # DICOM counts sub-operations with 16 bits
_END = object()


@dataclasses.dataclass(frozen=True, slots=True)
class MoveRequest:
    """A C-MOVE request. What it does not say is an empty text.

    Attributes:
        level: `PATIENT`, `STUDY`, `SERIES` or `INSTANCE`.
        patient_id: PatientID.
        accession_number: AccessionNumber.
        study_instance_uid: StudyInstanceUID; several are separated by backslashes, as in each UID.
        series_instance_uid: SeriesInstanceUID.
        sop_instance_uid: SOPInstanceUID.
        originator_aet: The application entity title of who asks.
        source_aet: The title by which Orthanc was called.
        target_aet: The title of the modality that is to receive.
        originator_id: The number of the request's message.
        originator_ip: The address of who asks; None before Orthanc 1.12.10.
    """

    level: str
    patient_id: str
    accession_number: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    originator_aet: str
    source_aet: str
    target_aet: str
    originator_id: int
    originator_ip: str | None

    async def instances(self) -> list[str]:
        """Find what the request names among the instances that Orthanc stores.

        Returns:
            Orthanc's identifiers.

        Raises:
            ValueError: The request names nothing.
        """
        query = {
            "PatientID": self.patient_id,
            "AccessionNumber": self.accession_number,
            "StudyInstanceUID": self.study_instance_uid,
            "SeriesInstanceUID": self.series_instance_uid,
            "SOPInstanceUID": self.sop_instance_uid,
        }
        query = {tag: value for tag, value in query.items() if value}
        if not query:
            message = "the C-MOVE request has no identifier, and would send all of Orthanc"
            raise ValueError(message)
        search = {"Level": "Instance", "Query": query, "CaseSensitive": True}
        found: list[str] = json.loads(await orthanc.rest_api_post("/tools/find", _json(search)))
        return found


class SubOperations:
    """Sub-operations whose number is known before they are.

    Args:
        count: How many there are, for the progress that the client sees.
        items: They themselves, taken one by one as they are sent.
    """

    def __init__(
        self, count: int, items: Iterable[SubOperation] | AsyncIterable[SubOperation]
    ) -> None:
        self.count = count
        self.items = items


@overload
def move(handler: _Move, /) -> _Move: ...
@overload
def move(*, timeout: float = ...) -> Callable[[_Move], _Move]: ...
def move(handler: Any = None, /, *, timeout: float = 600) -> Any:
    """Decide by a function what a C-MOVE request sends, instead of Orthanc itself.

    The handler gets the `MoveRequest`, and returns a list of sub-operations: each Orthanc's id of
    something stored, a DICOM file as bytes or pydicom Dataset, or a function that is called (and
    awaited). What is no function is sent by C-STORE to the modality whose AET is the target, which
    must stand in Orthanc's `DicomModalities`. None sends nothing, and is a success.

    The client sees the progress, and a failure without further sub-operations when one fails. Of
    an iterator or generator nobody knows the length, so all of it is one sub-operation; with
    `SubOperations(count, iterator)` each of its items is one.

    Args:
        handler: `def` or `async def`, with or without `yield`.
        timeout: Seconds for the handler, and for each sub-operation.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the request.
        ValueError: The timeout is not finite and above 0.
        RuntimeError: Another handler is registered.

    SDK function: OrthancPluginRegisterMoveCallback().
    """
    _waited.check_timeout(timeout, "dicom.move")

    def decorate(handler: Any) -> Any:
        _registry.check_handler(handler, "dicom.move", "request", may_yield=True)
        functions = (_creator(handler), _prepare, _apply, _close)
        steps = [_step(function, handler, timeout) for function in functions]
        _handlers.register("RegisterMoveCallback2", "RegisterMoveCallback3", *steps)
        return handler

    return decorate if handler is None else decorate(handler)


def _step(function: Any, handler: object, timeout: float) -> Any:
    """Give each registration a function of its own, as each gets its handler's name."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    step = call_async if inspect.iscoroutinefunction(function) else call
    _waited.name_for_host(step, handler, "dicom.move", timeout)
    return step


def _creator(handler: Any) -> Any:
    if not _handlers.is_async(handler):

        def create(*connection: Any, **fields: Any) -> _Transfer:
            request = _request(connection, fields)
            return _Transfer(request, handler(request))

        return create

    async def create_async(*connection: Any, **fields: Any) -> _Transfer:
        request = _request(connection, fields)
        result = handler(request)
        return _Transfer(request, await result if inspect.isawaitable(result) else result)

    return create_async


def _request(connection: tuple[Any, ...], fields: dict[str, Any]) -> MoveRequest:
    peer = connection or (fields["OriginatorAET"], fields["SourceAET"])
    originator, source, ip = _handlers.peer_of(peer)
    return MoveRequest(
        level=fields["Level"],
        patient_id=fields["PatientID"],
        accession_number=fields["AccessionNumber"],
        study_instance_uid=fields["StudyInstanceUID"],
        series_instance_uid=fields["SeriesInstanceUID"],
        sop_instance_uid=fields["SOPInstanceUID"],
        originator_aet=originator,
        source_aet=source,
        target_aet=fields["TargetAET"],
        originator_id=fields["OriginatorID"],
        originator_ip=ip,
    )


async def _prepare(transfer: _Transfer) -> int:
    return await transfer.prepare()


async def _apply(transfer: _Transfer) -> None:
    await transfer.apply()


async def _close(transfer: _Transfer) -> None:
    await transfer.close()


class _Transfer:
    """One request, from the handler's result to the last sub-operation.

    Thread: the loop's, but for its creation. Orthanc calls one step after the other.
    """

    def __init__(self, request: MoveRequest, result: object) -> None:
        self._request = request
        self._source: Any = None
        self._modality = ""
        self._items: AsyncIterator[Any] | None = None
        self._at_once = False  # all items in one sub-operation
        self._batch = 1
        self._ahead: object = _END  # taken from the source, not yet sent
        self._already_sent = 0  # sub-operations done before Orthanc has asked for them
        self._left = 0
        self._count = self._take(result)

    def _take(self, result: object) -> int:
        if result is None:
            return 0
        if isinstance(result, SubOperations):
            self._source, count = result.items, result.count
        elif _answers.is_answer(result) or isinstance(result, str):
            message = (
                "a @dicom.move handler gives a list or an iterator of sub-operations, not "
                f"{result!r:.100}"
            )
            raise TypeError(message)
        elif isinstance(result, Collection):
            self._source, count, self._batch = result, len(result), _BATCH
        elif isinstance(result, (Iterable, AsyncIterable)):
            self._source, count, self._at_once = result, 1, True
        else:
            message = (
                "a @dicom.move handler gives a list or an iterator of sub-operations, or None, "
                f"not {result!r:.100}"
            )
            raise TypeError(message)
        if not 0 <= count <= _MOST:
            message = f"a C-MOVE has 0 to {_MOST} sub-operations, not {count}"
            raise ValueError(message)
        return count

    async def prepare(self) -> int:
        """Find the target, and return the number of sub-operations."""
        if self._count == 0:
            return 0
        aet = self._request.target_aet
        modalities = json.loads(await orthanc.rest_api_get("/modalities?expand"))
        names = [name for name, modality in modalities.items() if modality["AET"] == aet]
        if not names:
            message = (
                f"the target of the C-MOVE, {aet!r}, is no modality that Orthanc knows: add it to "
                "DicomModalities"
            )
            raise ValueError(message)
        self._modality = quote(names[0], safe="")
        self._items = _iterate(self._source)
        self._left = self._count
        return self._count

    async def apply(self) -> None:
        """Do one sub-operation."""
        if self._at_once:
            while (item := await self._next()) is not _END:
                await self._send(item)
            return
        self._left -= 1
        if self._already_sent > 0:
            self._already_sent -= 1
            return
        item = await self._next()
        if item is _END:
            message = f"fewer sub-operations came than the {self._count} that were announced"
            raise ValueError(message)
        if not isinstance(item, str):
            await self._send(item)
            return
        stored = [item]
        while len(stored) < min(self._batch, self._left + 1):
            self._ahead = await self._next()
            if not isinstance(self._ahead, str):
                break
            stored.append(self._ahead)
            self._ahead = _END
        await self._store(stored)
        self._already_sent = len(stored) - 1

    async def close(self) -> None:
        """Let go of a generator that was not taken to its end."""
        for items in (self._items, self._source):
            if inspect.isasyncgen(items):
                await items.aclose()
            elif inspect.isgenerator(items):
                with contextlib.suppress(ValueError):  # it still runs in a thread
                    items.close()

    async def _next(self) -> object:
        if self._ahead is not _END:
            item, self._ahead = self._ahead, _END
            return item
        if self._items is None:
            return _END
        return await anext(self._items, _END)

    async def _send(self, item: object) -> None:
        if isinstance(item, str):
            await self._store([item])
        elif isinstance(item, (bytes, bytearray, memoryview)):
            await self._send_file(item)
        elif _answers.is_dataset(item):
            await self._send_file(_answers.dataset_file(item))
        elif callable(item):
            if _registry.is_async(item):
                await item()
                return
            result = await asyncio.to_thread(item)
            if inspect.isawaitable(result):
                await result
        else:
            message = (
                "a sub-operation is an id of Orthanc's, a DICOM file (bytes, pydicom Dataset) or "
                f"a function, not {item!r:.100}"
            )
            raise TypeError(message)

    async def _send_file(self, file: bytes | bytearray | memoryview) -> None:
        await orthanc.rest_api_post(f"/modalities/{self._modality}/store-straight", file)

    async def _store(self, identifiers: list[str]) -> None:
        body = {
            "Resources": identifiers,
            "Synchronous": True,
            "MoveOriginatorAet": self._request.originator_aet,
            "MoveOriginatorID": self._request.originator_id,
        }
        await orthanc.rest_api_post(f"/modalities/{self._modality}/store", _json(body))


async def _iterate(source: Any) -> AsyncIterator[Any]:
    """Go through any iterable; a plain iterator may block, and runs in a thread."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    elif isinstance(source, Iterator):
        while (item := await asyncio.to_thread(next, source, _END)) is not _END:
            yield item
    else:
        for item in source:
            yield item


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
