# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: what users of the REST API and the browser get."""

import csv
import datetime
import io
import json
import os
import sys

sys.path.append(os.environ["PACKAGES_OF_THE_SCRIPT"])

import openpyxl  # noqa: E402

import orthanc  # noqa: E402

# Who may do what; who does not say who he is, may do everything.
METHODS = {
    orthanc.HttpMethod.GET: "GET",
    orthanc.HttpMethod.POST: "POST",
    orthanc.HttpMethod.PUT: "PUT",
    orthanc.HttpMethod.DELETE: "DELETE",
}
READERS, refused = {"Bearer reader", "Bearer second reader"}, []

orthanc.RegisterDictionaryTag(
    0x0009, 0x1011, orthanc.ValueRepresentation.LO, "NameOfTheWard", 1, 1
)
orthanc.RegisterPrivateDictionaryTag(
    0x0011, 0x1012, orthanc.ValueRepresentation.SH, "Colour", 1, 2, "WARDS"
)
orthanc.ExtendOrthancExplorer("$('#wards').remove();")  # what comes last takes its place


def answer(output, value):
    output.AnswerBuffer(json.dumps(value, indent=1), "application/json")


def allowed(uri, **request):
    """Let readers read, and nobody who lies see anything."""
    who = request["headers"].get("authorization")
    if who is None:
        return True
    if who in READERS and METHODS[request["method"]] == "GET" and uri != "/statistics":
        return request["get"].get("secret") is None
    if who == "Bearer of bad news":
        raise ValueError("does not know this one")
    if who == "Bearer of nothing":
        return None
    if who == "Bearer of a number":
        return 7
    refused.append(
        [uri, int(request["method"]), request.get("get"), type(request["ip"]).__name__, who]
    )
    return False


def tell_refused(output, uri, **request):
    answer(output, refused)


def find(output, uri, **request):
    """Let /tools/find look at metadata too, and give pages of what is left, sorted."""
    if request["method"] != "POST":
        output.SendMethodNotAllowed("POST")
        return
    query = json.loads(request["body"])
    wanted = query.pop("Metadata", {})
    first, count = query.pop("From", 0), query.pop("Count", None)
    key = query.pop("SortBy", None)
    level = {"Patient": "patients", "Study": "studies", "Series": "series"}.get(query["Level"])
    plain = not (wanted or first or count or key) or level is None
    if plain:
        output.AnswerBuffer(
            orthanc.RestApiPost("/tools/find", request["body"]), "application/json"
        )
        return
    expand, query["Expand"] = query.get("Expand", False), True
    kept = []
    for found in json.loads(orthanc.RestApiPost("/tools/find", json.dumps(query))):
        path = "/%s/%s/metadata?expand" % (level, found["ID"])
        metadata = json.loads(orthanc.RestApiGet(path))
        if all(metadata.get(name) == value for name, value in wanted.items()):
            kept.append(found)
    kept.sort(key=lambda found: found["MainDicomTags"].get(key or "", found["ID"]))
    page = kept[first:] if count is None else kept[first : first + count]
    output.SetHttpHeader("X-Total", str(len(kept)))
    answer(output, page if expand else [found["ID"] for found in page])


def table():
    """Give a line for each study, the oldest first."""
    lines = []
    for study in json.loads(orthanc.RestApiGet("/studies")):
        found = json.loads(orthanc.RestApiGet("/studies/%s" % study))
        counts = json.loads(orthanc.RestApiGet("/studies/%s/statistics" % study))
        tags, patient = found["MainDicomTags"], found["PatientMainDicomTags"]
        lines.append(
            (
                tags.get("StudyDate", ""),
                patient.get("PatientID", ""),
                patient.get("PatientName", ""),
                tags.get("StudyDescription", ""),
                len(found["Series"]),
                counts["CountInstances"],
            )
        )
    return sorted(lines)


HEADINGS = ("Date", "Patient", "Name", "Study", "Series", "Instances")


def spreadsheet(output, uri, **request):
    """Answer the table of studies as a workbook, or as text when asked so."""
    if request["groups"][0] == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([HEADINGS, *table()])
        output.SetHttpHeader("Content-Disposition", 'attachment; filename="studies.csv"')
        output.AnswerBuffer(text.getvalue(), "text/csv")
        return
    book = openpyxl.Workbook()
    book.properties.created = book.properties.modified = datetime.datetime(2000, 1, 1)
    sheet = book.active
    sheet.title = "Studies"
    for line in (HEADINGS, *table()):
        sheet.append(line)
    sheet.column_dimensions["C"].width = 40
    file = io.BytesIO()
    book.save(file)
    output.SetHttpHeader("Content-Disposition", 'attachment; filename="studies.xlsx"')
    output.AnswerBuffer(
        file.getvalue(), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    )


def system(output, uri, **request):
    """Add to what a built-in route answers."""
    found = json.loads(orthanc.RestApiGet(uri))
    found["Ward"] = {"asked with": request["method"], "query": request.get("get")}
    answer(output, found)


def keep(output, uri, **request):
    """Extend the REST API by a resource that can be written, read and deleted."""
    (name,) = request["groups"]
    if request["method"] == "PUT":
        notes[name] = request["body"]
        output.AnswerBuffer("{}", "application/json")
    elif request["method"] == "GET" and name in notes:
        output.AnswerBuffer(notes[name], "text/plain")
    elif request["method"] == "DELETE" and notes.pop(name, None) is not None:
        output.AnswerBuffer("", "text/plain")
    elif request["method"] in ("GET", "DELETE"):
        output.SetHttpErrorDetails("no such note", 1)
        output.SendHttpStatusCode(404)
    else:
        output.SendMethodNotAllowed("GET,PUT,DELETE")


notes = {}


def lookup(name):
    try:
        return orthanc.LookupDictionary(name)
    except TypeError:
        return "unknown"


def dictionary(output, uri, **request):
    names = ["PatientID", "0010,0010", "0010-0010", "00100010", "NameOfTheWard", "PixelData"]
    names += ["StudyInstanceUID", "Colour", "0011,1012", "no such tag", "patientid", ""]
    answer(
        output,
        {
            "found": {name: lookup(name) for name in names},
            "tag": orthanc.GetTagName(0x0010, 0x0020, ""),
            "own": orthanc.GetTagName(0x0009, 0x1011, ""),
            "private": orthanc.GetTagName(0x0011, 0x1012, "WARDS"),
        },
    )


def create(output, uri, **request):
    """Make DICOM from tags, with and without an image; store it, tell what is in it."""
    pixels = bytes(range(12)) * 3
    tags = {
        "PatientID": "made",
        "PatientName": "M\u00fcller^J\u00f6rg",
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
        "NameOfTheWard": "North",
        "OtherPatientIDsSequence": [{"PatientID": "other", "TypeOfPatientID": "TEXT"}],
    }
    image = orthanc.CreateImageFromBuffer(orthanc.PixelFormat.RGB24, 4, 3, 12, pixels)
    wide = orthanc.CreateImageFromBuffer(orthanc.PixelFormat.GRAYSCALE16, 6, 3, 12, pixels)
    none, ids = orthanc.CreateDicomFlags.NONE, orthanc.CreateDicomFlags.GENERATE_IDENTIFIERS
    uris = orthanc.CreateDicomFlags.DECODE_DATA_URI_SCHEME
    uid = {"SOPInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2", "StudyInstanceUID": "1"}
    png = orthanc.CompressPngImage(orthanc.PixelFormat.RGB24, 4, 3, 12, pixels)
    given = orthanc.UncompressImage(png, orthanc.ImageFormat.PNG)
    with_uri = {"PixelData": "data:application/octet-stream;base64,AAEC", "Rows": "1"}
    made = {
        "without": orthanc.CreateDicom(json.dumps({**tags, **uid}), None, none),
        "identified": orthanc.CreateDicom(json.dumps(tags), None, ids),
        "colour": orthanc.CreateDicom(json.dumps(tags), image, ids),
        "from a file": orthanc.CreateDicom(json.dumps(tags), given, ids),
        "wide": orthanc.CreateDicom(json.dumps(tags), wide, ids),
        "data": orthanc.CreateDicom(json.dumps({**tags, **with_uri}), None, ids | uris),
    }
    found = {}
    for name, dicom in made.items():
        stored = json.loads(orthanc.RestApiPost("/instances", dicom))
        path = "/instances/%s/" % stored["ID"]
        seen = json.loads(orthanc.RestApiGet(path + "tags?short"))
        kept = {
            tag: value
            for tag, value in seen.items()
            if tag[5:9] not in ("0018", "000d", "000e") or name == "without"
        }
        found[name] = {
            "type": type(dicom).__name__,
            "tags": kept,
            "syntax": str(orthanc.CreateDicomInstance(dicom).GetInstanceTransferSyntaxUid()),
            "image": name in ("colour", "from a file", "wide")
            and orthanc.RestApiGet(path + "preview").hex(),
        }
    for name, wrong in {"no JSON": "{", "no tag": '{"NoSuchTag": "x"}', "a list": "[]"}.items():
        try:
            found[name] = [type(orthanc.CreateDicom(wrong, None, none)).__name__]
        except Exception as error:
            found[name] = type(error).__name__
    answer(output, found)


def jump(output, uri, **request):
    """Lead the browser from the study's page to its place in the spreadsheet."""
    output.Redirect("../spreadsheet/csv")


with open("button.js") as file:
    orthanc.ExtendOrthancExplorer(file.read())
orthanc.RegisterIncomingHttpRequestFilter(allowed)
orthanc.RegisterRestCallback("/refused", tell_refused)
orthanc.RegisterRestCallback("/tools/find", find)
orthanc.RegisterRestCallback("/spreadsheet/(csv|xlsx)", spreadsheet)
orthanc.RegisterRestCallback("/system", system)
orthanc.RegisterRestCallback("/notes/([a-z]+)", keep)
orthanc.RegisterRestCallback("/dictionary", dictionary)
orthanc.RegisterRestCallback("/create", create)
orthanc.RegisterRestCallback("/jump/.*", jump)
orthanc.SetRootUri("spreadsheet/csv")
orthanc.SetDescription("Studies in a table")
