# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A DICOM server in the official plugin's style: the forms with more arguments."""

import json
import os

import orthanc

REGISTER = os.environ["REGISTER"].split()
seen = []
reason = orthanc.StorageCommitmentFailureReason


def who(peer):
    """Describe the other side: two titles, or a connection."""
    if isinstance(peer[0], str):
        return list(peer)
    (connection,) = peer
    return [
        connection.GetConnectionRemoteAet(),
        connection.GetConnectionCalledAet(),
        connection.GetConnectionRemoteIp(),
    ]


def find(answers, query, *peer):
    tags = {
        query.GetFindQueryTagName(i): query.GetFindQueryValue(i)
        for i in range(query.GetFindQuerySize())
    }
    seen.append(["find", tags, who(peer)])
    if tags["PatientID"] == "raise":
        raise Exception("find raises")
    item = json.dumps({"PatientID": "1", "StudyDate": "20260101"})
    answers.FindAddAnswer(orthanc.CreateDicom(item, None, orthanc.CreateDicomFlags.NONE))


def worklist(answers, query, *peer):
    seen.append(["worklist", len(query.WorklistGetDicomQuery()) > 100, who(peer)])
    item = json.dumps({"PatientID": "2"})
    dicom = orthanc.CreateDicom(item, None, orthanc.CreateDicomFlags.GENERATE_IDENTIFIERS)
    if query.WorklistIsMatch(dicom):
        answers.WorklistAddAnswer(query, dicom)


class Transfer:
    def __init__(self, patient):
        self.patient = patient
        self.calls = 0


def create(*peer, **request):
    seen.append(["create", request, who(peer) if peer else None])
    if request["PatientID"] == "raise":
        raise Exception("move raises")
    return Transfer(request["PatientID"])


def size(transfer):
    seen.append(["size", transfer.patient])
    return 3


def apply(transfer):
    transfer.calls += 1
    seen.append(["apply", transfer.calls])
    if transfer.patient == "fail":
        return orthanc.ErrorCode.PLUGIN
    return orthanc.ErrorCode.SUCCESS


def free(transfer):
    seen.append(["free", transfer.calls])


def factory(job, transaction, classes, instances, *peer):
    seen.append(["factory", len(job), transaction, classes, instances, who(peer)])
    return None if transaction.endswith("1") else {"known": instances[0]}


def lookup(sop_class, instance, data):
    seen.append(["lookup", sop_class, instance, data])
    if data is None:
        return reason.NO_SUCH_OBJECT_INSTANCE
    return reason.SUCCESS if data["known"] == instance else reason.CLASS_INSTANCE_CONFLICT


HANDLERS = {
    "RegisterFindCallback": [find],
    "RegisterFindCallback2": [find],
    "RegisterWorklistCallback": [worklist],
    "RegisterWorklistCallback2": [worklist],
    "RegisterMoveCallback2": [create, size, apply, free],
    "RegisterMoveCallback3": [create, size, apply, free],
    "RegisterStorageCommitmentScpCallback": [factory, lookup],
    "RegisterStorageCommitmentScpCallback2": [factory, lookup],
}
for name in REGISTER:
    getattr(orthanc, name)(*HANDLERS[name])


def on_seen(output, uri, **request):
    output.AnswerBuffer(json.dumps(seen, sort_keys=True), "application/json")
    del seen[:]


orthanc.RegisterRestCallback("/seen", on_seen)
