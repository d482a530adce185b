"""Changes and stored instances: native/callbacks/changes.cpp and stored.cpp."""

from collections.abc import Callable

def RegisterOnChangeCallback(
    callback: Callable[[ChangeType, ResourceType, str], object], /
) -> None:
    """Register a callback for changes; it is a `def` or an `async def`.

    SDK function: OrthancPluginRegisterOnChangeCallback().
    """

def RegisterOnStoredInstanceCallback(callback: Callable[[DicomInstance, str], object], /) -> None:
    """Register a callback for stored instances; it is a `def` or an `async def`.

    SDK function: OrthancPluginRegisterOnStoredInstanceCallback().
    """
