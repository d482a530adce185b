"""REST callbacks whose bodies arrive in chunks: native/callbacks/rest.cpp, chunked_body.cpp."""

from collections.abc import Callable

@final
class ChunkedBody:
    """The body of a request as it arrives: read it once, by `for` or by `async for`.

    While the handler works on a chunk at most one more is in memory, and the client waits. When
    the client goes before the end, reading raises ConnectionError. What the handler does not read
    is thrown away.
    """

    def __iter__(self) -> ChunkedBody: ...
    def __next__(self) -> bytes: ...
    def __aiter__(self) -> ChunkedBody: ...
    async def __anext__(self) -> bytes: ...

def RegisterChunkedRestCallback(
    pathRegularExpression: str, callback: Callable[..., object], /
) -> None:
    """Register a REST route whose request bodies need not fit into memory.

    The callback gets (output, uri, **request), as that of RegisterRestCallback, but for a POST or
    PUT `request["body"]` is a ChunkedBody, and the handler begins before the body has arrived. Its
    answer is sent once the client has sent all. It is a `def` or an `async def`.

    Args:
        pathRegularExpression: What the whole path must match.
        callback: The handler, for all methods.

    Raises:
        RuntimeError: As RegisterRestCallback.

    SDK function: OrthancPluginRegisterChunkedRestCallback().
    """

async def register_chunked_rest_callback(
    pathRegularExpression: str, callback: Callable[..., object], /
) -> None:
    """Register such a route while Orthanc serves; as register_rest_callback.

    SDK function: OrthancPluginRegisterChunkedRestCallback().
    """
