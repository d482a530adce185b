"""Decoders of DICOM images and transcoders."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pydicom
import pydicom.data
import pydicom.uid
import pytest
from orthanc_async import image_decoder, transcoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("images_script.py")
ORDER = ["async_decorated", "def_decorated", "def_plain", "async_plain"]


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with four decoders and two transcoders, whose ways a test chooses."""
    return shared_orthanc(
        SCRIPT,
        errors=["decoder", "transcoder", "frame 0 of a file", "Traceback", "Error: ", "image"],
    )


def file_of(name: str) -> Path:
    """Return one of pydicom's files."""
    return Path(pydicom.data.get_testdata_file(name, download=False) or "")


@pytest.fixture
def file() -> bytes:
    """A single-frame image of 64 × 64 pixels, another one for each test.

    Orthanc 1.13 asks no decoder any more for an instance that it has decoded itself.
    """
    dataset = pydicom.dcmread(file_of("MR_small.dcm"))
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.fixture
def instance(server: Orthanc, file: bytes) -> str:
    """Its identifier."""
    return str(server.upload(file)["ID"])


@pytest.fixture(scope="module")
def frames(server: Orthanc) -> str:
    """The identifier of a compressed image of two frames."""
    return str(server.upload(file_of("SC_rgb_rle_2frame.dcm"))["ID"])


@pytest.fixture(autouse=True)
def declining(server: Orthanc) -> Iterator[None]:
    """Every decoder and transcoder declines what it is asked, unless a test says otherwise."""
    set_mode(server)
    yield
    set_mode(server)


def set_mode(server: Orthanc, **mode: Any) -> None:
    """Say what each decoder and transcoder does; those that are not named decline."""
    assert server.http.post("/mode", json.dumps(mode)).status == 200


def seen(server: Orthanc) -> list[Any]:
    """Return what the handlers were asked, and what they noted."""
    found = server.http.get("/seen").json()["seen"]
    assert isinstance(found, list)
    return found


def picture(server: Orthanc, instance: str, frame: int = 0) -> np.ndarray[Any, Any]:
    """Return a frame as Orthanc renders it."""
    answer = server.http.get(f"/instances/{instance}/frames/{frame}/image-uint8")
    assert answer.status == 200, answer.text
    return np.asarray(PIL.Image.open(io.BytesIO(answer.body)))


def test_all_decline(server: Orthanc, file: bytes, instance: str) -> None:
    """Each decoder is asked in turn, and Orthanc's own one decodes what none of them took."""
    size = len(file)
    assert picture(server, instance).shape == (64, 64)
    assert seen(server) == [[name, "bytes", size, 0] for name in ORDER]


@pytest.mark.parametrize("name", ORDER)
def test_one_decodes(server: Orthanc, instance: str, name: str) -> None:
    """The first decoder that returns an image ends the search, in any of the four forms."""
    set_mode(server, **{name: "image"})
    assert picture(server, instance).tolist() == [[100] * 4] * 3
    assert [item[0] for item in seen(server)] == ORDER[: ORDER.index(name) + 1]
    preview = server.http.get(f"/instances/{instance}/preview")
    assert PIL.Image.open(io.BytesIO(preview.body)).size == (4, 3)


def test_frames(server: Orthanc, frames: str) -> None:
    """The decoder gets the index of the frame that is asked for."""
    set_mode(server, def_plain="image")
    assert picture(server, frames, 1)[0, 0] == 101
    assert seen(server)[-1][3] == 1


@pytest.mark.parametrize("name", ["async_decorated", "def_decorated"])
def test_array(server: Orthanc, instance: str, name: str) -> None:
    """A decorated decoder may return an array."""
    set_mode(server, **{name: "array"})
    assert picture(server, instance).tolist() == [[100] * 4] * 3


@pytest.mark.parametrize("name", ["def_plain", "async_plain"])
def test_views_of_a_given_image(server: Orthanc, instance: str, name: str) -> None:
    """An image is given away whole; a view that is left keeps memory of its own."""
    set_mode(server, **{name: "viewed"})
    for _ in range(3):
        assert picture(server, instance).tolist() == [[100] * 4] * 3
    assert server.http.get("/kept").json()["values"] == [1200] * 3


def test_image_over_python_memory(server: Orthanc, instance: str) -> None:
    """An image over memory of Python's is copied for Orthanc, row by row."""
    set_mode(server, def_plain="accessor")
    assert picture(server, instance).tolist() == [[100] * 4] * 3


def test_given_image_is_empty(server: Orthanc, instance: str) -> None:
    """An image that was returned cannot be used, viewed or returned again."""
    set_mode(server, def_plain="again")
    assert picture(server, instance).shape == (3, 4)
    assert picture(server, instance).shape == (64, 64)
    server.wait_log("returned an orthanc.Image that was handed over to Orthanc before")
    found = server.http.get("/kept").json()
    assert found["used"][0].startswith("RuntimeError: orthanc.Image.GetImageWidth() was called")
    assert "handed over to Orthanc" in found["viewed"][0]


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("action", ["raise", "nonsense"])
def test_failures(server: Orthanc, instance: str, name: str, action: str) -> None:
    """A decoder that raises or returns nonsense is in the log and passed over."""
    set_mode(server, **{name: action})
    assert picture(server, instance).shape == (64, 64)
    assert [item[0] for item in seen(server)] == ORDER
    server.wait_log("decoder of no use" if action == "raise" else "returns an orthanc.Image")


def test_timeout(server: Orthanc, instance: str) -> None:
    """A decoder that takes too long is cancelled and passed over."""
    set_mode(server, async_decorated="slow")
    assert picture(server, instance).shape == (64, 64)
    server.wait_log("has not answered within 1 s")


def test_calls_inside(server: Orthanc, instance: str) -> None:
    """A decoder may read the database when Orthanc decodes for itself."""
    for name in ("async_decorated", "def_plain"):
        set_mode(server, **{name: "nested"})
        assert picture(server, instance)[0, 0] == 50
        assert "error" in seen(server)[-1]
        assert "RuntimeError" not in seen(server)[-1]


def test_calls_that_would_hang(server: Orthanc, instance: str) -> None:
    """What waits for the lock of an SDK call that decodes is refused, before Orthanc 1.12.2."""
    version = server.http.get("/system").json()["Version"]
    old = tuple(int(part) for part in version.split(".")) < (1, 12, 2)
    for name, action in (
        ("async_decorated", "nested"),
        ("def_plain", "nested"),
        *([("def_plain", "wait")] if old else []),
    ):
        set_mode(server, **{name: action})
        answer = server.http.get(f"/decode/{instance}")
        assert answer.json()["pixels"][0][0] in {50, 51}
        noted = [item for item in seen(server) if isinstance(item, str)]
        assert len(noted) == 1
        assert ("would wait for ever" in noted[0]) is old


@pytest.mark.parametrize("buffer", [False, True])
@pytest.mark.parametrize("name", ["async_transcoder", "def_transcoder"])
def test_transcoder(server: Orthanc, instance: str, name: str, *, buffer: bool) -> None:
    """A transcoder's file is taken, from the SDK and from the REST API."""
    set_mode(server, **{name: "rle"}, buffer=buffer)
    answer = server.http.get(f"/transcode/{instance}")
    assert answer.json() == {"syntax": pydicom.uid.RLELossless}
    order = ["async_transcoder", "def_transcoder"]
    asked = [item for item in seen(server) if item[0] in order]
    assert [item[0] for item in asked] == order[: order.index(name) + 1]
    assert asked[0][1:] == ["bytes", [pydicom.uid.RLELossless], True]
    body = {
        "Transcode": pydicom.uid.RLELossless,
        "Keep": ["SOPInstanceUID"],
        "Force": True,
        "Replace": {},
    }
    modified = server.http.post(f"/instances/{instance}/modify", json.dumps(body))
    assert modified.status == 200, modified.text
    dataset = pydicom.dcmread(io.BytesIO(modified.body))
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    original = pydicom.dcmread(file_of("MR_small.dcm"))
    assert (dataset.pixel_array == original.pixel_array).all()


@pytest.mark.parametrize("action", ["raise", "nonsense", "empty", "decline"])
def test_transcoder_failures(server: Orthanc, instance: str, action: str) -> None:
    """A transcoder that fails or declines leaves the file to the next one."""
    set_mode(server, async_transcoder=action, def_transcoder="rle")
    answer = server.http.get(f"/transcode/{instance}")
    assert answer.json() == {"syntax": pydicom.uid.RLELossless}
    if action != "decline":
        server.wait_log(
            {
                "raise": "transcoder of no use",
                "nonsense": "a transcoder returns bytes, not int",
                "empty": "a transcoder returns a DICOM file of 1 to",
            }[action]
        )


def test_transcoder_timeout(server: Orthanc, instance: str) -> None:
    """A transcoder that takes too long is passed over."""
    set_mode(server, async_transcoder="slow", def_transcoder="rle")
    assert server.http.get(f"/transcode/{instance}").json() == {"syntax": pydicom.uid.RLELossless}


def test_registering_inside(orthanc_server: OrthancFactory) -> None:
    """Inside a decoder the first transcoder is refused, as its registration would never end."""
    server = orthanc_server(
        """
        import orthanc
        from orthanc_async import image_decoder, rest

        found = []

        def decode(file, frame):
            try:
                orthanc.RegisterTranscoderCallback(print)
            except RuntimeError as error:
                found.append(str(error))
            orthanc.RegisterDecodeImageCallback(lambda file, frame: None)

        orthanc.RegisterDecodeImageCallback(decode)

        @rest.get("/found")
        async def get_found(request):
            return found
        """
    )
    instance = server.upload(file_of("MR_small.dcm"))["ID"]
    assert server.http.get(f"/instances/{instance}/preview").status == 200
    (error,) = server.http.get("/found").json()
    assert error.startswith("orthanc.RegisterTranscoderCallback(…) inside ")
    assert "would wait for ever" in error


def test_stop_while_decoding(orthanc_server: OrthancFactory) -> None:
    """Orthanc stops while a decoder is pending, and tells who was waiting."""
    server = orthanc_server(
        """
        import asyncio
        import logging
        import orthanc

        async def decode(file, frame):
            logging.getLogger("test").warning("decoding begins")
            await asyncio.sleep(100)

        orthanc.RegisterDecodeImageCallback(decode)
        """,
        config={"Python": {"ShutdownTimeout": 1}},
        errors=["."],
    )
    instance = server.upload(file_of("MR_small.dcm"))["ID"]

    def look() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # no answer is one too
            server.http.get(f"/instances/{instance}/preview")

    thread = threading.Thread(target=look)
    thread.start()
    server.wait_log("decoding begins")
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", True])
def test_timeouts_that_are_none(timeout: Any) -> None:
    """A timeout that Orthanc could not wait for is refused at decoration."""
    for decorator in (image_decoder, transcoder):
        with pytest.raises((TypeError, ValueError), match="timeout must be"):
            decorator(timeout=timeout)(lambda _request: None)


def test_example(orthanc_server: OrthancFactory) -> None:
    """The example decodes JPEG 2000, which Orthanc alone cannot, and leaves the rest to it."""
    example = Path(__file__).parents[2] / "examples" / "decode_with_pydicom.py"
    server = orthanc_server(example)
    instance = server.upload(file_of("JPEG2000.dcm"))["ID"]
    found = server.http.get(f"/instances/{instance}/frames/0/image-int16")
    assert found.status == 200, found.text
    pixels = np.asarray(PIL.Image.open(io.BytesIO(found.body))).astype("u2").view("i2")
    expected = pydicom.dcmread(file_of("JPEG2000.dcm")).pixel_array
    assert (pixels == expected).all()
    other = server.upload(file_of("MR_small.dcm"))["ID"]
    assert server.http.get(f"/instances/{other}/preview").status == 200
