# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A DICOM server by decorators; the configuration says whether its handlers are async."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import orthanc
import pydicom
from orthanc_async import dicom, rest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

FORM = json.loads(orthanc.GetConfiguration())["Form"]
seen: list[Any] = []
Reason = orthanc.StorageCommitmentFailureReason


def dataset() -> pydicom.Dataset:
    answer = pydicom.Dataset()
    answer.SpecificCharacterSet = "ISO_IR 192"
    answer.PatientName = "Dataset^Ł"
    answer.PatientID = "2"
    return answer


def find_answers(query: dicom.FindQuery) -> list[Any]:
    seen.append([query.level, query.tags, query.issuer_aet, query.called_aet])
    mode = query.tags["PatientID"]
    if mode == "raise":
        raise RuntimeError("find raises")
    if mode == "nonsense":
        return [42]
    return [{"PatientID": 1, "PatientName": "Müller^Ł"}, dataset()]


def items(query: dicom.WorklistQuery) -> list[Any]:
    seen.append([query.tags, query.dataset.PatientID])
    if query.tags["PatientID"] == "raise":
        raise RuntimeError("worklist raises")
    return [
        {
            "PatientID": str(number),
            "PatientName": f"Work^{number}",
            "ScheduledProcedureStepSequence": [
                {"Modality": "MR" if number % 2 else "CT", "ScheduledStationAETitle": "PEER"}
            ],
        }
        for number in range(4)
    ]


def reason(request: dicom.CommitmentRequest, reference: dicom.Reference) -> Any:
    seen.append([request.transaction_uid, request.remote_aet, len(request.references)])
    request.state["calls"] = request.state.get("calls", 0) + 1
    last = reference.sop_instance_uid.rpartition(".")[2]
    if last == "5":
        raise RuntimeError("commitment raises")
    return {"3": None, "4": Reason.NO_SUCH_OBJECT_INSTANCE, "6": False, "7": 4711}[last]


def send_nothing() -> None:
    seen.append("called")


def fail() -> None:
    raise RuntimeError("sub-operation raises")


async def called() -> None:
    seen.append("awaited")


def sub_operations(request: dicom.MoveRequest, stored: list[str]) -> Any:
    seen.append([request.level, request.originator_aet, request.target_aet, request.source_aet])
    mode = request.patient_id
    if mode == "raise":
        raise RuntimeError("move raises")
    if mode == "fail":
        return [send_nothing, fail, send_nothing]
    return {
        "none": None,
        "ids": stored,
        "functions": [send_nothing, called],
        "iterator": iter([send_nothing, called]),
        "counted": dicom.SubOperations(2, iter(stored[:2])),
        "short": dicom.SubOperations(3, stored[:1]),
        "nonsense": 42,
    }[mode]


if FORM == "async":

    @dicom.find(timeout=2)
    async def find(query: dicom.FindQuery) -> AsyncIterator[Any]:
        if query.tags["PatientID"] == "slow":
            await asyncio.sleep(600)
        for answer in find_answers(query):
            await asyncio.sleep(0)
            yield answer

    @dicom.worklist
    async def worklist(query: dicom.WorklistQuery) -> list[Any]:
        await asyncio.sleep(0)
        return items(query)

    @dicom.move
    async def move(request: dicom.MoveRequest) -> Any:
        if request.patient_id == "bytes":
            stored = json.loads(await orthanc.rest_api_get("/instances"))
            return [await orthanc.get_dicom_for_instance(stored[0])]
        if not request.patient_id:
            return await request.instances()
        return sub_operations(request, json.loads(await orthanc.rest_api_get("/instances")))

    @dicom.storage_commitment
    async def commitment(request: dicom.CommitmentRequest, reference: dicom.Reference) -> Any:
        await asyncio.sleep(0)
        return reason(request, reference)

else:

    @dicom.find
    def find(query: dicom.FindQuery) -> Iterator[Any]:
        yield from find_answers(query)

    @dicom.worklist()
    def worklist(query: dicom.WorklistQuery) -> list[Any]:
        return items(query)

    @dicom.move
    def move(request: dicom.MoveRequest) -> Any:
        stored = json.loads(orthanc.RestApiGet("/instances"))
        if request.patient_id == "bytes":
            return [orthanc.GetDicomForInstance(stored[0])]
        if not request.patient_id:
            return json.loads(
                orthanc.RestApiPost(
                    "/tools/find",
                    json.dumps(
                        {
                            "Level": "Instance",
                            "Query": {"StudyInstanceUID": request.study_instance_uid},
                        }
                    ),
                )
            )
        return sub_operations(request, stored)

    @dicom.storage_commitment
    def commitment(request: dicom.CommitmentRequest, reference: dicom.Reference) -> Any:
        return reason(request, reference)


@rest.get("/seen")
async def show(_request: rest.Request) -> list[Any]:
    result = list(seen)
    seen.clear()
    return result
