# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A DICOM server in the official plugin's style."""

import json

import orthanc

seen = []


def add(*what):
    seen.append(what)


def on_find(answers, query, issuerAet, calledAet):
    tags = []
    for i in range(query.GetFindQuerySize()):
        tags.append(
            (
                query.GetFindQueryTagName(i),
                query.GetFindQueryTagGroup(i),
                query.GetFindQueryTagElement(i),
                query.GetFindQueryValue(i),
            )
        )
    add("find", tags, issuerAet, calledAet, type(answers).__name__, type(query).__name__)
    patient = [tag[3] for tag in tags if tag[0] == "PatientID"][0]
    if patient == "raise":
        raise Exception("find raises")
    if patient == "keyword":
        answers.FindAddAnswer(dicom=b"")
    if patient == "nonsense":
        return "nonsense"
    if patient == "no-dicom":
        answers.FindAddAnswer(b"nonsense")
    for number in range(3):
        answer = {"PatientID": "P%d" % number, "PatientName": "N^%d" % number}
        flags = orthanc.CreateDicomFlags.NONE
        answers.FindAddAnswer(orthanc.CreateDicom(json.dumps(answer), None, flags))


def on_worklist(answers, query, issuerAet, calledAet):
    dicom = query.WorklistGetDicomQuery()
    tags = json.loads(
        orthanc.DicomBufferToJson(
            dicom, orthanc.DicomToJsonFormat.SHORT, orthanc.DicomToJsonFlags.NONE, 0
        )
    )
    add("worklist", tags.get("0010,0020"), issuerAet, calledAet, type(dicom).__name__)
    if tags.get("0010,0020") == "raise":
        raise Exception("worklist raises")
    flags = orthanc.CreateDicomFlags.GENERATE_IDENTIFIERS
    for name in ("A^1", "B^2"):
        item = orthanc.CreateDicom(json.dumps({"PatientName": name}), None, flags)
        add("match", query.WorklistIsMatch(item))
        if query.WorklistIsMatch(item):
            answers.WorklistAddAnswer(query, item)


def on_move(**request):
    add("move", request)
    if request["PatientID"] == "raise":
        raise Exception("move raises")
    if request["PatientID"] == "nonsense":
        return 42


orthanc.RegisterFindCallback(on_find)
orthanc.RegisterWorklistCallback(on_worklist)
orthanc.RegisterMoveCallback(on_move)
for register in (
    orthanc.RegisterFindCallback,
    orthanc.RegisterWorklistCallback,
    orthanc.RegisterMoveCallback,
):
    try:
        register(on_find)
    except Exception as e:
        add("twice", type(e).__name__)


def on_seen(output, uri, **request):
    output.AnswerBuffer(json.dumps(seen, sort_keys=True), "application/json")
    del seen[:]


orthanc.RegisterRestCallback("/seen", on_seen)
