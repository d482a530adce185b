"""REST callbacks: native/callbacks/rest.cpp."""

from collections.abc import Callable

def RegisterRestCallback(pathRegularExpression: str, callback: Callable[..., object], /) -> None:
    """Register a REST route.

    The callback gets (output, uri, **request) and is a `def` or an `async def`.

    SDK function: OrthancPluginRegisterRestCallback().
    """

async def register_rest_callback(
    pathRegularExpression: str, callback: Callable[..., object], /
) -> None:
    """Register a REST route while Orthanc serves, without blocking the loop.

    Waits until no REST handler runs, 5 seconds at most.

    Raises:
        RuntimeError: Called inside a REST handler, or handlers were still running then.

    SDK function: OrthancPluginRegisterRestCallback().
    """
