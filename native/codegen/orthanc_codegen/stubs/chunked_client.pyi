"""HTTP requests in chunks: native/callbacks/chunked_client.cpp."""

from collections.abc import Callable

_Chunks: TypeAlias = _Data | Iterable[_Data] | AsyncIterable[_Data]

def ChunkedHttpClient(
    method: HttpMethod | int,
    url: str,
    headers: dict[str, str] | None = None,
    body: _Chunks | None = None,
    answer: Callable[[bytes], object] | None = None,
    username: str | None = None,
    password: str | None = None,
    timeout: int = 0,
    certificateFile: str | None = None,
    certificateKeyFile: str | None = None,
    certificateKeyPassword: str | None = None,
    pkcs11: int = 0,
    /,
) -> tuple[int, dict[str, str], bytes]:
    """Make an HTTP request whose body and answer go chunk by chunk.

    A chunk of the body is taken when Orthanc sends it, and one of the answer is handed on before
    the next is read: neither is whole in memory. Iterators and functions that are async run on the
    event loop, others on the thread that makes the request.

    Args:
        method: The HTTP method.
        url: The URL; Orthanc's settings for HTTP clients apply.
        headers: HTTP headers, or None.
        body: For POST and PUT: a buffer or text, or an iterable or async iterable of these; None:
            no body.
        answer: Called with each chunk of the answer, a `def` or an `async def`; None: the chunks
            are collected and returned.
        username: For HTTP authentication, or None.
        password: For HTTP authentication, or None.
        timeout: Seconds for the request; also for each chunk that is asked of Python, or handed to
            it. 0: Orthanc's `HttpTimeout` for the request, and 60 s for a chunk.
        certificateFile: Client certificate, in PEM format, or None.
        certificateKeyFile: Its key, in PEM format, or None.
        certificateKeyPassword: The password of the key, or None.
        pkcs11: 1 to authenticate by PKCS#11.

    Returns:
        The status, the headers of the answer, and its body (empty where `answer` was given).

    Raises:
        OrthancException: No connection, a timeout, a broken transfer.
        BaseException: What `body` or `answer` has raised; the transfer is broken off then.

    SDK function: OrthancPluginChunkedHttpClient().
    """

async def chunked_http_client(
    method: HttpMethod | int,
    url: str,
    headers: dict[str, str] | None = None,
    body: _Chunks | None = None,
    answer: Callable[[bytes], object] | None = None,
    username: str | None = None,
    password: str | None = None,
    timeout: int = 0,
    certificateFile: str | None = None,
    certificateKeyFile: str | None = None,
    certificateKeyPassword: str | None = None,
    pkcs11: int = 0,
    /,
) -> tuple[int, dict[str, str], bytes]:
    """Make an HTTP request in chunks without blocking the loop; as ChunkedHttpClient.

    When who awaits it is cancelled, the transfer is broken off at its next chunk.

    SDK function: OrthancPluginChunkedHttpClient().
    """
