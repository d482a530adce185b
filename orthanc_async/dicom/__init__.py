"""Orthanc as a DICOM server of one's own: queries, worklists, retrieval, storage commitment.

Each decorator takes one handler in all scripts, `def` or `async def`, which answers instead of
Orthanc itself.
"""

from __future__ import annotations

from orthanc_async.dicom._answers import Answer
from orthanc_async.dicom._commitment import CommitmentRequest, Reference, storage_commitment
from orthanc_async.dicom._find import FindQuery, WorklistQuery, find, worklist
from orthanc_async.dicom._move import MoveRequest, SubOperation, SubOperations, move

__all__ = [
    "Answer",
    "CommitmentRequest",
    "FindQuery",
    "MoveRequest",
    "Reference",
    "SubOperation",
    "SubOperations",
    "WorklistQuery",
    "find",
    "move",
    "storage_commitment",
    "worklist",
]
