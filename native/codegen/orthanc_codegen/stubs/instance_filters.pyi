"""What decides about instances: native/callbacks/instance_filters.cpp, received_instance.cpp."""

from collections.abc import Callable

def RegisterReceivedInstanceCallback(
    callback: Callable[[bytes, InstanceOrigin], object], /
) -> None:
    """Register a handler that keeps, changes or discards each instance before it is stored.

    The callback gets (receivedDicom, origin) and is a `def` or an `async def`. It returns
    (ReceivedInstanceAction.KEEP_AS_IS, None), (ReceivedInstanceAction.MODIFY, bytes) or
    (ReceivedInstanceAction.DISCARD, None); a sender whose instance is discarded is told that it
    was stored. Several handlers are called in the order of their registration, each with what the
    one before has made of the instance, until one discards it.

    The sender waits, and with it every other sender: Orthanc calls these handlers one at a time. A
    handler that raises, returns something else or takes longer than 30 s refuses the instance: the
    sender sees a failure (C-STORE status 0xA700, HTTP status 500) and nothing is stored. Only with
    OnFilterError "accept" is it stored, as if that handler were not there.

    Args:
        callback: The handler.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Orthanc has stopped, another plugin handles received instances, or the first
            handler came on the running event loop.

    SDK function: OrthancPluginRegisterReceivedInstanceCallback().
    """

def RegisterIncomingDicomInstanceFilter(callback: Callable[[DicomInstance], object], /) -> None:
    """Register a filter that each instance must pass to be stored, wherever it comes from.

    The callback gets a DicomInstance, which is valid until it answers, and is a `def` or an
    `async def`. It returns 1 to store the instance or 0 to discard it; a sender whose instance is
    discarded is told that it was stored. Every registered filter must return 1.

    The sender waits. A filter that raises, returns something else or takes longer than 30 s
    refuses the instance: the sender sees a failure (C-STORE status 0xA700, HTTP status 500),
    unless the configuration says OnFilterError "accept".

    Args:
        callback: The filter.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Orthanc has stopped, or the first filter came on the running event loop.

    SDK function: OrthancPluginRegisterIncomingDicomInstanceFilter().
    """

def RegisterIncomingCStoreInstanceFilter(callback: Callable[[DicomInstance], object], /) -> None:
    """Register a filter that each instance received by C-STORE must pass to be stored.

    The callback gets a DicomInstance, which is valid until it answers, and is a `def` or an
    `async def`. It returns the DIMSE status for the sender: 0 stores the instance, with any other
    it is not stored. Every registered filter must return 0.

    The sender waits. A filter that raises, returns something else (None and True too) or takes
    longer than 30 s refuses the instance with the status 0xA700, unless the configuration says
    OnFilterError "accept".

    Args:
        callback: The filter.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Orthanc has stopped, or the first filter came on the running event loop.

    SDK function: OrthancPluginRegisterIncomingCStoreInstanceFilter().
    """
