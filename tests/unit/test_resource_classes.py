"""Patients, studies, series and instances over Orthanc's REST API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orthanc
import pytest
from orthanc_async import Instance, Patient, Resource, Series, Study

if TYPE_CHECKING:
    from unit.conftest import Server


def test_tags(server: Server) -> None:
    """A study's tags hold the patient's too; the level's own win."""
    server.answers["/studies/s"] = {
        "MainDicomTags": {"StudyDate": "20200101", "PatientName": "own"},
        "PatientMainDicomTags": {"PatientID": "p", "PatientName": "patient"},
    }
    server.answers["/series/e"] = {"MainDicomTags": {"Modality": "CT"}}
    assert asyncio.run(Study("s").tags()) == {
        "StudyDate": "20200101",
        "PatientID": "p",
        "PatientName": "own",
    }
    assert asyncio.run(Series("e").tags()) == {"Modality": "CT"}


@pytest.mark.parametrize("children", [["a", "b"], [{"ID": "a"}, {"ID": "b"}]])
def test_children(server: Server, children: list[object]) -> None:
    """Children come as typed resources, from servers that expand them and that do not."""
    server.answers["/patients/p/studies?expand=false"] = children
    server.answers["/studies/s/series?expand=false"] = children
    server.answers["/series/e/instances?expand=false"] = children
    assert asyncio.run(Patient("p").studies()) == [Study("a"), Study("b")]
    assert asyncio.run(Study("s").series()) == [Series("a"), Series("b")]
    assert asyncio.run(Series("e").instances()) == [Instance("a"), Instance("b")]


def test_parents(server: Server) -> None:
    """Parents come as typed resources."""
    server.answers["/instances/i/study"] = {"ID": "s"}
    server.answers["/instances/i/series"] = {"ID": "e"}
    server.answers["/series/e/patient"] = {"ID": "p"}
    assert asyncio.run(Instance("i").study()) == Study("s")
    assert asyncio.run(Instance("i").series()) == Series("e")
    assert asyncio.run(Series("e").patient()) == Patient("p")


def test_bytes(server: Server) -> None:
    """Files and archives come as bytes."""
    server.answers["/instances/i/file"] = b"DICM"
    server.answers["/studies/s/archive"] = b"PK"
    assert asyncio.run(Instance("i").file()) == b"DICM"
    assert asyncio.run(Study("s").archive()) == b"PK"


def test_metadata_and_delete(server: Server) -> None:
    """Metadata are read expanded, and a deletion reaches the server."""
    server.answers["/series/e/metadata?expand"] = {"LastUpdate": "x"}
    assert asyncio.run(Series("e").metadata()) == {"LastUpdate": "x"}
    asyncio.run(Series("e").delete())
    assert server.asked[-1] == "DELETE /series/e"


def test_unknown_resource(server: Server) -> None:
    """A resource that is not there raises Orthanc's own error."""
    with pytest.raises(orthanc.OrthancException) as caught:
        asyncio.run(Study("gone").tags())
    assert caught.value.args[0] == orthanc.ErrorCode.UNKNOWN_RESOURCE


def test_identity() -> None:
    """Resources are equal by class and identifier, and can be keys."""
    assert Study("a") == Study("a") != Study("b")
    assert Study("a") != Series("a")
    assert len({Study("a"), Study("a"), Series("a")}) == 2
    assert repr(Study("a")) == "Study('a')"
    assert Study("a").uri == "/studies/a"


@pytest.mark.parametrize("identifier", ["", "a/b", "a?b", 3, None])
def test_bad_identifier(identifier: str) -> None:
    """What is no identifier is refused before it becomes another path."""
    with pytest.raises(ValueError, match="no identifier of Orthanc"):
        Study(identifier)


def test_base_class() -> None:
    """The common base is no resource itself."""
    with pytest.raises(TypeError, match="make a Patient"):
        Resource("a")
