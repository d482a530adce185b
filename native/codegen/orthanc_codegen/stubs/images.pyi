"""Images, decoders, transcoders: native/callbacks/images.cpp, native/sdk/memory_buffer.cpp."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVarTuple, final, overload

_Ts = TypeVarTuple("_Ts")

@final
class MemoryBuffer:
    """Memory that Orthanc has allocated, read in place through the buffer protocol.

    NumPy, `memoryview`, file-like readers and every SDK function that takes bytes read it as it
    is; `bytes(buffer)` copies it. It may be written to. The memory is freed when the object and
    the last view of it are gone, which may be after Orthanc has stopped. without_copy() gives it.
    """

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@overload
def without_copy(
    function: Callable[[*_Ts], Coroutine[Any, Any, bytes]], /, *arguments: *_Ts
) -> Coroutine[Any, Any, MemoryBuffer]:
    """Await an SDK function and get its result in place: see the form that blocks."""

@overload
def without_copy(function: Callable[[*_Ts], bytes], /, *arguments: *_Ts) -> MemoryBuffer:
    """Call an SDK function and get its result in place, as a MemoryBuffer, instead of as bytes.

    `await orthanc.without_copy(orthanc.get_dicom_for_instance, instance)` or, where it may block,
    `orthanc.without_copy(orthanc.GetDicomForInstance, instance)`. Every function and method whose
    result is `bytes` that Orthanc has allocated for it can be called so.

    Args:
        function: The function, or a bound method.
        arguments: What the function is called with.

    Returns:
        The memory; of an awaitable function, a coroutine that gives it.

    Raises:
        TypeError: The function does not give memory that Orthanc has allocated.
        OrthancException: The call failed.
    """

def RegisterDecodeImageCallback(callback: Callable[[bytes, int], object], /) -> None:
    """Register a decoder of DICOM images, a `def` or an `async def`.

    The callback gets the DICOM file and the index of the frame, and returns an Image, or None for
    a file that is not its own. Each decoder is asked, in the order of registration, until one
    returns an image; then Orthanc's own, unless its BuiltinDecoderTranscoderOrder says otherwise.
    A decoder that raises, returns anything else or takes longer than 30 s is logged and passed
    over. The Image is Orthanc's from then on: using it again raises. Its pixels are copied only
    if a view of them still exists or it was made by CreateImageAccessor.

    Orthanc waits with a lock: a first RegisterDecodeImageCallback or RegisterTranscoderCallback
    raises inside a decoder. Before Orthanc 1.12.2 so do functions that read the database, when
    the decoding was begun by DecodeDicomImage, GetInstanceDecodedFrame or TranscodeDicomInstance.

    Args:
        callback: The decoder.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Orthanc has stopped, or the first decoder came on the running event loop.

    SDK function: OrthancPluginRegisterDecodeImageCallback().
    """

def RegisterTranscoderCallback(
    callback: Callable[[bytes, tuple[str, ...], bool], object], /
) -> None:
    """Register a transcoder of DICOM files, a `def` or an `async def`.

    The callback gets the DICOM file, the UIDs of the transfer syntaxes that its result may have,
    and whether the result may have another SOP Instance UID (as lossy compression needs). It
    returns the transcoded file, as bytes or another buffer, or None for a file that it does not
    transcode. Each transcoder is asked, in the order of registration, until one returns a file;
    then Orthanc's own, unless its BuiltinDecoderTranscoderOrder says otherwise. A transcoder that
    raises, returns anything else or takes longer than 30 s is logged and passed over.

    What would hang raises, as in a decoder: see RegisterDecodeImageCallback().

    Args:
        callback: The transcoder.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Orthanc has stopped, or the first transcoder came on the running event loop.

    SDK function: OrthancPluginRegisterTranscoderCallback().
    """
