# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A DICOM server by the SDK's own functions; the configuration chooses the forms."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orthanc

SETTINGS = json.loads(orthanc.GetConfiguration())
ASYNC = SETTINGS["Form"] == "async"
DRIVER = SETTINGS["Driver"]
seen: list[Any] = []
kept: dict[str, Any] = {}


def tag(query: Any, name: str) -> str:
    for index in range(query.GetFindQuerySize()):
        if query.GetFindQueryTagName(index) == name:
            value: str = query.GetFindQueryValue(index)
            return value
    return ""


def answer(query: Any, answers: Any, *peer: str) -> None:
    mode = tag(query, "PatientID")
    tags = [
        (query.GetFindQueryTagGroup(index), query.GetFindQueryTagElement(index))
        for index in range(query.GetFindQuerySize())
    ]
    seen.append([mode, tags, *peer])
    if mode == "raise":
        raise RuntimeError("find raises")
    if mode == "keep":
        kept.update(answers=answers, query=query)
    answers.FindAddAnswer(kept["dicom"])
    if mode == "incomplete":
        answers.FindMarkIncomplete()


def make_dicom() -> None:
    flags = orthanc.CreateDicomFlags.NONE
    kept["dicom"] = orthanc.CreateDicom(json.dumps({"PatientID": "7"}), None, flags)


make_dicom()
matcher = orthanc.CreateFindMatcher(kept["dicom"])
seen.append(["matcher", matcher.FindMatcherIsMatch(kept["dicom"])])


def find(answers: Any, query: Any, issuer: str, called: str, /) -> int:
    answer(query, answers, issuer, called)
    return 42  # means nothing


async def find_async(answers: Any, query: Any, issuer: str, called: str, /) -> int:
    await asyncio.sleep(0)
    if tag(query, "PatientID") == "wait":
        seen.append("waiting")
        await asyncio.sleep(600)
    answer(query, answers, issuer, called)
    await answers.find_mark_incomplete() if tag(query, "PatientID") == "incomplete" else None
    return 42


def worklist(answers: Any, query: Any, issuer: str, called: str, /) -> None:
    if query.WorklistIsMatch(kept["dicom"]):
        answers.WorklistAddAnswer(query, kept["dicom"])
    seen.append(["worklist", len(query.WorklistGetDicomQuery()) > 100, issuer, called])


async def worklist_async(answers: Any, query: Any, issuer: str, called: str, /) -> None:
    await asyncio.sleep(0)
    worklist(answers, query, issuer, called)


def move(**request: Any) -> None:
    seen.append(request)
    if request["PatientID"] == "raise":
        raise RuntimeError("move raises")


async def move_async(**request: Any) -> None:
    await asyncio.sleep(0)
    move(**request)


class Transfer:
    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.calls = 0


def create(**request: Any) -> Any:
    move(**request)
    seen.append("create")
    return None if request["PatientID"] == "none" else Transfer(request["PatientID"])


def size(transfer: Any, /) -> Any:
    seen.append("size")
    return {"size raises": lambda: 1 // 0, "size text": lambda: "2", "many": lambda: 1 << 16}.get(
        getattr(transfer, "mode", ""), lambda: 3
    )()


def apply(transfer: Any, /) -> Any:
    seen.append("apply")
    if transfer is None:
        return orthanc.ErrorCode.SUCCESS
    transfer.calls += 1
    if transfer.mode == "apply raises" and transfer.calls == 2:
        raise RuntimeError("apply raises")
    if transfer.mode == "apply fails" and transfer.calls == 2:
        return orthanc.ErrorCode.NETWORK_PROTOCOL
    return None if transfer.mode == "apply none" else orthanc.ErrorCode.SUCCESS


def free(transfer: Any, /) -> None:
    seen.append("free")


def to_async(function: Any) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return call


def factory(job: str, transaction: str, classes: Any, instances: Any, *peer: str) -> Any:
    seen.append([bool(job), transaction, classes, instances, *peer])
    if transaction.endswith("99"):
        raise RuntimeError("factory raises")


def lookup(sop_class: str, instance: str, data: Any, /) -> Any:
    seen.append([sop_class, instance, data])
    return orthanc.StorageCommitmentFailureReason.SUCCESS


if ASYNC:
    orthanc.RegisterFindCallback(find_async)
    orthanc.RegisterWorklistCallback(worklist_async)
    orthanc.RegisterStorageCommitmentScpCallback(to_async(factory), to_async(lookup))
else:
    orthanc.RegisterFindCallback(find)
    orthanc.RegisterWorklistCallback(worklist)
    orthanc.RegisterStorageCommitmentScpCallback(factory, lookup)
steps = (create, size, apply, free)
if DRIVER:
    orthanc.RegisterMoveCallback2(*(map(to_async, steps) if ASYNC else steps))
else:
    orthanc.RegisterMoveCallback(move_async if ASYNC else move)


def attempt(action: Any) -> str:
    try:
        return repr(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


SECOND = {
    "find": lambda: orthanc.RegisterFindCallback(worklist),
    "worklist": lambda: orthanc.RegisterWorklistCallback(worklist),
    "move": lambda: orthanc.RegisterMoveCallback(move),
    "driver": lambda: orthanc.RegisterMoveCallback2(*steps),
    "commitment": lambda: orthanc.RegisterStorageCommitmentScpCallback(factory, lookup),
    "no function": lambda: orthanc.RegisterMoveCallback2(create, size, 5, free),
}
seen.append({name: attempt(action) for name, action in SECOND.items()})


def on_rest(output: Any, uri: str, **_request: Any) -> None:
    result: Any
    if uri == "/ended":
        result = [
            attempt(lambda: kept["answers"].FindAddAnswer(kept["dicom"])),
            attempt(kept["query"].GetFindQuerySize),
        ]
    else:
        result = list(seen)
        seen.clear()
    output.AnswerBuffer(json.dumps(result), "application/json")


orthanc.RegisterRestCallback("/(seen|ended)", on_rest)
