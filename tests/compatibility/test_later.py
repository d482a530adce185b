"""What the official plugin got after 4.0, compared where the installed one has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.dicom_peers import AET, SUBOPERATION_FAILED, SUCCESS, Client, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compatibility.conftest import Pair, Starter
    from integration.conftest import Orthanc

SCRIPT = Path(__file__).with_name("later_script.py")
MR = "1.2.840.10008.5.1.4.1.1.4"


class Forms:
    """Both plugins with the script in one form, and the modality that they know."""

    def __init__(self, pair: Pair, receiver: Receiver, form: str) -> None:
        self.pair = pair
        self.receiver = receiver
        self.form = form

    def both(self, function: str, ask: Callable[[bool, Client], Any]) -> tuple[Any, list[Any]]:
        """Ask each plugin that has a function, and compare; return our outcome and calls.

        Args:
            function: of the SDK; our plugin is the only one asked where the other lacks it.
            ask: gets whether it is our plugin, and a client.
        """
        mine, other = (function in server.http.get("/look").json()[0] for server in self.pair)
        assert mine or not other, f"only the official plugin has {function}"
        if not mine:
            pytest.skip(f"neither SDK nor Orthanc has {function}")
        outcomes = []
        for server in self.pair if other else self.pair[:1]:
            assert server.dicom_port is not None
            outcome = ask(server is self.pair[0], Client(server.dicom_port))
            outcomes.append((outcome, server.http.get("/look").json()[1]))
        assert outcomes[0] == outcomes[-1]
        return outcomes[0]

    def server(self, ours: bool) -> Orthanc:  # noqa: FBT001
        """Return one of the two."""
        return self.pair[0 if ours else 1]

    @property
    def peer(self) -> list[str]:
        """How the handlers see the client."""
        return [AET, "ORTHANC", *(["127.0.0.1"] if self.form == "connection" else [])]

    def name(self, titles: str, connection: str) -> str:
        """Return the function of this form."""
        return connection if self.form == "connection" else titles


@pytest.fixture(scope="module", params=["titles", "connection"])
def forms(request: pytest.FixtureRequest, ours: Starter, official: Starter) -> Iterator[Forms]:
    """Both plugins with the same script and the same modality; ours first."""
    text = SCRIPT.read_text("utf-8")
    with Receiver() as receiver:
        mine, other = (
            start(
                text,
                dicom_port=0,
                config={
                    "DicomModalities": {"peer": receiver.modality},
                    "MaximumStorageCacheSize": 0,
                },
                environment={"FORM": request.param},
            )
            for start in (ours, official)
        )
        yield Forms((mine, other), receiver, request.param)


@pytest.mark.parametrize(
    ("transaction", "report"),
    [
        ("2.25.1", {"1.2.3": 0, "1.2.4": 0x0112}),
        ("2.25.7", {}),
        ("2.25.8", {"1.2.3": 0x0131, "1.2.4": 0x0131}),
    ],
)
def test_storage_commitment(forms: Forms, transaction: str, report: dict[str, int]) -> None:
    """What is asked reaches the script, and the modality is told what the script has said.

    The factory may return None. Where it raises, nothing is vouched for, and we say so.
    """

    def ask(ours: bool, client: Client) -> Any:  # noqa: FBT001
        forms.receiver.reports.pop(transaction, None)
        status = client.commit(transaction, ["1.2.3", "1.2.4"])
        if report:
            return status, forms.receiver.report(transaction)
        if ours:
            assert all(forms.receiver.report(transaction).values())
        return status, {}

    name = "RegisterStorageCommitmentScpCallback"
    outcome, (factory, *lookups) = forms.both(forms.name(name, name + "2"), ask)
    assert outcome == (SUCCESS, report)
    assert factory[:4] == [transaction, [MR, MR], ["1.2.3", "1.2.4"], forms.peer]
    expected = [[MR, "1.2.3"], [MR, "1.2.4"]] if report else []
    assert [lookup[:2] for lookup in lookups] == expected


@pytest.mark.parametrize("patient", ["x", "raise"])
def test_move_with_progress(forms: Forms, patient: str) -> None:
    """Four functions move step by step; the client sees the same progress and status."""

    def ask(ours: bool, client: Client) -> Any:  # noqa: FBT001
        move = client.move(AET, PatientID=patient, StudyInstanceUID="1.2")
        return move.status, move.progress

    name = forms.name("RegisterMoveCallback2", "RegisterMoveCallback3")
    (status, _), calls = forms.both(name, ask)
    assert (status == SUCCESS) == (patient == "x")
    assert calls[0][0] == "create"
    assert calls[0][2] == (forms.peer if forms.form == "connection" else 0)
    if patient == "x":
        steps = [["size", 3], ["apply", 2], ["apply", 1], ["apply", 0], ["free", 0]]
        assert calls[1:] == steps


def test_move_that_fails(forms: Forms) -> None:
    """A step that returns an error fails with us; the official plugin counts it as done."""

    def ask(ours: bool, client: Client) -> Any:  # noqa: FBT001
        status = client.move(AET, PatientID="fail", StudyInstanceUID="1.2").status
        forms.server(ours).http.get("/look")  # the steps differ, too
        return status == (SUBOPERATION_FAILED if ours else SUCCESS)

    expected, _ = forms.both(forms.name("RegisterMoveCallback2", "RegisterMoveCallback3"), ask)
    assert expected


@pytest.mark.parametrize("is_worklist", [False, True])
def test_find_with_connection(forms: Forms, is_worklist: bool) -> None:  # noqa: FBT001
    """C-FIND and worklist handlers that get the connection answer alike."""

    def ask(ours: bool, client: Client) -> Any:  # noqa: FBT001
        status, answers = client.find(worklist=is_worklist, PatientID="")
        return status, [answer.PatientID for answer in answers]

    if forms.form != "connection":
        pytest.skip("the other form is in test_dicom.py")
    name = "RegisterWorklistCallback2" if is_worklist else "RegisterFindCallback2"
    (status, answers), calls = forms.both(name, ask)
    assert status == SUCCESS
    assert answers == ["next" if is_worklist else "found"]
    assert calls[-1][2] == forms.peer


def test_streamed_answer(forms: Forms) -> None:
    """An answer in chunks, where SDK and Orthanc have that (1.12.6 and later)."""
    answers = [server.http.get("/stream") for server in forms.pair]
    found = [answer for answer in answers if answer.status == 200]
    if not found:
        pytest.skip("neither SDK nor Orthanc has streamed answers")
    mine = answers[0]
    assert found[0] is mine
    assert mine.text == "".join(f"{number}," * 1000 for number in range(5)) + "end"
    for other in found:
        assert other.body == mine.body
        assert other.headers["Content-Type"] == "text/csv"
        assert other.headers["X-Count"] == "5"
        assert "Content-Length" not in other.headers
