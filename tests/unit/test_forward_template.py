"""URLs, keys and names that are made of what is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import orthanc
import pytest
from aiohttp import web
from orthanc_async import Patient, Series, forward
from orthanc_async.forward import _source
from orthanc_async.forward._template import Fields, Template
from unit.forward_fakes import FakeOrthanc, served

if TYPE_CHECKING:
    from orthanc_async.resources import Resource

SERIES = Series("series-a-0123456789")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of one instance."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"a file", Modality="CT ")
    fake.more["/instances/instance-1/simplified-tags"] = {
        "ImageType": "ORIGINAL\\PRIMARY",
        "SliceLocation": " 12.5 ",
        "Sequence": [{}],
    }
    return fake


def test_templates() -> None:
    """Values are encoded; those that would mean another folder cannot."""
    template = Template("/{study}/{PatientID}.dcm", "x")
    assert template.names == {"study", "PatientID"}
    assert template.fill({"study": "..", "PatientID": "a/b c"}) == "/%2E%2E/a%2Fb%20c.dcm"
    assert template.fill({"study": "", "PatientID": "ä"}) == "/_/%C3%A4.dcm"
    assert template.fill({"study": "\t", "PatientID": "a\0\nb"}) == "/_/a__b.dcm"
    for wrong in ("{}", "{nothing}", "{study!r}", "{study:>9}", "{study"):
        with pytest.raises(ValueError, match="x: "):
            Template(wrong, "x")


async def values(fake: FakeOrthanc, text: str) -> str:
    """Return a text filled for the instance, as it is in Orthanc."""
    (item,) = await _source.listing(fake.study)
    template = Template(text, "x")
    return template.fill(await Fields(fake.study, None).of(template, item, b""))


async def test_fields_of_an_instance(fake: FakeOrthanc) -> None:
    """Identifiers and tags of all levels; only for others is the instance read."""
    levels = await values(fake, "{patient}|{study}|{series}|{instance}")
    assert levels == "the-patient|11111111-study|series-a-0123456789|instance-1"
    assert not any("simplified-tags" in path for path in fake.asked)
    tags = await values(fake, "{PatientID}|{StudyInstanceUID}|{Modality}|{SOPInstanceUID}")
    assert tags == "P%2F1|1.2.3|CT|1.2.1"
    assert await values(fake, "{SliceLocation}|{Sequence}|{Nothing}") == "12.5|_|_"


async def test_fields_of_a_file_that_was_changed(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a transform no name comes from Orthanc, where the old ones are."""
    tags = {
        "PatientID": "TRIAL ",
        "StudyInstanceUID": "2.25.1",
        "SeriesInstanceUID": "2.25.2",
        "SOPInstanceUID": "2.25.3",
    }

    class Parsed:
        def GetInstanceSimplifiedJson(self) -> str:
            return json.dumps(tags)

    monkeypatch.setattr(orthanc, "CreateDicomInstance", lambda _data: Parsed())
    paths: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        paths.append(request.raw_path)
        return web.Response()

    async with served(receive) as url:
        path = "/{PatientID}/{patient}/{study}/{series}/{instance}/{Modality}"
        send = forward.to_http(url, path=path, transform=lambda file, _instance: file)
        await send(fake.study)
        await send.http.close()
    # SHA-1 of the identifiers, joined by "|", as Orthanc makes them.
    expected = (
        "/TRIAL"
        "/ddaaed2c-b20bff72-d5e67630-bc7015f3-bcf9d0b4"
        "/0dca1322-eb1172c2-3b4f6dc7-e5fbd648-5a1bb837"
        "/5872948a-3705bef6-c4f355b9-e4bded50-70130bb0"
        "/2fb0179a-c638d59c-f334268e-6e785da2-287a7b92"
        "/_"
    )
    assert paths == [expected]


@pytest.mark.parametrize(
    ("resource", "filled"),
    [
        (Patient("the-patient"), "the-patient|_|_|P%2F1|_"),
        (None, "the-patient|11111111-study|_|P%2F1|1.2.3"),
        (SERIES, "the-patient|11111111-study|series-a-0123456789|P%2F1|1.2.3"),
    ],
)  # fmt: skip
async def test_fields_of_a_zip(fake: FakeOrthanc, resource: Resource | None, filled: str) -> None:
    """The path of a ZIP has the fields of the resource and of what is above it."""
    template = Template("{patient}|{study}|{series}|{PatientID}|{StudyInstanceUID}", "x")
    fields = Fields(resource or fake.study, None)
    assert template.fill(await fields.of_resource(template)) == filled


def test_fields_of_a_zip_that_is_changed() -> None:
    """They would tell what was taken out, so there are none."""
    with pytest.raises(ValueError, match="transformed can have no fields"):
        forward.to_http("https://x", form="zip", path="/{study}", transform=lambda f, _i: f)
    forward.to_http("https://x", form="zip", path="/in", transform=lambda f, _i: f)


async def test_a_value_that_means_another_folder(fake: FakeOrthanc) -> None:
    """It reaches the server encoded, and is not resolved on the way."""
    fake.series["series-a-0123456789"]["Modality"] = ".."
    paths: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        paths.append(request.raw_path)
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(f"{url}/in?a=b", path="/{Modality}/{instance}")
        await send(fake.study)
        await send.http.close()
    assert paths == ["/in/%2E%2E/instance-1?a=b"]
