"""Storage areas: native/callbacks/storage.cpp."""

from collections.abc import Callable

def RegisterStorageArea(
    create: Callable[..., object],
    read: Callable[..., object],
    remove: Callable[..., object],
    /,
) -> None:
    """Register where Orthanc keeps its files, instead of its own folder.

    Each callback is a `def` or an `async def`. Orthanc's thread waits for each of them, for 30 s
    at most. It asks before ORTHANC_STARTED too, and until Orthanc has stopped.

    Args:
        create: Called with (uuid, contentType, data); data is bytes. What it returns is ignored.
            When it raises or takes too long, Orthanc refuses the file and the sender sees a
            failure.
        read: Called with (uuid, contentType); returns the whole content, as bytes. When it raises
            or returns anything else, the reader gets an error.
        remove: Called with (uuid, contentType). Orthanc holds its index meanwhile, so a call that
            reads the index raises. When it raises, Orthanc logs that the file is still there.

    Raises:
        TypeError: One of them is not callable.
        RuntimeError: There is a storage area already, or Orthanc has been started already.

    SDK function: OrthancPluginRegisterStorageArea().
    """

def RegisterStorageArea2(
    create: Callable[..., object],
    readWhole: Callable[..., object],
    readRange: Callable[..., object] | None,
    remove: Callable[..., object],
    /,
) -> None:
    """Register where Orthanc keeps its files, with a callback that reads a part of one.

    As `RegisterStorageArea`, and Orthanc then reads the header of a large file without its pixels.

    Args:
        create: Called with (uuid, contentType, data).
        readWhole: Called with (uuid, contentType); returns the whole content, as bytes.
        readRange: Called with (uuid, contentType, rangeStart, size); returns exactly so many
            bytes from rangeStart on. None: Orthanc reads the whole file and cuts.
        remove: Called with (uuid, contentType).

    Raises:
        TypeError: One of them is not callable.
        RuntimeError: There is a storage area already, or Orthanc has been started already.

    SDK function: OrthancPluginRegisterStorageArea2().
    """

def RegisterStorageArea3(
    create: Callable[..., object],
    readRange: Callable[..., object],
    remove: Callable[..., object],
    /,
) -> None:
    """Register where Orthanc keeps its files, with data of its own for each file.

    Orthanc keeps these custom data in its index and gives them to `readRange` and `remove`: the
    key of the file in another system, for example. Who waits is as in `RegisterStorageArea`.

    Args:
        create: Called with (uuid, contentType, compressionType, data, dicomInstance), where
            dicomInstance is a DicomInstance that ends with the call, or None for a file that is
            no DICOM instance. Returns an ErrorCode and the custom data, as bytes (None: none).
        readRange: Called with (uuid, contentType, rangeStart, size, customData); returns an
            ErrorCode and exactly so many bytes from rangeStart on.
        remove: Called with (uuid, contentType, customData); returns an ErrorCode.

    Raises:
        TypeError: One of them is not callable.
        RuntimeError: There is a storage area already, Orthanc has been started already, or it is
            older than 1.12.8.

    SDK function: OrthancPluginRegisterStorageArea3().
    """
