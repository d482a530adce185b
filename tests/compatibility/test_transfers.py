"""C-MOVE in steps, storage commitment, and the forms with a connection, on both plugins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.dicom_peers import AET, SUCCESS, Client, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compatibility.conftest import Pair, Starter
    from compatibility.known_failures import KnownFailures

SCRIPT = Path(__file__).with_name("transfers_script.py")
TITLES = [
    "RegisterFindCallback",
    "RegisterWorklistCallback",
    "RegisterMoveCallback2",
    "RegisterStorageCommitmentScpCallback",
]
CONNECTIONS = [
    "RegisterFindCallback2",
    "RegisterWorklistCallback2",
    "RegisterMoveCallback3",
    "RegisterStorageCommitmentScpCallback2",
]
# What a version does not have.
MISSING = {
    "4.0": {*TITLES[2:], *CONNECTIONS},
    "5.0": set(CONNECTIONS),
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """The target of the moves, who asks for commitment too."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module", params=[TITLES, CONNECTIONS], ids=["titles", "connections"])
def names(request: pytest.FixtureRequest, known: KnownFailures) -> list[str]:
    """Those of the functions that register which both plugins have."""
    found = [name for name in request.param if name not in MISSING.get(known.version, ())]
    if not found:
        pytest.skip(f"the official plugin {known.version} does not have these functions")
    return found


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter, receiver: Receiver, names: list[str]) -> Pair:
    """Both plugins with the same script; ours first."""
    text = SCRIPT.read_text("utf-8")
    settings: dict[str, Any] = {
        "dicom_port": 0,
        "config": {"DicomModalities": {"peer": receiver.modality}},
        "environment": {"REGISTER": " ".join(names)},
    }
    return ours(text, **settings), official(text, **settings)


def both(pair: Pair, ask: Callable[[Client], Any]) -> list[tuple[Any, Any]]:
    """Ask both the same; return each one's outcome, and what its handlers have seen."""
    outcomes = []
    for server in pair:
        server.http.get("/seen")
        assert server.dicom_port is not None
        outcome = ask(Client(server.dicom_port))
        outcomes.append((outcome, server.http.get("/seen").json()))
    return outcomes


def need(names: list[str], part: str) -> None:
    """Leave out a test of what the official plugin does not have."""
    if not any(part in name for name in names):
        pytest.skip(f"this official plugin has no function Register...{part}...")


@pytest.mark.parametrize("patient", ["x", "raise"])
@pytest.mark.parametrize("worklist", [False, True], ids=["studies", "worklist"])
def test_find(pair: Pair, patient: str, *, worklist: bool) -> None:
    """C-FIND: the same arguments, answers and status."""

    def ask(client: Client) -> Any:
        status, answers = client.find(worklist=worklist, PatientID=patient, StudyDate="")
        return status, [json.loads(answer.to_json()) for answer in answers]

    mine, other = both(pair, ask)
    assert mine == other
    assert (mine[0][0] == SUCCESS) == (patient == "x" or worklist)


@pytest.mark.parametrize("patient", ["x", "fail", "raise"])
def test_move(pair: Pair, known: KnownFailures, names: list[str], patient: str) -> None:
    """C-MOVE in steps: the same requests, calls, progress and status."""
    need(names, "Move")
    mine, other = both(pair, lambda client: client.move(AET, PatientID=patient))
    assert (mine[0].status == SUCCESS) == (patient == "x")
    assert [what for what, *_ in mine[1] if what != "apply"] == (
        ["create"] if patient == "raise" else ["create", "size", "free"]
    )
    if patient == "fail" and "error of a move's step" in known:
        assert other[0].status == SUCCESS
        known.tell("error of a move's step")
    assert mine == other


@pytest.mark.parametrize("last", ["1", "2"])
def test_commitment(pair: Pair, receiver: Receiver, names: list[str], last: str) -> None:
    """Storage commitment: the same questions, and the same report to the one who asked."""
    need(names, "Commitment")

    def ask(client: Client) -> Any:
        transaction = f"2.25.{client.port}{last}"
        status = client.commit(transaction, ["1.2.3", "1.2.4"])
        return status, receiver.report(transaction)

    found = []
    for outcome, seen in both(pair, ask):
        assert seen[0].pop(2).startswith("2.25.")
        found.append((outcome, seen))
    assert found[0] == found[1]
    reasons = {"1": [0x112, 0x112], "2": [0, 0x119]}[last]
    assert list(found[0][0][1].values()) == reasons
