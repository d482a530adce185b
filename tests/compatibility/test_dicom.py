"""DICOM servers in the official plugin's style, on our plugin and on the official one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.dicom_peers import AET, Client, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.conftest import Orthanc

SCRIPT = Path(__file__).with_name("dicom_script.py")


@pytest.fixture(scope="module")
def pair(
    ours: Callable[..., Orthanc], official: Callable[..., Orthanc]
) -> Iterator[tuple[Orthanc, Orthanc]]:
    """Both plugins with the same script and the same modality; ours first."""
    text = SCRIPT.read_text("utf-8")
    with Receiver() as receiver:
        settings = {"DicomModalities": {"peer": receiver.modality}}
        yield tuple(  # type: ignore[misc]
            start(text, dicom_port=0, config=settings) for start in (ours, official)
        )


def both(pair: tuple[Orthanc, Orthanc], ask: Callable[[Client], Any]) -> list[tuple[Any, Any]]:
    """Ask both the same; return each one's outcome, and what its handlers have seen."""
    outcomes = []
    for server in pair:
        server.http.get("/seen")
        assert server.dicom_port is not None
        outcome = ask(Client(server.dicom_port))
        outcomes.append((outcome, server.http.get("/seen").json()))
    return outcomes


def test_registering_twice(pair: tuple[Orthanc, Orthanc]) -> None:
    """A second registration raises the same."""
    mine, other = (server.http.get("/seen").json() for server in pair)
    assert mine == other
    assert ["twice", "RuntimeError"] in mine


@pytest.mark.parametrize("patient", ["x", "", "raise", "keyword", "nonsense", "no-dicom", "A*"])
def test_find(pair: tuple[Orthanc, Orthanc], patient: str) -> None:
    """C-FIND: the same arguments, answers and status."""

    def ask(client: Client) -> Any:
        status, answers = client.find(PatientID=patient, StudyDate="20260101-", AccessionNumber="")
        return status, [json.loads(answer.to_json()) for answer in answers]

    mine, other = both(pair, ask)
    assert mine == other


@pytest.mark.parametrize("patient", ["", "raise"])
@pytest.mark.parametrize("name", ["A*", ""])
def test_worklist(pair: tuple[Orthanc, Orthanc], patient: str, name: str) -> None:
    """Worklists: the same arguments, matches, answers and status."""

    def ask(client: Client) -> Any:
        status, answers = client.find(worklist=True, PatientID=patient, PatientName=name)
        return status, [str(answer.PatientName) for answer in answers]

    mine, other = both(pair, ask)
    assert mine == other


@pytest.mark.parametrize("patient", ["x", "raise", "nonsense"])
@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_move(pair: tuple[Orthanc, Orthanc], patient: str, level: str) -> None:
    """C-MOVE: the same request and status, and returning None is a success."""

    def ask(client: Client) -> Any:
        return client.move(
            AET, QueryRetrieveLevel=level, PatientID=patient, StudyInstanceUID="1.2"
        )

    mine, other = both(pair, ask)
    assert mine == other
    assert (mine[0].status == 0) == (patient != "raise")


def test_tracebacks(pair: tuple[Orthanc, Orthanc]) -> None:
    """What a handler raises is in the log of both."""
    for server in pair:
        for text in ("find raises", "worklist raises", "move raises"):
            server.wait_log(text)
