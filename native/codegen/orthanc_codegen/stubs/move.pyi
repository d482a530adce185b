"""C-MOVE requests: native/callbacks/move.cpp."""

from collections.abc import Callable

def RegisterMoveCallback(callback: Callable[..., object], /) -> None:
    """Register the function that handles C-MOVE requests, instead of Orthanc itself.

    The callback gets the keywords Level ("PATIENT", "STUDY", "SERIES" or "INSTANCE"), PatientID,
    AccessionNumber, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, OriginatorAET, SourceAET,
    TargetAET (texts, empty where absent) and OriginatorID (an int). It is a `def` or an
    `async def`, and returning anything means success. If it raises, or takes longer than 10
    minutes (`async def` only), the response says that its sub-operation has failed.

    Args:
        callback: The only handler.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Another one is registered, here or by another plugin; Orthanc has stopped,
            or this is the running event loop.

    SDK function: OrthancPluginRegisterMoveCallback().
    """

def RegisterMoveCallback2(
    create: Callable[..., object],
    getSize: Callable[..., object],
    apply: Callable[..., object],
    free: Callable[..., object],
    /,
) -> None:
    """Register four functions that handle C-MOVE requests step by step, with progress.

    Each is a `def` or an `async def` that Orthanc waits for, 30 s at most where it is async. One
    that raises fails the request: status 0xC000 until the number is known, then 0xB000 without
    further sub-operations. `free` is called in any case once `create` has returned.

    Args:
        create: Gets the keywords of RegisterMoveCallback(), and returns an object for the rest.
        getSize: Gets the object, and returns the number of sub-operations, 0 to 65535.
        apply: Gets the object, once a sub-operation. An orthanc.ErrorCode other than SUCCESS
            fails, anything else is success.
        free: Gets the object when the request has ended.

    Raises:
        TypeError: One is not callable.
        RuntimeError: As for RegisterMoveCallback().

    SDK function: OrthancPluginRegisterMoveCallback().
    """

def RegisterMoveCallback3(
    create: Callable[..., object],
    getSize: Callable[..., object],
    apply: Callable[..., object],
    free: Callable[..., object],
    /,
) -> None:
    """Register four functions that handle C-MOVE requests, and tell the connection.

    As RegisterMoveCallback2(), but `create` gets the connection, valid until it returns, as its
    positional argument, and no OriginatorAET and SourceAET. It needs Orthanc 1.12.10.

    Args:
        create: Gets the connection and the keywords, and returns an object for the rest.
        getSize: Gets the object, and returns the number of sub-operations, 0 to 65535.
        apply: Gets the object, once a sub-operation.
        free: Gets the object when the request has ended.

    Raises:
        TypeError: One is not callable.
        RuntimeError: As for RegisterMoveCallback(), or this Orthanc is older.

    SDK function: OrthancPluginRegisterMoveCallback2().
    """
