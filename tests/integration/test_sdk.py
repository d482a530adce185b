"""SDK functions: blocking and awaited alike, from every kind of thread, and their errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("sdk_script.py")
ORTHANC_ERRORS = (
    "Exception while invoking plugin service|Cannot parse JSON|HttpClient|Bad request|regular file"
)


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with the calls of the script."""
    return shared_orthanc(SCRIPT, errors=[ORTHANC_ERRORS])


@pytest.fixture(scope="module")
def stored(server: Orthanc, dicom_file: Path) -> str:
    """What the script's calls are filled in with."""
    dicom = pydicom.dcmread(dicom_file)
    instance = server.upload(dicom_file)["ID"]
    return f"{instance} {dicom.PatientID} {dicom.SOPInstanceUID} {server.http_port}"


@pytest.fixture(scope="module")
def calls(server: Orthanc, stored: str) -> dict[str, list[tuple[list[str], str]]]:
    """The outcome of each call, by the way it was called."""
    names = server.http.get("/call/names").json()
    found = {}
    for way in ("blocking", "awaited", "thread", "own-loop"):
        answer = server.http.post(f"/call/{way}", stored)
        assert answer.status == 200, answer.text
        found[way] = list(zip(names, answer.json(), strict=True))
    return found


@pytest.mark.parametrize("way", ["awaited", "thread", "own-loop"])
def test_same_outcome(calls: dict[str, Any], way: str) -> None:
    """Awaited, and from threads and loops of the script's own, a call gives the same."""
    for (name, here), (_, blocking) in zip(calls[way], calls["blocking"], strict=True):
        if way == "thread":
            assert (name, here) == (name, blocking)
            continue
        if here.startswith("TypeError") and "argument" in here:
            # A wrong number of arguments is told in Python's own words there.
            assert blocking.startswith("TypeError")
            continue
        # Only the function's own name differs.
        function = name[0]
        twin = "".join(f"_{c.lower()}" if c.isupper() else c for c in function).lstrip("_")
        assert (name, here.replace(twin, function)) == (name, blocking.replace(twin, function))


def outcome(calls: dict[str, Any], *call: Any) -> str:
    """Return the outcome of one call of the script's list."""
    wanted = [call[0], *map(ascii, call[1:])]
    return next(str(found) for name, found in calls["blocking"] if name == wanted)


def test_results(calls: dict[str, Any]) -> None:
    """Results have the official types."""
    assert outcome(calls, "RestApiGet", "/instances/{i}/file").startswith("bytes ")
    assert outcome(calls, "GetDicomForInstance", "{i}").startswith("bytes ")
    assert outcome(calls, "GetConfiguration").startswith("str ")
    assert outcome(calls, "LookupInstance", "{sop}") == "str 44"
    assert outcome(calls, "GenerateUuid") == "str 36"
    assert outcome(calls, "ComputeMd5", b"abc") == "str 32"
    assert outcome(calls, "CreateImage", 1, 4, 4) == "Image"
    assert outcome(calls, "RestApiGetAfterPlugins", "/route/x") == "bytes 7"
    assert outcome(calls, "LogInfo", "gr\u00fc\u00df") == "NoneType None"
    assert outcome(calls, "GetTagName", 0x10, 0x10, None) == "str 11"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("RestApiGet", "/studies/nope"), ["UNKNOWN_RESOURCE", "RestApiGet('/studies/nope')"]),
        (("RestApiGet", "/route/x"), ["UNKNOWN_RESOURCE", "RestApiGet('/route/x')"]),
        (("RestApiPost", "/tools/find", "no JSON"), ["OrthancException", "RestApiPost("]),
        (("LookupStudy", "nope"), ["OrthancException", "LookupStudy('nope')"]),
        (("LookupDictionary", "PatientNme"), ["OrthancException and TypeError ", "'PatientNme'"]),
        (("ReadFile", "/nowhere/x"), ["OrthancException", "'/nowhere/x'"]),
        (("RestApiGet",), ["TypeError", "RestApiGet", "uri"]),
        (("RestApiGet", 3), ["TypeError", "RestApiGet", "uri", "int"]),
        (("RestApiGet", "/with\0nul"), ["ValueError", "RestApiGet", "uri"]),
        (("RestApiPost", "/tools/find", {"Level": "Study"}), ["TypeError", "body", "dict"]),
        (("CreateImage", 1.5, 4, 4), ["TypeError", "CreateImage", "float"]),
        (("CreateImage", -1, 4, 4), ["CreateImage"]),
        (("LogInfo", None), ["TypeError", "LogInfo", "NoneType"]),
        (("LogInfo", "a\0b"), ["ValueError", "LogInfo"]),
    ],
)
def test_errors(calls: dict[str, Any], call: tuple[Any, ...], words: list[str]) -> None:
    """The text of an error names the function and what it was called with."""
    text = outcome(calls, *call)
    for word in words:
        assert word in text, text


def test_buffer_too_short(calls: dict[str, Any]) -> None:
    """A buffer that is shorter than its image is refused, not read beyond its end."""
    short = [
        found
        for name, found in calls["blocking"]
        if name[0] == "CreateImageFromBuffer" and "0e'" in name[-1]
    ]
    assert short
    assert all(text.startswith("ValueError") for text in short)


def test_before_start(server: Orthanc) -> None:
    """While the script is loaded, calls that need the database say from when on they work."""
    seen = server.http.get("/before-start").json()
    for name in ("RestApiGet", "LookupPatient"):
        assert seen[name].startswith("OrthancException")
        assert "ORTHANC_STARTED" in seen[name]
        assert name in seen[name]
    assert seen["GetConfiguration"].startswith("str ")
    assert seen["GenerateUuid"] == seen["in a thread"] == "str 36"
    assert seen["awaited in a thread"] == seen["GetConfiguration"]


def test_api_by_inspection(server: Orthanc) -> None:
    """Scripts find names and methods by inspection, as with the official plugin."""
    seen = server.http.get("/inspect").json()
    assert seen["change types"][:4] == [
        "COMPLETED_SERIES",
        "DELETED",
        "NEW_CHILD_INSTANCE",
        "NEW_INSTANCE",
    ]
    assert {"AnswerBuffer", "send_multipart_item"} <= set(seen["methods"]["RestOutput"])
    assert "GetInstanceData" in seen["methods"]["DicomInstance"]
    assert "GetImageWidth" in seen["methods"]["Image"]
    exception = seen["exception"]
    assert exception["args"][0] == 17
    assert "RestApiGet('/instances/nope')" in exception["args"][1]
    assert all(exception[key] for key in ("equal", "code", "pickled", "plain"))
    assert exception["module"] == "orthanc"
    assert seen["coroutines"] == [True, True]
    assert seen["signature"] == "(uri, /)"
    assert seen["documented"]
    assert seen["enumeration"] == "orthanc"


def test_objects(server: Orthanc) -> None:
    """Objects of the SDK work blocking and awaited."""
    blocking = server.http.get("/objects/blocking").json()
    assert blocking == server.http.get("/objects/awaited").json()
    assert blocking["buffer"] == list(range(16))
    assert (blocking["format"], blocking["size"]) == ("GRAYSCALE8", [4, 4, 4])
    assert blocking["patient"] == "mine"
    assert blocking["data"]
    assert blocking["frames"] == "OrthancException"
    assert blocking["no constructor"] == "TypeError"


def test_timer(server: Orthanc) -> None:
    """A threading.Timer that calls the SDK works."""
    timers = server.wait_json("/timers", len)
    assert timers[0].startswith("bytes ")


def test_cancelled_calls(server: Orthanc) -> None:
    """Cancelling awaited calls leaves the others, and the loop, alone."""
    assert server.http.get("/cancel").json() == ["CancelledError", "bytes"] * 50


def test_closed_loop(server: Orthanc) -> None:
    """A loop of the script's own may be closed while one of its calls runs."""
    for _ in range(5):
        assert server.http.get("/closed-loop").json() == "left"
    assert server.http.get("/route/x").text == "a route"
