"""The filter of incoming HTTP requests: native/callbacks/http_filter.cpp."""

from collections.abc import Callable

def RegisterIncomingHttpRequestFilter(callback: Callable[..., object], /) -> None:
    """Register a filter that each HTTP request from outside must pass.

    The callback gets (uri, **request), where request has `method` (an HttpMethod), `ip`, `headers`
    (names in lower case) and `get` (the query of a GET). It is a `def` or an `async def`, and
    allows the request by returning True; every registered filter must. A filter that raises,
    returns anything but a bool, or takes longer than 30 s refuses with HTTP status 500, unless the
    configuration says OnFilterError "accept".

    Args:
        callback: The filter.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Orthanc has stopped, or the first filter came on the running event loop.

    SDK function: OrthancPluginRegisterIncomingHttpRequestFilter2().
    """
