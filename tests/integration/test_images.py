"""Images and memory buffers that are read in place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("images_script.py")


@pytest.fixture(scope="module")
def check(shared_orthanc: OrthancFactory) -> Callable[[str], Any]:
    """Give a function that runs a check of the script and returns what it found."""
    server = shared_orthanc(SCRIPT)

    def run(name: str) -> Any:
        answer = server.http.get(name if name.startswith("/") else f"/check/{name}")
        assert answer.status == 200, answer.text
        return answer.json()["result"] if not name.startswith("/") else answer.json()

    return run


def test_formats(check: Callable[[str], Any]) -> None:
    """Every pixel format has its type of number, its shape and its rows' distance."""
    expected = {
        "GRAYSCALE8": ("B", 1, [3, 5], "uint8"),
        "GRAYSCALE16": ("H", 2, [3, 5], "uint16"),
        "SIGNED_GRAYSCALE16": ("h", 2, [3, 5], "int16"),
        "GRAYSCALE32": ("I", 4, [3, 5], "uint32"),
        "GRAYSCALE64": ("Q", 8, [3, 5], "uint64"),
        "FLOAT32": ("f", 4, [3, 5], "float32"),
        "RGB24": ("B", 1, [3, 5, 3], "uint8"),
        "RGBA32": ("B", 1, [3, 5, 4], "uint8"),
        "BGRA32": ("B", 1, [3, 5, 4], "uint8"),
        "RGB48": ("H", 2, [3, 5, 3], "uint16"),
    }
    assert check("formats") == {
        name: [letter, size, shape, True, False, kind, True]
        for name, (letter, size, shape, kind) in expected.items()
    }


def test_in_place(check: Callable[[str], Any]) -> None:
    """What is written to the array is in the image; GetImageBuffer() copies it into bytes."""
    assert check("in_place") == ["bytes", 77, 77]


def test_empty(check: Callable[[str], Any]) -> None:
    """An image without pixels is an empty buffer."""
    assert check("empty") == [0, [0, 0], ""]


def test_view_outlives_image(check: Callable[[str], Any]) -> None:
    """The memory stays as long as an array over it, whatever becomes of the image."""
    assert check("view_outlives_image") == [9000000, 9, 5]


def test_padded(check: Callable[[str], Any]) -> None:
    """Rows with gaps are read by what knows of strides, and refused elsewhere."""
    pixels, strides, md5, numpy_buffer, _ = check("padded")
    assert pixels == [[0, 1, 2], [8, 9, 10], [0, 0, 0]]
    assert strides == [8, 1]
    assert "must be contiguous memory" in md5
    assert numpy_buffer.startswith("BufferError: the rows of this orthanc.Image are 8 bytes apart")


def test_pillow(check: Callable[[str], Any]) -> None:
    """Pillow takes images as arrays, and grayscale ones without a copy."""
    assert check("pillow") == ["L", [4, 3], 200, [1, 2, 3]]


def test_image_as_argument(check: Callable[[str], Any]) -> None:
    """SDK functions that take bytes take an image."""
    assert check("as_argument") == [True, [4, 4]]


def test_accessor(check: Callable[[str], Any]) -> None:
    """An image over a bytearray shares its memory, locks its size, and lets go of it."""
    seen, written, error, references = check("accessor")
    assert [seen, written] == [42, 7]
    assert error.startswith("BufferError")
    assert references == 1


def test_accessor_keeps_memory(check: Callable[[str], Any]) -> None:
    """The memory under an image stays as long as an array over the image."""
    assert check("accessor_keeps_memory") == [3000000, 5]


def test_accessor_read_only(check: Callable[[str], Any]) -> None:
    """An image over bytes is read-only, also for Orthanc's own functions."""
    readonly, writeable, drawing, reading, zeros, width = check("accessor_read_only")
    assert [readonly, writeable, zeros, width] == [True, False, 10000, 100]
    assert drawing.startswith("TypeError: orthanc.Image.DrawText() writes, and the memory")
    assert reading.startswith(("BufferError", "TypeError"))


def test_accessor_errors(check: Callable[[str], Any]) -> None:
    """A buffer that is too small, or none, is refused with what is wrong."""
    short, pitch, text, number = check("accessor_errors")
    assert "needs 12" in short
    assert "has a pitch of 3 bytes" in pitch
    assert text.startswith("TypeError: CreateImageAccessor()") or "str" in text
    assert number.startswith("TypeError")


def test_async_accessor(check: Callable[[str], Any]) -> None:
    """The awaitable form makes the same image."""
    assert check("/async-accessor") == {"pixel": 9, "buffer": 12}


def test_arrays(check: Callable[[str], Any]) -> None:
    """Arrays of the types that Orthanc has become images; others are refused, saying why."""
    found = check("arrays")
    assert {name: found[name] for name in ("u1", "u2", "i2", "u4", "u8", "f4")} == {
        "u1": "GRAYSCALE8",
        "u2": "GRAYSCALE16",
        "i2": "SIGNED_GRAYSCALE16",
        "u4": "GRAYSCALE32",
        "u8": "GRAYSCALE64",
        "f4": "FLOAT32",
    }
    assert found["(2, 3, 3)u1"] == ["RGB24", 3, 2]
    assert found["(2, 3, 4)u1"] == ["RGBA32", 3, 2]
    assert found["(2, 3, 3)u2"] == ["RGB48", 3, 2]
    assert found["(2, 3, 1)u1"] == ["GRAYSCALE8", 3, 2]
    for name in ("double", "one dimension", "big-endian"):
        assert found[name].startswith("TypeError: an array of shape")
    assert found["gaps"].startswith("ValueError: the array's memory has gaps")
    assert found["no buffer"].startswith("TypeError")


def test_memory_buffers(check: Callable[[str], Any]) -> None:
    """without_copy() gives the memory itself, for this one call, and bytes stay the rule."""
    found = check("memory_buffers")
    errors = {name: value for name, value in found.items() if isinstance(value, str)}
    assert {name: value for name, value in found.items() if name not in errors} == {
        "equal": True,
        "length": True,
        "json": True,
        "method": True,
        "view": True,
        "argument": True,
        "pydicom": 33,
        "empty": [0],
    }
    assert [errors[name] for name in ("type", "plain", "nested", "after", "written")] == [
        "MemoryBuffer",
        "bytes",
        "bytes",
        "bytes",
        "05" * 10,
    ]
    for name in ("not memory", "not ours", "image", "two results"):
        assert errors[name].startswith("TypeError: orthanc.without_copy() takes an SDK function")
    assert errors["arguments"].startswith("TypeError")
    assert errors["failed"].startswith("OrthancException: (17,")
    assert errors["made"].startswith("TypeError: cannot create 'orthanc.MemoryBuffer'")


def test_awaited_memory(check: Callable[[str], Any]) -> None:
    """An awaitable function gives its memory too, and another call beside it its bytes."""
    assert check("/awaited-memory") == {
        "types": ["MemoryBuffer", "bytes", "MemoryBuffer"],
        "equal": True,
        "method": True,
        "failed": "UNKNOWN_RESOURCE",
    }


def kept_sum(server: Orthanc) -> Any:
    """Return what the script reads of its kept views, once it serves again."""
    return server.wait_json("/kept-view", lambda _: True)["sum"]


def test_views_live_through_reset_and_stop(orthanc_server: OrthancFactory) -> None:
    """A view is readable after a reset, and harms no one when Orthanc stops with it."""
    server = orthanc_server(SCRIPT)
    assert server.http.post("/keep-view").status == 200
    assert server.http.post("/tools/reset").status == 200
    server.wait_log("Orthanc has started", count=2)
    assert kept_sum(server) == [60000, 80000]
    assert server.http.post("/keep-view").status == 200
