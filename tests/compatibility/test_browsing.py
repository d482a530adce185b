"""Scripts for users of the REST API and of the browser, on both plugins."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pydicom
import pytest

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter
    from integration.conftest import Answer

SCRIPT = Path(__file__).with_name("browsing_script.py")
# The environment with the packages of the script: the one that runs these tests.
PACKAGES = str(Path(openpyxl.__file__).parents[1])
BUTTON = """
$('#study').live('pagebeforeshow', function() {
  $('#to-table').remove();
  $('<a>', {id: 'to-table', href: '../jump/x', text: 'Gr\u00f6\u00dfe'})
    .insertBefore('#study-info');
});
"""
STUDIES = 5


def study(number: int) -> bytes:
    """Give the only instance of a study, each of another patient and day."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = f"1.2.3.{number}.1.1"
    dataset.SeriesInstanceUID = f"1.2.3.{number}.1"
    dataset.StudyInstanceUID = f"1.2.3.{number}"
    dataset.PatientID, dataset.PatientName = f"P{number}", f"Name^{number}"
    dataset.StudyDate = f"2020010{9 - number}"
    dataset.StudyDescription = 'a "quoted", one'
    dataset.Modality = "OT"
    file = io.BytesIO()
    pydicom.dcmwrite(file, with_meta(dataset), enforce_file_format=True)
    return file.getvalue()


def with_meta(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """Add the file's own header."""
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    return dataset


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter) -> Pair:
    """Both plugins with the same script and the same studies, every other one marked."""
    text, servers = SCRIPT.read_text("utf-8"), []
    for start in (ours, official):
        server = start(
            text,
            {"button.js": BUTTON},
            environment={"PACKAGES_OF_THE_SCRIPT": PACKAGES},
            config={"UserMetadata": {"Mark": 1100}, "StableAge": 3600},
        )
        for number in range(STUDIES):
            parent = server.upload(study(number))["ParentStudy"]
            if number % 2 == 0:
                path = f"/studies/{parent}/metadata/Mark"
                assert server.http.put(path, "gr\u00fcn").status == 200
        servers.append(server)
    return servers[0], servers[1]


def both(pair: Pair, method: str, path: str, *rest: Any, **more: Any) -> Answer:
    """Ask both, and compare what a client sees; return our answer."""
    mine, other = (server.http.request(method, path, *rest, **more) for server in pair)
    named = ("Content-Type", "Content-Disposition", "Allow", "X-Total", "Location")
    for answer in (mine, other):
        assert answer.status < 500 or more.get("headers"), answer.text
    assert mine.status == other.status
    assert [mine.headers[name] for name in named] == [other.headers[name] for name in named]
    assert settled(mine) == settled(other)
    return mine


def settled(answer: Answer) -> bytes:
    """Give the body without the moment of the upload."""
    return re.sub(rb'("LastUpdate" ?: )"\w+"', rb"\1TIME", answer.body)


def find(pair: Pair, **query: Any) -> Answer:
    """Ask both for studies."""
    body = json.dumps({"Level": "Study", "Query": {}, **query})
    return both(pair, "POST", "/tools/find", body)


def test_metadata_filter(pair: Pair) -> None:
    """The overridden /tools/find finds by metadata, and by tags as ever."""
    marked = find(pair, Metadata={"Mark": "gr\u00fcn"}, Expand=True, SortBy="StudyDate").json()
    assert [found["PatientMainDicomTags"]["PatientID"] for found in marked] == ["P4", "P2", "P0"]
    assert find(pair, Metadata={"Mark": "red"}).json() == []
    [one] = find(pair, Query={"PatientID": "P3"}, Expand=True, Metadata={}, From=0).json()
    assert one["MainDicomTags"]["StudyDate"] == "20200106"
    mixed = find(pair, Query={"PatientID": "P3"}, Metadata={"Mark": "gr\u00fcn"})
    assert mixed.json() == []


def test_paging(pair: Pair) -> None:
    """Pages of the sorted results, with their number in a header."""
    pages = [
        find(pair, SortBy="StudyDate", From=start, Count=2, Expand=True) for start in (0, 2, 4, 6)
    ]
    assert {page.headers["X-Total"] for page in pages} == {str(STUDIES)}
    dates = [[found["MainDicomTags"]["StudyDate"][-1] for found in page.json()] for page in pages]
    assert dates == [["5", "6"], ["7", "8"], ["9"], []]


def test_find_otherwise(pair: Pair) -> None:
    """What the script does not add is the original's: other levels, errors; GET is refused."""
    plain = [server.http.post("/tools/find", '{"Level":"Series","Query":{}}') for server in pair]
    assert [(answer.status, len(answer.json())) for answer in plain] == [(200, STUDIES)] * 2
    assert both(pair, "GET", "/tools/find").status == 405
    wrong = [server.http.post("/tools/find", '{"Level":"Study"}').status for server in pair]
    assert wrong[0] == wrong[1] >= 400


def test_spreadsheet(pair: Pair) -> None:
    """A route gives the studies as text and as a workbook."""
    text = both(pair, "GET", "/spreadsheet/csv").text
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0][-1] == "Instances"
    assert lines[1] == ["20200105", "P4", "Name^4", 'a "quoted", one', "1", "1"]
    files = [server.http.get("/spreadsheet/xlsx") for server in pair]
    books = [openpyxl.load_workbook(io.BytesIO(file.body)) for file in files]
    tables = [list(book["Studies"].iter_rows(values_only=True)) for book in books]
    assert tables[0] == tables[1]
    assert len(tables[0]) == STUDIES + 1
    assert files[0].headers["Content-Type"] == files[1].headers["Content-Type"]


def test_extended_rest(pair: Pair) -> None:
    """A resource of the script's own is written, read and deleted; errors carry their details."""
    assert both(pair, "GET", "/notes/a").status == 404
    assert both(pair, "PUT", "/notes/a", b"\x00bytes").status == 200
    assert both(pair, "GET", "/notes/a").body == b"\x00bytes"
    assert both(pair, "POST", "/notes/a", "x").headers["Allow"] == "GET,PUT,DELETE"
    assert both(pair, "DELETE", "/notes/a").status == 200
    assert both(pair, "DELETE", "/notes/a").status == 404
    assert both(pair, "GET", "/notes/A").status == 404


def test_overridden_rest(pair: Pair) -> None:
    """A built-in route answers what it did, and what the script adds."""
    mine, other = (server.http.get("/system?x=1").json() for server in pair)
    assert mine.keys() == other.keys() >= {"Version", "Ward"}
    assert mine["Ward"] == other["Ward"] == {"asked with": "GET", "query": {"x": "1"}}


READER = {"Authorization": "Bearer reader"}
REQUESTS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "reader reads": ("GET", "/notes/a", READER, 404),
    "reader reads what is built in": ("GET", "/studies", READER, 200),
    "reader's query": ("GET", "/studies?secret=1", READER, 403),
    "reader writes": ("PUT", "/notes/a", READER, 403),
    "reader deletes": ("DELETE", "/studies/x", READER, 403),
    "reader posts": ("POST", "/tools/find?a=1", READER, 403),
    "reader and statistics": ("GET", "/statistics", READER, 403),
    "stranger": ("GET", "/system", {"AUTHORIZATION": "Bearer Fr\u00e4ulein"}, 403),
    "nobody": ("GET", "/statistics", {}, 200),
}


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS.keys())
def test_authorization(pair: Pair, case: tuple[str, str, dict[str, str], int]) -> None:
    """The script's filter lets pass and refuses by method, path, query and header."""
    method, path, headers, status = case
    body = "{}" if method in {"PUT", "POST"} else None
    before = [len(server.http.get("/refused").json()) for server in pair]
    answers = [server.http.request(method, path, body, headers=headers) for server in pair]
    assert [answer.status for answer in answers] == [status, status]
    mine, other = (
        server.http.get("/refused").json()[count:]
        for server, count in zip(pair, before, strict=True)
    )
    assert mine == other
    assert len(mine) == (status == 403 and "secret" not in path)


@pytest.mark.parametrize("who", ["Bearer of bad news", "Bearer of nothing", "Bearer of a number"])
def test_failing_filter(pair: Pair, who: str) -> None:
    """A filter that raises or returns nonsense refuses, as an error."""
    for server in pair:
        assert server.http.get("/studies", headers={"Authorization": who}).status == 500


def test_explorer(pair: Pair) -> None:
    """Orthanc Explorer gets the JavaScript that the script gave last; the button leads on."""
    bodies = []
    for server in pair:
        file = server.http.get("/plugins/explorer.js")
        assert (file.status, file.headers["Content-Type"]) == (200, "application/javascript")
        bodies.append(file.text[file.text.index("**/") :].strip())
    assert bodies[0] == bodies[1]
    assert BUTTON.strip() in bodies[0]
    assert "wards" not in bodies[0]
    assert both(pair, "GET", "/jump/x").headers["Location"] == "../spreadsheet/csv"


def test_plugin_page(pair: Pair) -> None:
    """The list of plugins shows the description, and where its page is."""
    [mine], [other] = (
        [name for name in server.http.get("/plugins").json() if name != "explorer.js"]
        for server in pair
    )
    pages = [
        server.http.get(f"/plugins/{name}").json()
        for server, name in zip(pair, (mine, other), strict=True)
    ]
    for page in pages:
        assert page["Description"] == "Studies in a table"
        assert page["RootUri"].endswith("spreadsheet/csv")
    assert pages[0]["RootUri"] == pages[1]["RootUri"]


def test_dictionary(pair: Pair) -> None:
    """Tags are found by name and by number; one that is unknown raises TypeError."""
    mine, other = (server.http.get("/dictionary").json() for server in pair)
    assert mine == other
    found = mine.pop("found")
    assert mine == {"tag": "PatientID", "own": "NameOfTheWard", "private": "Colour"}
    assert found["PatientID"] == {
        "Group": 0x10,
        "Element": 0x20,
        "ValueRepresentation": 11,  # LO
        "MinMultiplicity": 1,
        "MaxMultiplicity": 1,
    }
    assert found["no such tag"] == "unknown"


WRONG = ("no JSON", "no tag", "a list")


def test_create(pair: Pair) -> None:
    """DICOM is made from tags, with an image of Orthanc's or without, and stored.

    Where that fails, the official plugin 4.0 raises a ValueError, and 7.1 what ours raises.
    """
    answers = [server.http.get("/create") for server in pair]
    assert [answer.status for answer in answers] == [200, 200], answers[0].text
    mine, other = (answer.json() for answer in answers)
    for wrong in WRONG:
        assert mine.pop(wrong) == "OrthancException"
        assert other.pop(wrong) in {"ValueError", "OrthancException"}
    for key, value in other.items():
        assert (key, mine[key]) == (key, value)
    assert mine["colour"]["tags"]["0028,0002"] == "3"
    assert mine["colour"]["image"] == mine["from a file"]["image"]
    assert mine["without"]["tags"]["0008,0018"] == "1.2.3"
    assert mine["without"]["tags"]["0010,0010"] == "M\u00fcller^J\u00f6rg"
