"""C-FIND requests and worklists: native/callbacks/find.cpp."""

from collections.abc import Callable

def RegisterFindCallback(callback: Callable[..., object], /) -> None:
    """Register the function that answers C-FIND requests, instead of Orthanc itself.

    The callback gets (answers, query, issuerAet, calledAet), is a `def` or an `async def`, and
    adds its answers by `answers.FindAddAnswer(dicom)`; both objects are valid until it returns.
    What it returns is ignored. One request is handled at a time. If it raises, or takes longer
    than 30 s (`async def` only), the modality gets a failure and the log says why.

    Args:
        callback: The only handler.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Another one is registered, here or by another plugin; Orthanc has stopped,
            or this is the running event loop.

    SDK function: OrthancPluginRegisterFindCallback().
    """

def RegisterFindCallback2(callback: Callable[..., object], /) -> None:
    """Register the function that answers C-FIND requests, and tell it the connection.

    As RegisterFindCallback(), with (answers, query, connection). It needs Orthanc 1.12.10.

    Args:
        callback: The only handler.

    Raises:
        TypeError: It is not callable.
        RuntimeError: As for RegisterFindCallback(), or this Orthanc is older.

    SDK function: OrthancPluginRegisterFindCallback2().
    """

def RegisterWorklistCallback(callback: Callable[..., object], /) -> None:
    """Register the function that answers C-FIND requests for modality worklists.

    The callback gets (answers, query, issuerAet, calledAet), is a `def` or an `async def`, and
    adds its answers by `answers.WorklistAddAnswer(query, dicom)`; both objects are valid until it
    returns. What it returns is ignored. One request is handled at a time. If it raises, or takes
    longer than 30 s (`async def` only), the modality gets a failure and the log says why.

    Args:
        callback: The only handler.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Another one is registered, here or by another plugin; Orthanc has stopped,
            or this is the running event loop.

    SDK function: OrthancPluginRegisterWorklistCallback().
    """

def RegisterWorklistCallback2(callback: Callable[..., object], /) -> None:
    """Register the function that answers worklist requests, and tell it the connection.

    As RegisterWorklistCallback(), with (answers, query, connection). It needs Orthanc 1.12.10.

    Args:
        callback: The only handler.

    Raises:
        TypeError: It is not callable.
        RuntimeError: As for RegisterWorklistCallback(), or this Orthanc is older.

    SDK function: OrthancPluginRegisterWorklistCallback2().
    """
