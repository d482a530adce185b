"""Storage commitment: telling modalities whether their instances are safe here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, overload

import orthanc
from orthanc_async import _registry, _waited
from orthanc_async.dicom import _handlers

if TYPE_CHECKING:
    from collections.abc import Callable

    _Commit = TypeVar("_Commit", bound=Callable[["CommitmentRequest", "Reference"], Any])


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """One instance that a modality asks about.

    Attributes:
        sop_class_uid: Its SOPClassUID.
        sop_instance_uid: Its SOPInstanceUID.
    """

    sop_class_uid: str
    sop_instance_uid: str


@dataclasses.dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """A storage commitment request.

    Attributes:
        job_id: Orthanc's job that handles it.
        transaction_uid: The number that the modality gave it.
        references: All instances that the modality asks about.
        remote_aet: The application entity title of the modality.
        called_aet: The title by which Orthanc was called.
        remote_ip: The modality's address; None before Orthanc 1.12.10.
        state: For the handler's own use, from one instance of the request to the next.
    """

    job_id: str
    transaction_uid: str
    references: tuple[Reference, ...]
    remote_aet: str
    called_aet: str
    remote_ip: str | None
    state: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)


@overload
def storage_commitment(handler: _Commit, /) -> _Commit: ...
@overload
def storage_commitment(*, timeout: float = ...) -> Callable[[_Commit], _Commit]: ...
def storage_commitment(handler: Any = None, /, *, timeout: float = 30) -> Any:
    """Answer storage commitment requests by a function, instead of Orthanc itself.

    The handler is called for each instance of a request, with the `CommitmentRequest` and the
    `Reference`. It returns None to vouch for the instance, or an
    `orthanc.StorageCommitmentFailureReason`. An instance for which it raises, takes too long or
    returns anything else is reported as PROCESSING_FAILURE: the modality keeps its copy.

    Args:
        handler: `def` or `async def`.
        timeout: Seconds that an `async def` handler may take for one instance.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take these two.
        ValueError: The timeout is not finite and above 0.
        RuntimeError: Another handler is registered.

    SDK function: OrthancPluginRegisterStorageCommitmentScpCallback().
    """
    name = "dicom.storage_commitment"
    _waited.check_timeout(timeout, name)

    def decorate(handler: Any) -> Any:
        _registry.check_handler(handler, name, "request", "reference")
        factory, lookup = _wrap_async(handler) if _registry.is_async(handler) else _wrap(handler)
        for call in (factory, lookup):
            _waited.name_for_host(call, handler, name, timeout)
        _handlers.register(
            "RegisterStorageCommitmentScpCallback",
            "RegisterStorageCommitmentScpCallback2",
            factory,
            lookup,
        )
        return handler

    return decorate if handler is None else decorate(handler)


def _wrap(handler: Any) -> tuple[Any, Any]:
    def factory(*request: Any) -> CommitmentRequest:
        return _request(*request)

    def lookup(sop_class: str, instance: str, request: CommitmentRequest) -> Any:
        return _reason(handler(request, Reference(sop_class, instance)))

    return factory, lookup


def _wrap_async(handler: Any) -> tuple[Any, Any]:
    async def factory(*request: Any) -> CommitmentRequest:
        return _request(*request)

    async def lookup(sop_class: str, instance: str, request: CommitmentRequest) -> Any:
        return _reason(await handler(request, Reference(sop_class, instance)))

    return factory, lookup


def _request(
    job: str, transaction: str, classes: list[str], instances: list[str], *peer: Any
) -> CommitmentRequest:
    references = tuple(Reference(*pair) for pair in zip(classes, instances, strict=True))
    return CommitmentRequest(job, transaction, references, *_handlers.peer_of(peer))


def _reason(result: object) -> object:
    """Vouch for what the handler has no reason against; the host refuses other nonsense."""
    return orthanc.StorageCommitmentFailureReason.SUCCESS if result is None else result
