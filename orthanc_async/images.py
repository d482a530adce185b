"""Images: decoders and transcoders of DICOM files, and arrays as images of Orthanc's.

@image_decoder
async def decode(request: DecodeRequest) -> numpy.ndarray | None:
    if not mine(request.file):
        return None
    return await asyncio.to_thread(my_decoder, request.file, request.frame)
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import orthanc
from orthanc_async import _waited

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    _Decoder = TypeVar("_Decoder", bound=Callable[["DecodeRequest"], Any])
    _Transcoder = TypeVar("_Transcoder", bound=Callable[["TranscodeRequest"], Any])

__all__ = ["DecodeRequest", "TranscodeRequest", "as_image", "image_decoder", "transcoder"]


@dataclasses.dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One frame that Orthanc wants decoded.

    Attributes:
        file: The DICOM file.
        frame: The index of the frame, from 0.
    """

    file: bytes = dataclasses.field(repr=False)
    frame: int


@dataclasses.dataclass(frozen=True, slots=True)
class TranscodeRequest:
    """One file that Orthanc wants in another transfer syntax.

    Attributes:
        file: The DICOM file.
        syntaxes: The UIDs of the transfer syntaxes that the result may have.
        allow_new_uid: Whether the result may have another SOP Instance UID, as a lossy one needs.
    """

    file: bytes = dataclasses.field(repr=False)
    syntaxes: tuple[str, ...]
    allow_new_uid: bool


@overload
def image_decoder(handler: _Decoder, /) -> _Decoder: ...
@overload
def image_decoder(*, timeout: float | None = ...) -> Callable[[_Decoder], _Decoder]: ...
def image_decoder(handler: Any = None, /, *, timeout: float | None = None) -> Any:
    """Decode images of DICOM files: previews, rendered frames, and what scripts ask for.

    The function gets a `DecodeRequest` and returns the image: an `orthanc.Image`, which is
    Orthanc's from then on, or an array (see `as_image`). None means that the file is not its own:
    the next decoder is asked, at last Orthanc's own one, as after a decoder that raises or takes
    too long. Orthanc's setting BuiltinDecoderTranscoderOrder tells who is asked first. An
    `async def` runs on the event loop: hand long work to `asyncio.to_thread`. Registers by
    `OrthancPluginRegisterDecodeImageCallback`.

    Args:
        handler: The decoder, `def` or `async def`.
        timeout: Seconds that Orthanc waits for it; None: 30.

    Returns:
        The handler unchanged; without one, the decorator.

    Raises:
        TypeError: The handler does not take the request, or the timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
    """
    return _waited.register(
        handler,
        "image_decoder",
        "request",
        "RegisterDecodeImageCallback",
        timeout=timeout,
        question=DecodeRequest,
        answer=_image,
    )


@overload
def transcoder(handler: _Transcoder, /) -> _Transcoder: ...
@overload
def transcoder(*, timeout: float | None = ...) -> Callable[[_Transcoder], _Transcoder]: ...
def transcoder(handler: Any = None, /, *, timeout: float | None = None) -> Any:
    """Transcode DICOM files to another transfer syntax.

    The function gets a `TranscodeRequest` and returns the new file, as bytes or another buffer.
    None means that it does not transcode this one: the next transcoder is asked, at last
    Orthanc's own one, as after a transcoder that raises or takes too long. Registers by
    `OrthancPluginRegisterTranscoderCallback`.

    Args:
        handler: The transcoder, `def` or `async def`.
        timeout: Seconds that Orthanc waits for it; None: 30.

    Returns:
        The handler unchanged; without one, the decorator.

    Raises:
        TypeError: The handler does not take the request, or the timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
    """
    return _waited.register(
        handler,
        "transcoder",
        "request",
        "RegisterTranscoderCallback",
        timeout=timeout,
        question=TranscodeRequest,
    )


# The struct module's name of a number and how many make a pixel; what C calls long or int is the
# same where it has as many bytes.
_KINDS = {
    **dict.fromkeys("BHILQ", "u"),
    **dict.fromkeys("bhilq", "i"),
    "f": "f",
}
_FORMATS = {
    ("u1", 1): orthanc.PixelFormat.GRAYSCALE8,
    ("u2", 1): orthanc.PixelFormat.GRAYSCALE16,
    ("i2", 1): orthanc.PixelFormat.SIGNED_GRAYSCALE16,
    ("u4", 1): orthanc.PixelFormat.GRAYSCALE32,
    ("u8", 1): orthanc.PixelFormat.GRAYSCALE64,
    ("f4", 1): orthanc.PixelFormat.FLOAT32,
    ("u1", 3): orthanc.PixelFormat.RGB24,
    ("u1", 4): orthanc.PixelFormat.RGBA32,
    ("u2", 3): orthanc.PixelFormat.RGB48,
}


class _Array(Protocol):
    # Before Python 3.12 type checkers do not know that arrays are buffers.
    @property
    def __array_interface__(self) -> dict[str, Any]: ...


def as_image(pixels: Buffer | _Array) -> orthanc.Image:
    """Make an image over an array, without a copy; the image keeps the array alive.

    Uses `OrthancPluginCreateImageAccessor`.

    Args:
        pixels: Rows and columns, or rows, columns and channels: a NumPy array or another buffer.
            Grayscale as uint8, uint16, int16, uint32, uint64 or float32; RGB as uint8 or uint16;
            RGBA as uint8.

    Returns:
        The image, which can be written to where the array can.

    Raises:
        TypeError: Orthanc has no images of this shape and type of number.
        ValueError: The array's memory has gaps.
    """
    view = memoryview(pixels)  # type: ignore[arg-type] # an array is one
    letter = (view.format or "B").lstrip("@=" + ("<" if sys.byteorder == "little" else ">!"))
    number = f"{_KINDS.get(letter)}{view.itemsize}"
    shape = view.shape or ()
    channels = shape[2] if len(shape) == 3 else 1
    pixel_format = _FORMATS.get((number, channels)) if len(shape) in {2, 3} else None
    if pixel_format is None:
        message = (
            f"an array of shape {shape} and format {view.format!r} is no image of Orthanc's: it "
            "needs rows, columns and 1, 3 or 4 channels of a type that as_image() names"
        )
        raise TypeError(message)
    if not view.c_contiguous:
        message = "the array's memory has gaps: pass numpy.ascontiguousarray(…) of it"
        raise ValueError(message)
    row = shape[1] * channels * view.itemsize
    return orthanc.CreateImageAccessor(pixel_format, shape[1], shape[0], row, view)


def _image(result: Any) -> orthanc.Image | None:
    if result is None or isinstance(result, orthanc.Image):
        return result
    try:
        memoryview(result)
    except TypeError:
        message = (
            "@image_decoder: the decoder returns an orthanc.Image, an array or None, not "
            f"{type(result).__name__}"
        )
        raise TypeError(message) from None
    return as_image(result)
