"""The DICOM server by the SDK's own functions: both forms, errors, lent objects, the stop."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from integration.dicom_peers import AET, SUBOPERATION_FAILED, SUCCESS, Client, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("dicom_callbacks_script.py")
ERRORS = [
    r"C-FIND request handler has failed|IMoveRequestHandler Failed|driver for an incoming C-MOVE",
    r"while doing C-Move|raised|in the plugin engine|QueryRetrieveLevel",
]


class Peers(NamedTuple):
    """An Orthanc with the script, and who talks to it."""

    server: Orthanc
    client: Client
    receiver: Receiver
    first: list[Any]  # what happened while the script was imported

    def seen(self) -> list[Any]:
        """Return what the handlers have seen since the last time."""
        result: list[Any] = self.server.http.get("/seen").json()
        return result


def start(factory: OrthancFactory, receiver: Receiver, form: str, *, driver: bool) -> Peers:
    """Start an Orthanc with the script."""
    config = {"Form": form, "Driver": driver, "DicomModalities": {"peer": receiver.modality}}
    server = factory(SCRIPT, errors=ERRORS, dicom_port=0, config=config)
    assert server.dicom_port is not None
    peers = Peers(server, Client(server.dicom_port), receiver, [])
    peers.first.extend(peers.seen())
    return peers


@pytest.fixture(scope="module", params=["async", "def"])
def peers(request: pytest.FixtureRequest, shared_orthanc: OrthancFactory) -> Iterator[Peers]:
    """One Orthanc for each form, with RegisterMoveCallback2."""
    with Receiver() as receiver:
        yield start(shared_orthanc, receiver, request.param, driver=True)


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    if "peers" in request.fixturenames:
        request.getfixturevalue("peers").seen()


def test_find(peers: Peers) -> None:
    """The handler gets query, titles and tags, its answer is sent, and its result is ignored."""
    status, answers = peers.client.find(PatientID="x", StudyDate="20260101")
    assert (status, [answer.PatientID for answer in answers]) == (SUCCESS, ["7"])
    tags = [[0x8, 0x20], [0x8, 0x52], [0x10, 0x20]]
    assert peers.seen() == [["x", tags, AET, "ORTHANC"]]


def test_find_incomplete(peers: Peers) -> None:
    """Answers marked as incomplete are a warning of Orthanc's, or a failure, never a success."""
    status, answers = peers.client.find(PatientID="incomplete")
    assert (status, len(answers)) != (SUCCESS, 0)


def test_find_raises(peers: Peers) -> None:
    """A handler that raises is a failure for the client, with its traceback in the log."""
    status, answers = peers.client.find(PatientID="raise")
    assert (status & 0xF000, answers) == (0xC000, [])
    peers.server.wait_log("Traceback")
    peers.server.wait_log("RuntimeError: find raises")


def test_lent_objects_end(peers: Peers) -> None:
    """Answers and query are refused by name after the call that they belong to."""
    assert peers.client.find(PatientID="keep")[0] == SUCCESS
    for text in peers.server.http.get("/ended").json():
        assert text.startswith("RuntimeError: orthanc.Find")
        assert "after the call it belongs to has ended (C-FIND from PEER)" in text


def test_matcher(peers: Peers) -> None:
    """A matcher made in the script matches what it was made from."""
    assert peers.first[0] == ["matcher", 1]


def test_second_registration(peers: Peers) -> None:
    """A second handler is refused, naming both places."""
    errors = peers.first[1]
    for name in ("find", "worklist", "move", "driver", "commitment"):
        assert "there can be only one handler" in errors[name], name
        assert errors[name].count("dicom_callbacks_script.py:") == 2, name
    assert "there can be only one handler" in errors["no function"]


def test_worklist(peers: Peers) -> None:
    """A worklist handler gets the query as a file, and its answer is sent."""
    status, answers = peers.client.find(worklist=True, PatientID="7")
    assert (status, [answer.PatientID for answer in answers]) == (SUCCESS, ["7"])
    assert peers.client.find(worklist=True, PatientID="8") == (SUCCESS, [])
    assert peers.seen() == [["worklist", True, AET, "ORTHANC"]] * 2


STEPS = ["create", "size", *["apply"] * 3, "free"]


@pytest.mark.parametrize("mode", ["ok", "none", "apply none"])
def test_driver(peers: Peers, mode: str) -> None:
    """The four functions are called in order, with what `create` has returned, also None."""
    move = peers.client.move(AET, PatientID=mode, StudyInstanceUID="1.2")
    assert move.status == SUCCESS
    request, *steps = peers.seen()
    assert steps == STEPS
    assert request == {
        "Level": "STUDY",
        "PatientID": mode,
        "AccessionNumber": "",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "",
        "SOPInstanceUID": "",
        "OriginatorAET": AET,
        "SourceAET": "ORTHANC",
        "TargetAET": AET,
        "OriginatorID": 1,
    }


@pytest.mark.parametrize(
    ("mode", "status", "steps", "log"),
    [
        ("raise", 0xC000, [], "move raises"),
        ("size raises", 0xC000, ["create", "size", "free"], "ZeroDivisionError"),
        ("size text", 0xC000, ["create", "size", "free"], "must be an int, not '2'"),
        ("many", 0xC000, ["create", "size", "free"], "from 0 to 65535"),
        ("apply raises", 0xB000, ["create", "size", "apply", "apply", "free"], "apply raises"),
        ("apply fails", 0xB000, ["create", "size", "apply", "apply", "free"], "while doing C-Mo"),
    ],
)
def test_driver_fails(peers: Peers, mode: str, status: int, steps: list[str], log: str) -> None:
    """Each of the functions that fails ends the request without success, and frees it."""
    assert peers.client.move(AET, PatientID=mode).status & 0xF000 == status
    peers.server.wait_log(log)
    assert peers.seen()[1:] == steps


def test_commitment(peers: Peers, request: pytest.FixtureRequest) -> None:
    """The factory gets the whole request, and the look-ups what it has returned: None."""
    number = "1" if "async" in request.node.name else "2"
    transaction = f"2.25.{number}"
    assert peers.client.commit(transaction, ["1.2.3", "1.2.4"]) == SUCCESS
    assert peers.receiver.report(transaction) == {"1.2.3": 0, "1.2.4": 0}
    mr = "1.2.840.10008.5.1.4.1.1.4"
    assert peers.seen() == [
        [True, transaction, [mr, mr], ["1.2.3", "1.2.4"], AET, "ORTHANC"],
        [mr, "1.2.3", None],
        [mr, "1.2.4", None],
    ]


def test_commitment_factory_raises(peers: Peers, request: pytest.FixtureRequest) -> None:
    """Where the factory raises, nothing is vouched for, and the modality is told."""
    transaction = "2.25.199" if "async" in request.node.name else "2.25.299"
    assert peers.client.commit(transaction, ["1.2.3"]) == SUCCESS
    assert peers.receiver.report(transaction) == {"1.2.3": 0x0110}
    peers.server.wait_log("factory raises")


@pytest.mark.parametrize("form", ["async", "def"])
def test_whole_move(orthanc_server: OrthancFactory, form: str) -> None:
    """RegisterMoveCallback: returning None is a success, raising is none."""
    with Receiver() as receiver:
        peers = start(orthanc_server, receiver, form, driver=False)
        assert peers.client.move(AET, PatientID="ok").status == SUCCESS
        assert [request["PatientID"] for request in peers.seen()] == ["ok"]
        assert peers.client.move(AET, PatientID="raise").status == SUBOPERATION_FAILED
        peers.server.wait_log("RuntimeError: move raises")


def test_stop_while_pending(orthanc_server: OrthancFactory) -> None:
    """Orthanc stops in time while a handler is awaited, and the client is not told a success."""
    with Receiver() as receiver:
        peers = start(orthanc_server, receiver, "async", driver=False)
        results: list[int] = []

        def ask() -> None:
            results.append(peers.client.find(PatientID="wait")[0])

        thread = threading.Thread(target=ask)
        thread.start()
        peers.server.wait_json("/seen", lambda seen: "waiting" in seen)
        peers.server.stop()
        thread.join(30)
        assert results != [SUCCESS]
        assert peers.server.exit_code == 0
