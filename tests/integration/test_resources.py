"""Patient, Study, Series and Instance against what the REST API says."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import orthanc
    import orthanc_async as oa
    from orthanc_async import rest

    KINDS = {kind.__name__: kind for kind in (oa.Patient, oa.Study, oa.Series, oa.Instance)}

    def plain(value):
        if isinstance(value, list):
            return [plain(item) for item in value]
        if type(value) in KINDS.values():
            return [type(value).__name__, value.id]
        return value

    @rest.get("/call/{kind}/{id}/{method}")
    async def call(request):
        resource = KINDS[request.path["kind"]](request.path["id"])
        try:
            value = await getattr(resource, request.path["method"])()
        except orthanc.OrthancException as error:
            return {"error": [error.args[0], error.args[0] == orthanc.ErrorCode.UNKNOWN_RESOURCE]}
        return value if isinstance(value, bytes) else {"value": plain(value)}
"""
LEVELS = {"Patient": "patients", "Study": "studies", "Series": "series", "Instance": "instances"}


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory, dicom_files: list[Path]) -> Orthanc:
    """An Orthanc with one study."""
    server = shared_orthanc(
        SCRIPT, errors=["Unknown resource|inexistent|Exception while invoking"]
    )
    for file in dicom_files:
        server.upload(file)
    return server


def identifiers(server: Orthanc, level: str) -> list[str]:
    """Give the identifiers of all resources of a level."""
    result: list[str] = server.http.get(f"/{LEVELS[level]}").json()
    return result


@pytest.mark.parametrize("level", LEVELS)
def test_reads(server: Orthanc, level: str) -> None:
    """info, tags and metadata say what the REST API says."""
    [*_others, identifier] = identifiers(server, level)
    path = f"/{LEVELS[level]}/{identifier}"
    info = server.http.get(f"/call/{level}/{identifier}/info").json()["value"]
    assert info == server.http.get(path).json()
    tags = server.http.get(f"/call/{level}/{identifier}/tags").json()["value"]
    assert tags == {**info.get("PatientMainDicomTags", {}), **info["MainDicomTags"]}
    metadata = server.http.get(f"/call/{level}/{identifier}/metadata").json()["value"]
    assert metadata == server.http.get(f"{path}/metadata?expand").json()


@pytest.mark.parametrize("level", LEVELS)
def test_relatives(server: Orthanc, level: str) -> None:
    """Parents and children are those of the REST API, as objects of their classes."""
    order = list(LEVELS)
    here = order.index(level)
    for identifier in identifiers(server, level)[:2]:
        path = f"/{LEVELS[level]}/{identifier}"
        for other in order[here + 1 :]:
            method = LEVELS[other]
            got = server.http.get(f"/call/{level}/{identifier}/{method}").json()["value"]
            known = server.http.get(f"{path}/{method}").json()
            assert sorted(got) == sorted([other, item["ID"]] for item in known)
            assert got
        for other in order[:here]:
            method = other.lower()
            got = server.http.get(f"/call/{level}/{identifier}/{method}").json()["value"]
            assert got == [other, server.http.get(f"{path}/{method}").json()["ID"]]


@pytest.mark.parametrize("level", ["Patient", "Study", "Series"])
def test_archive(server: Orthanc, level: str, dicom_files: list[Path]) -> None:
    """The archive is a ZIP file with all instances."""
    count = 0
    for identifier in identifiers(server, level):
        body = server.http.get(f"/call/{level}/{identifier}/archive").body
        count += len(zipfile.ZipFile(io.BytesIO(body)).namelist())
    assert count == len(dicom_files)


def test_file(server: Orthanc) -> None:
    """An instance gives its file byte for byte, and all its tags."""
    for identifier in identifiers(server, "Instance")[:3]:
        file = server.http.get(f"/call/Instance/{identifier}/file").body
        assert file == server.http.get(f"/instances/{identifier}/file").body
        tags = server.http.get(f"/call/Instance/{identifier}/all_tags").json()["value"]
        assert tags == server.http.get(f"/instances/{identifier}/simplified-tags").json()


def test_unknown(server: Orthanc) -> None:
    """Every method of a resource that is not there raises UNKNOWN_RESOURCE."""
    methods = {
        "Patient": ["studies", "series", "instances", "archive"],
        "Study": ["patient", "series", "instances", "archive"],
        "Series": ["patient", "study", "instances", "archive"],
        "Instance": ["patient", "study", "series", "file", "all_tags"],
    }
    for level, names in methods.items():
        for name in ("info", "tags", "metadata", "delete", *names):
            answer = server.http.get(f"/call/{level}/1-2-3-4-5/{name}").json()
            assert answer == {"error": [17, True]}, (level, name)


def test_delete(server: Orthanc, dicom_files: list[Path]) -> None:
    """Deleting an instance, then the patient, leaves nothing."""
    [*_, instance] = identifiers(server, "Instance")
    server.http.get(f"/call/Instance/{instance}/delete")
    assert server.http.get(f"/instances/{instance}").status == 404
    assert server.http.get("/statistics").json()["CountInstances"] == len(dicom_files) - 1
    for level in ("Series", "Study", "Patient"):
        for identifier in identifiers(server, level):
            assert server.http.get(f"/call/{level}/{identifier}/delete").json() == {"value": None}
    assert server.http.get("/statistics").json()["CountInstances"] == 0
