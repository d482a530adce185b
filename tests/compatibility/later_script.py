# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""What the official plugin got after version 4.0, in its style, as far as it is there.

A connection is what later versions tell handlers of DICOM requests, instead of two titles.
"""

import json
import os

import orthanc

CONNECTION = os.environ["FORM"] == "connection"
OK = orthanc.ErrorCode.SUCCESS
REASONS = getattr(orthanc, "StorageCommitmentFailureReason", None)
seen, there = [], []


def register(name, *functions):
    if hasattr(orthanc, name):
        try:
            getattr(orthanc, name)(*functions)
        except RuntimeError as e:  # the SDK has it, and Orthanc is older
            if "or newer" not in str(e):
                raise
        else:
            there.append(name)


def titles(peer):
    if not CONNECTION:
        return list(peer)
    (c,) = peer
    return [c.GetConnectionRemoteAet(), c.GetConnectionCalledAet(), c.GetConnectionRemoteIp()]


# Storage commitment


def commitment(jobId, transactionUid, sopClassUids, sopInstanceUids, *peer):
    kinds = [type(x).__name__ for x in (jobId, transactionUid, sopClassUids, sopInstanceUids)]
    seen.append([transactionUid, list(sopClassUids), list(sopInstanceUids), titles(peer), kinds])
    if transactionUid.endswith(".7"):
        raise Exception("commitment raises")
    if transactionUid.endswith(".8"):
        return None
    return {"known": ["1.2.3"], "asked": 0}


def is_stored(sopClassUid, sopInstanceUid, data):
    seen.append([sopClassUid, sopInstanceUid, json.dumps(data)])
    if data is None:
        return REASONS.DUPLICATE_TRANSACTION_UID
    data["asked"] += 1
    if sopInstanceUid in data["known"]:
        return REASONS.SUCCESS
    return REASONS.NO_SUCH_OBJECT_INSTANCE


# C-MOVE with a driver, C-FIND, worklists


class Transfer:
    def __init__(self, patient):
        self.patient, self.left = patient, 3


def create(*args, **request):
    seen.append(["create", sorted(request), titles(args) if CONNECTION else len(args)])
    if request["PatientID"] == "raise":
        raise Exception("create raises")
    return Transfer(request["PatientID"])


def get_size(transfer):
    seen.append(["size", transfer.left])
    return transfer.left


def apply(transfer):
    transfer.left -= 1
    seen.append(["apply", transfer.left])
    if transfer.patient == "fail":
        return orthanc.ErrorCode.NETWORK_PROTOCOL
    return OK


def free(transfer):
    seen.append(["free", transfer.left])


def find(answers, query, connection):
    seen.append(["find", query.GetFindQuerySize(), titles([connection])])
    flags = orthanc.CreateDicomFlags.NONE
    answers.FindAddAnswer(orthanc.CreateDicom(json.dumps({"PatientID": "found"}), None, flags))


def worklist(answers, query, connection):
    seen.append(["worklist", type(query).__name__, titles([connection])])
    flags = orthanc.CreateDicomFlags.NONE
    item = orthanc.CreateDicom(json.dumps({"PatientID": "next"}), None, flags)
    if query.WorklistIsMatch(item):
        answers.WorklistAddAnswer(query, item)


# Streamed answers


def stream(output, uri, **request):
    if not hasattr(orthanc.RestOutput, "StartStreamAnswer"):
        output.SendHttpStatusCode(501)
        return
    output.SetHttpHeader("X-Count", "5")
    output.StartStreamAnswer("text/csv")
    for number in range(5):
        output.SendStreamChunk(b"%d," % number * 1000)
    output.SendStreamChunk("end")


def look(output, uri, **request):
    output.AnswerBuffer(json.dumps([there, seen]), "application/json")
    del seen[:]


if CONNECTION:
    register("RegisterStorageCommitmentScpCallback2", commitment, is_stored)
    register("RegisterMoveCallback3", create, get_size, apply, free)
    register("RegisterFindCallback2", find)
    register("RegisterWorklistCallback2", worklist)
else:
    register("RegisterStorageCommitmentScpCallback", commitment, is_stored)
    register("RegisterMoveCallback2", create, get_size, apply, free)
orthanc.RegisterRestCallback("/stream", stream)
orthanc.RegisterRestCallback("/look", look)
