"""DICOM peers of an Orthanc, in this process: a client, and a receiver."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityWorklistInformationFind,
    MRImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

if TYPE_CHECKING:
    from types import TracebackType

AET = "PEER"
SUCCESS = 0x0000
PENDING = {0xFF00, 0xFF01}
UNABLE = 0xC000  # and what begins with C
SUBOPERATION_FAILED = 0xB000
_SECONDS = 30


@dataclass
class Move:
    """What a client sees of its C-MOVE request."""

    status: int
    progress: list[tuple[int, int]] = field(default_factory=list)  # (completed, remaining)


class Client:
    """A DICOM client of one Orthanc; each request has an association of its own."""

    def __init__(self, port: int, aet: str = AET) -> None:
        self.port = port
        self.aet = aet

    def _associate(self, model: str) -> Any:
        entity = AE(self.aet)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
        entity.add_requested_context(model)
        association = entity.associate("127.0.0.1", self.port, ae_title="ORTHANC")
        assert association.is_established
        return association

    def find(self, *, worklist: bool = False, **tags: Any) -> tuple[int, list[Dataset]]:
        """Send a C-FIND request; return its final status and the answers.

        Args:
            worklist: for worklists, not for studies.
            tags: what is asked.
        """
        model = StudyRootQueryRetrieveInformationModelFind
        model = ModalityWorklistInformationFind if worklist else model
        query = Dataset()
        if not worklist:
            query.QueryRetrieveLevel = "STUDY"
        for tag, value in tags.items():
            setattr(query, tag, value)
        association = self._associate(model)
        try:
            answers = []
            final = -1
            for status, answer in association.send_c_find(query, model):
                final = status.Status if "Status" in status else -1
                if final in PENDING:
                    answers.append(answer)
            return final, answers
        finally:
            association.release()

    def move(self, target: str, **tags: Any) -> Move:
        """Send a C-MOVE request for a study."""
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        for tag, value in tags.items():
            setattr(query, tag, value)
        model = StudyRootQueryRetrieveInformationModelMove
        association = self._associate(model)
        result = Move(-1)
        try:
            for status, _ in association.send_c_move(query, target, model):
                result.status = status.Status if "Status" in status else -1
                if result.status in PENDING:
                    completed = status.NumberOfCompletedSuboperations
                    remaining = status.NumberOfRemainingSuboperations
                    result.progress.append((completed, remaining))
        finally:
            association.release()
        return result

    def commit(self, transaction: str, instances: list[str]) -> int:
        """Ask whether instances are stored; the answer goes to the receiver. Return the status."""
        request = Dataset()
        request.TransactionUID = transaction
        request.ReferencedSOPSequence = [_reference(instance) for instance in instances]
        association = self._associate(StorageCommitmentPushModel)
        try:
            status, _ = association.send_n_action(
                request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
            code: int = status.Status
            return code
        finally:
            association.release()


class Receiver:
    """Takes images, and the reports of storage commitment."""

    def __init__(self) -> None:
        self.stored: list[str] = []  # SOPInstanceUID
        self.originators: list[str] = []
        self.reports: dict[str, dict[str, int]] = {}  # transaction -> {instance: reason or 0}
        self._changed = threading.Condition()
        entity = AE(AET)
        entity.add_supported_context(MRImageStorage)
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        handlers: Any = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_EVENT_REPORT, self._report)]
        server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self._server = server
        self.port: int = server.socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()

    @property
    def modality(self) -> list[Any]:
        """Its entry in Orthanc's DicomModalities."""
        return [AET, "127.0.0.1", self.port]

    def clear(self) -> None:
        """Forget what came."""
        self.stored.clear()
        self.originators.clear()

    def report(self, transaction: str) -> dict[str, int]:
        """Wait for a report; return the failure reason of each instance, 0 where there is none."""
        deadline = time.monotonic() + _SECONDS
        with self._changed:
            while transaction not in self.reports:
                left = deadline - time.monotonic()
                assert left > 0, f"no report of {transaction}"
                self._changed.wait(left)
            return self.reports[transaction]

    def _store(self, event: Any) -> int:
        self.stored.append(event.request.AffectedSOPInstanceUID)
        self.originators.append(event.request.MoveOriginatorApplicationEntityTitle or "")
        return SUCCESS

    def _report(self, event: Any) -> tuple[int, None]:
        information = event.event_information
        report = {
            item.ReferencedSOPInstanceUID: item.get("FailureReason", 0)
            for name in ("ReferencedSOPSequence", "FailedSOPSequence")
            for item in information.get(name, [])
        }
        with self._changed:
            self.reports[information.TransactionUID] = report
            self._changed.notify_all()
        return SUCCESS, None


def _reference(instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = MRImageStorage
    item.ReferencedSOPInstanceUID = instance
    return item
