"""Scripts with images: of Orthanc, NumPy, Pillow and pydicom, on both plugins."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
import pydicom
import pydicom.data
import pydicom.uid
import pytest
from PIL import Image

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter
    from compatibility.known_failures import KnownFailures
    from integration.conftest import Orthanc

SCRIPT = Path(__file__).with_name("pixels_script.py")
# The environment with the packages of the script: the one that runs these tests.
PACKAGES = str(Path(PIL.__file__).parents[1])


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter) -> Pair:
    """Both plugins with the same script; ours first."""
    text = SCRIPT.read_text("utf-8")
    variables = {"PACKAGES_OF_THE_SCRIPT": PACKAGES}
    return ours(text, environment=variables), official(text, environment=variables)


def sample(name: str) -> bytes:
    """Give a file that pydicom ships."""
    return Path(pydicom.data.get_testdata_file(name) or "").read_bytes()


@pytest.fixture(scope="module")
def frames() -> bytes:
    """A multi-frame file: ten frames of an MR image, each brighter than the one before."""
    dataset = pydicom.dcmread(io.BytesIO(sample("MR_small.dcm")))
    pixels = dataset.pixel_array
    dataset.NumberOfFrames = 10
    dataset.PixelData = b"".join((pixels + 100 * frame).tobytes() for frame in range(10))
    dataset.SeriesInstanceUID = pydicom.uid.generate_uid()
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def same_json(pair: Pair, path: str) -> dict[str, Any]:
    """Ask both and compare value by value; return what they gave."""
    answers = [server.http.get(path) for server in pair]
    assert [answer.status for answer in answers] == [200, 200], answers[0].text
    mine, other = (answer.json() for answer in answers)
    for key, value in other.items():
        assert (key, mine[key]) == (key, value)
    return dict(mine)


def picture_of(server: Orthanc, path: str) -> Image.Image:
    """Fetch a picture."""
    answer = server.http.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png"), answer.text
    return Image.open(io.BytesIO(answer.body))


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "ten frames"])
def test_decode(pair: Pair, frames: bytes, name: str) -> None:
    """Frames come decoded alike, and as pydicom decodes them in the same process."""
    file = frames if name == "ten frames" else sample(name)
    [instance] = {server.upload(file)["ID"] for server in pair}
    found = same_json(pair, f"/decode/{instance}")
    assert (found["frames"], found["agree"]) == (10 if file is frames else 1, True)
    assert found["none"][0] == "OrthancException"


def test_thumbnail(pair: Pair) -> None:
    """A route answers a picture that pydicom, NumPy and Pillow have made."""
    [instance] = {server.upload(sample("MR_small.dcm"))["ID"] for server in pair}
    mine, other = (picture_of(server, f"/thumbnail/{instance}?size=20") for server in pair)
    assert mine.size == (20, 20)
    assert mine.getpixel((0, 0)) == 255
    assert mine.tobytes() == other.tobytes()


def test_mosaic_of_frames(pair: Pair, frames: bytes) -> None:
    """The ten frames of a multi-frame instance lie side by side."""
    [series] = {server.upload(frames)["ParentSeries"] for server in pair}
    mine, other = (picture_of(server, f"/mosaic/{series}") for server in pair)
    assert mine.size == (4 * 64, 3 * 64)
    assert mine.tobytes() == other.tobytes()
    tile = np.asarray(mine)
    assert tile[128:, 64:128].any()  # the tenth
    assert not tile[128:, 128:].any()


def test_mosaic_of_series(pair: Pair, dicom_files: list[Path]) -> None:
    """So do the instances of a series."""
    stored = [[server.upload(file) for file in dicom_files] for server in pair]
    assert [file["ID"] for file in stored[0]] == [file["ID"] for file in stored[1]]
    for series in {file["ParentSeries"] for file in stored[0]}:
        mine, other = (picture_of(server, f"/mosaic/{series}") for server in pair)
        assert mine.tobytes() == other.tobytes()


def test_images(pair: Pair) -> None:
    """Images made from pixels, compressed, read again and drawn on are the same to the byte."""
    found = same_json(pair, "/images")
    assert found["no loss"]
    assert found["little loss"] < 20
    assert found["Pillow"][:2] == [[30, 20], "RGB"]
    for wrong in ("no image", "wrong format", "dicom format", "bad quality", "no such font"):
        assert found[wrong][0] == "OrthancException"


def test_conversions(pair: Pair) -> None:
    """Each pixel format becomes the same others, or the same error."""
    found = same_json(pair, "/conversions")
    assert found["GRAYSCALE8"]["RGB24"]["size"] == [12, 10]
    assert [len(targets) for targets in found.values()] == [5] * 5


IN_A_ROUTE = """
import io
import os
import sys

import orthanc


def picture(output, uri, **request):
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (3, 2), 7).save(file, "PNG")
    output.AnswerBuffer(file.getvalue(), "image/png")


sys.path.append(os.environ["PACKAGES_OF_THE_SCRIPT"])
orthanc.RegisterRestCallback("/picture", picture)
"""


def test_import_in_a_route(ours: Starter, official: Starter, known: KnownFailures) -> None:
    """A route may be the first to import Pillow."""
    variables = {"PACKAGES_OF_THE_SCRIPT": PACKAGES}
    mine, other = (start(IN_A_ROUTE, environment=variables) for start in (ours, official))
    assert picture_of(mine, "/picture").size == (3, 2)
    if "Pillow in a route" in known:
        assert other.http.get("/picture").status == 500
        known.tell("Pillow in a route")
    assert picture_of(other, "/picture").size == (3, 2)
