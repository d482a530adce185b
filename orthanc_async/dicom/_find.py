"""C-FIND requests, for resources and for worklists."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from typing import TYPE_CHECKING, Any, TypeVar, overload

import orthanc
from orthanc_async import _registry, _waited
from orthanc_async.dicom import _answers, _handlers

if TYPE_CHECKING:
    from collections.abc import Callable

    import pydicom

    _Find = TypeVar("_Find", bound=Callable[["FindQuery"], Any])
    _Worklist = TypeVar("_Worklist", bound=Callable[["WorklistQuery"], Any])


@dataclasses.dataclass(frozen=True, slots=True)
class FindQuery:
    """A C-FIND request for patients, studies, series or instances.

    Attributes:
        level: `PATIENT`, `STUDY`, `SERIES` or `IMAGE`; empty if the request has none.
        tags: What is asked, by keyword, or as `gggg,eeee` where there is none: the value to match
            (with wildcards, lists and ranges), or an empty text for what is only to be returned.
            Sequences are empty texts.
        issuer_aet: The application entity title of who asks.
        called_aet: The title by which Orthanc was called.
        issuer_ip: The address of who asks; None before Orthanc 1.12.10.
    """

    level: str
    tags: dict[str, str]
    issuer_aet: str
    called_aet: str
    issuer_ip: str | None


@dataclasses.dataclass(frozen=True)
class WorklistQuery:
    """A C-FIND request for modality worklists.

    Attributes:
        data: The query as a DICOM file.
        issuer_aet: The application entity title of who asks.
        called_aet: The title by which Orthanc was called.
        issuer_ip: The address of who asks; None before Orthanc 1.12.10.
    """

    data: bytes
    issuer_aet: str
    called_aet: str
    issuer_ip: str | None

    @functools.cached_property
    def tags(self) -> dict[str, Any]:
        """What is asked, by keyword; a sequence is a list of such dicts."""
        text = orthanc.DicomBufferToJson(
            self.data, orthanc.DicomToJsonFormat.HUMAN, orthanc.DicomToJsonFlags.NONE, 0
        )
        tags: dict[str, Any] = _without_none(json.loads(text))
        return tags

    @functools.cached_property
    def dataset(self) -> pydicom.Dataset:
        """What is asked, as pydicom reads it.

        Raises:
            ImportError: pydicom is not installed.
        """
        import pydicom

        return pydicom.dcmread(io.BytesIO(self.data))


@overload
def find(handler: _Find, /) -> _Find: ...
@overload
def find(*, timeout: float = ...) -> Callable[[_Find], _Find]: ...
def find(handler: Any = None, /, *, timeout: float = 30) -> Any:
    """Answer C-FIND requests by a function, instead of Orthanc itself.

    The handler gets the `FindQuery`, and returns or yields its answers: each a dict of tags, a
    pydicom Dataset, or a DICOM file as bytes. They are sent when it has ended. Orthanc handles
    one request at a time; the modality gets a failure if the handler raises or takes too long.

    Args:
        handler: `def` or `async def`, with or without `yield`.
        timeout: Seconds that an `async def` handler may take.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the query.
        ValueError: The timeout is not finite and above 0.
        RuntimeError: Another handler is registered.

    SDK function: OrthancPluginRegisterFindCallback().
    """
    _waited.check_timeout(timeout, "dicom.find")

    def decorate(handler: Any) -> Any:
        _registry.check_handler(handler, "dicom.find", "query", may_yield=True)

        def add(answers: Any, _query: Any, dicom: bytes) -> None:
            answers.FindAddAnswer(dicom)

        call = _wrap(handler, _read_find, add, "a @dicom.find handler")
        _waited.name_for_host(call, handler, "dicom.find", timeout)
        _handlers.register("RegisterFindCallback", "RegisterFindCallback2", call)
        return handler

    return decorate if handler is None else decorate(handler)


@overload
def worklist(handler: _Worklist, /) -> _Worklist: ...
@overload
def worklist(*, match: bool = ..., timeout: float = ...) -> Callable[[_Worklist], _Worklist]: ...
def worklist(handler: Any = None, /, *, match: bool = True, timeout: float = 30) -> Any:
    """Answer worklist requests by a function.

    The handler gets the `WorklistQuery`, and returns or yields its answers: each a dict of tags, a
    pydicom Dataset, or a DICOM file as bytes. They are sent when it has ended. Orthanc handles
    one request at a time; the modality gets a failure if the handler raises or takes too long.

    Args:
        handler: `def` or `async def`, with or without `yield`.
        match: Leave out what does not match the query, as DICOM defines that.
        timeout: Seconds that an `async def` handler may take.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the query.
        ValueError: The timeout is not finite and above 0.
        RuntimeError: Another handler is registered.

    SDK function: OrthancPluginRegisterWorklistCallback().
    """
    _waited.check_timeout(timeout, "dicom.worklist")

    def decorate(handler: Any) -> Any:
        _registry.check_handler(handler, "dicom.worklist", "query", may_yield=True)

        def add(answers: Any, query: Any, dicom: bytes) -> None:
            if not match or query.WorklistIsMatch(dicom):
                answers.WorklistAddAnswer(query, dicom)

        call = _wrap(handler, _read_worklist, add, "a @dicom.worklist handler")
        _waited.name_for_host(call, handler, "dicom.worklist", timeout)
        _handlers.register("RegisterWorklistCallback", "RegisterWorklistCallback2", call)
        return handler

    return decorate if handler is None else decorate(handler)


def _wrap(
    handler: Any,
    read: Callable[..., Any],
    add: Callable[[Any, Any, bytes], None],
    what: str,
) -> Any:
    """Make the SDK's callback of a handler. All SDK calls in it work in memory."""
    if _handlers.is_async(handler):

        async def call_async(answers: Any, query: Any, *peer: Any) -> None:
            result = handler(read(query, *_handlers.peer_of(peer)))
            async for answer in _answers.items_async(result, what):
                add(answers, query, await _answers.encode_async(answer))

        return call_async

    def call(answers: Any, query: Any, *peer: Any) -> Any:
        result = handler(read(query, *_handlers.peer_of(peer)))
        for answer in _answers.items(result, what):
            add(answers, query, _answers.encode(answer))

    return call


def _read_find(query: Any, issuer: str, called: str, ip: str | None) -> FindQuery:
    tags = {}
    for index in range(query.GetFindQuerySize()):
        name = query.GetFindQueryTagName(index)
        if not name.isalnum():  # Orthanc has no keyword for it
            group = query.GetFindQueryTagGroup(index)
            name = f"{group:04x},{query.GetFindQueryTagElement(index):04x}"
        tags[name] = query.GetFindQueryValue(index)
    return FindQuery(tags.pop("QueryRetrieveLevel", "").strip(), tags, issuer, called, ip)


def _read_worklist(query: Any, issuer: str, called: str, ip: str | None) -> WorklistQuery:
    return WorklistQuery(query.WorklistGetDicomQuery(), issuer, called, ip)


def _without_none(value: Any) -> Any:
    """Replace what has no value by an empty text, as in `FindQuery`."""
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return "" if value is None else value
