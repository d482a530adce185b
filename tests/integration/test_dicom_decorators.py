"""The decorators of orthanc_async.dicom, with `async def` and with `def` handlers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from integration.dicom_peers import AET, SUBOPERATION_FAILED, SUCCESS, Client, Receiver
from pydicom.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("dicom_decorators_script.py")
# What Orthanc logs of failures that tests provoke.
ERRORS = [
    r"C-FIND request handler has failed|IMoveRequestHandler Failed|driver for an incoming C-MOVE",
    r"while doing C-Move|raised|has not answered within|in the plugin engine",
]


class Peers(NamedTuple):
    """An Orthanc with the script, and who talks to it."""

    server: Orthanc
    client: Client
    receiver: Receiver
    form: str

    def seen(self) -> list[Any]:
        """Return what the handlers have seen since the last time."""
        result: list[Any] = self.server.http.get("/seen").json()
        return result


@pytest.fixture(scope="module", params=["async", "def"])
def peers(
    request: pytest.FixtureRequest, shared_orthanc: OrthancFactory, dicom_files: list[Path]
) -> Iterator[Peers]:
    """Start one Orthanc for each form, with three instances."""
    with Receiver() as receiver:
        server = shared_orthanc(
            SCRIPT,
            errors=ERRORS,
            dicom_port=0,
            config={
                "Form": request.param,
                "DicomModalities": {"peer": receiver.modality},
                "DefaultEncoding": "Utf8",
            },
        )
        for file in dicom_files[:3]:
            server.upload(file)
        assert server.dicom_port is not None
        yield Peers(server, Client(server.dicom_port), receiver, request.param)


@pytest.fixture(autouse=True)
def _fresh(peers: Peers) -> None:
    peers.seen()
    peers.receiver.clear()


def test_find(peers: Peers) -> None:
    """A dict and a Dataset reach the client whole, with the characters that they have."""
    status, answers = peers.client.find(PatientID="x", PatientName="", StudyDate="20260101-")
    assert status == SUCCESS
    assert [str(answer.PatientID) for answer in answers] == ["1", "2"]
    assert [str(answer.PatientName) for answer in answers] == ["Müller^Ł", "Dataset^Ł"]
    tags = {"PatientID": "x", "PatientName": "", "StudyDate": "20260101-"}
    assert peers.seen() == [["STUDY", tags, AET, "ORTHANC"]]


@pytest.mark.parametrize("mode", ["raise", "nonsense"])
def test_find_fails(peers: Peers, mode: str) -> None:
    """A handler that raises or gives nonsense is a failure for the client, and is in the log."""
    status, answers = peers.client.find(PatientID=mode)
    assert (status & 0xF000, answers) == (0xC000, [])
    peers.server.wait_log("find raises" if mode == "raise" else "TypeError: .* not int")


def test_find_takes_too_long(peers: Peers) -> None:
    """An async handler that exceeds its timeout= is a failure, and the next request is served."""
    if peers.form == "def":
        pytest.skip("a def handler cannot be stopped")
    assert peers.client.find(PatientID="slow")[0] & 0xF000 == 0xC000
    peers.server.wait_log("has not answered within 2 s")
    assert peers.client.find(PatientID="x")[0] == SUCCESS


def test_findscu(peers: Peers) -> None:
    """DCMTK's client is answered too."""
    command = ["findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=x"]
    output = subprocess.run(
        [*command, "127.0.0.1", str(peers.client.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Find Response: 2" in output.stdout + output.stderr


def test_worklist(peers: Peers) -> None:
    """A worklist holds what matches the query, sequences included."""
    step = Dataset()
    step.Modality = "MR"
    status, answers = peers.client.find(
        worklist=True, PatientID="", PatientName="", ScheduledProcedureStepSequence=[step]
    )
    assert status == SUCCESS
    assert [answer.PatientID for answer in answers] == ["1", "3"]
    assert {answer.ScheduledProcedureStepSequence[0].Modality for answer in answers} == {"MR"}
    ((tags, _),) = peers.seen()
    assert tags["ScheduledProcedureStepSequence"] == [{"Modality": "MR"}]


def test_worklist_fails(peers: Peers) -> None:
    """A worklist handler that raises is a failure for the client."""
    assert peers.client.find(worklist=True, PatientID="raise")[0] & 0xF000 == 0xC000
    peers.server.wait_log("worklist raises")


def test_move_stored(peers: Peers, dicom_files: list[Path]) -> None:
    """Stored instances are sent to the target, in the name of who asked, with progress."""
    move = peers.client.move(AET, PatientID="ids")
    assert move.status == SUCCESS
    assert len(set(peers.receiver.stored)) == 3
    assert set(peers.receiver.originators) == {AET}
    assert move.progress[-1][1] == 0 or move.progress[-1][0] >= 2
    assert peers.seen() == [["STUDY", AET, AET, "ORTHANC"]]


@pytest.mark.parametrize(
    ("mode", "stored", "seen"),
    [
        ("none", 0, []),
        ("bytes", 1, []),
        ("functions", 0, ["called", "awaited"]),
        ("iterator", 0, ["called", "awaited"]),
        ("counted", 2, []),
    ],
)
def test_move(peers: Peers, mode: str, stored: int, seen: list[str]) -> None:
    """Whatever a handler may give is carried out, and None is a success."""
    assert peers.client.move(AET, PatientID=mode).status == SUCCESS
    assert len(peers.receiver.stored) == stored
    assert [item for item in peers.seen() if isinstance(item, str)] == seen


def test_move_query(peers: Peers) -> None:
    """The request finds what it names among what is stored."""
    study = peers.server.http.get("/studies?expand").json()[0]
    uid = study["MainDicomTags"]["StudyInstanceUID"]
    assert peers.client.move(AET, StudyInstanceUID=uid).status == SUCCESS
    assert len(peers.receiver.stored) == 3


@pytest.mark.parametrize("mode", ["raise", "nonsense"])
def test_move_refused(peers: Peers, mode: str) -> None:
    """A handler that fails before anything was sent refuses the request."""
    assert peers.client.move(AET, PatientID=mode).status & 0xF000 == 0xC000
    peers.server.wait_log("move raises" if mode == "raise" else "TypeError: .* not 42")


def test_move_fails(peers: Peers) -> None:
    """A sub-operation that raises ends the request with a failure."""
    move = peers.client.move(AET, PatientID="fail")
    assert move.status == SUBOPERATION_FAILED
    assert peers.seen()[1:] == ["called"]
    peers.server.wait_log("sub-operation raises")


def test_move_too_few(peers: Peers) -> None:
    """An iterator that ends too early is a failure, not a success with less."""
    assert peers.client.move(AET, PatientID="short").status == SUBOPERATION_FAILED
    peers.server.wait_log("fewer sub-operations came than the 3")


def test_move_unknown_target(peers: Peers) -> None:
    """A target that is no modality is refused, and the log says how to mend it."""
    assert peers.client.move("NOBODY", PatientID="ids").status & 0xF000 in {0xC000, 0xA000}
    peers.server.wait_log("add it to DicomModalities")


def test_commitment(peers: Peers) -> None:
    """Only what a handler vouches for is reported as stored; errors and nonsense are failures."""
    transaction = "2.25.1" if peers.form == "def" else "2.25.2"
    instances = [f"1.2.{last}" for last in range(3, 8)]
    assert peers.client.commit(transaction, instances) == SUCCESS
    reasons = dict(zip(instances, [0, 0x0112, 0x0110, 0x0110, 0x0110], strict=True))
    assert peers.receiver.report(transaction) == reasons
    assert peers.seen()[0] == [transaction, AET, 5]
    peers.server.wait_log("commitment raises")
