"""One HTTP client for each destination: large bodies, no redirections, a stall is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orthanc_async import _lifespan, _registry
from orthanc_async._durable.attempt import GiveUp, RetryLater
from orthanc_async.forward._errors import Answer, Down, shown
from orthanc_async.forward._secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import aiohttp
    from orthanc_async.forward._auth import TLS, Auth

Buffer = bytes | bytearray | memoryview
Body = "Buffer | Callable[[], AsyncGenerator[Buffer, None]]"

_CHUNK = 512 * 2**10  # bytes handed to the connection at once; also the least for one stall time
_KEPT_OPEN = 4.0  # seconds without a request: shorter than the time after which servers close
_clients: set[Http] = set()
_hooked = False


@_registry.on_clear
def _forget() -> None:
    global _hooked  # noqa: PLW0603 - one stop for all of them
    _hooked = False


async def _close_all() -> None:
    for client in list(_clients):
        await client.close()


def close_at_stop() -> None:
    """Have the connections closed when Orthanc stops, after the scripts' own hooks."""
    global _hooked  # noqa: PLW0603
    if not _hooked:
        _hooked = True
        _lifespan.add_shutdown(_close_all)


class Http:
    """The connections of one destination. Thread: the loop's.

    Args:
        tls: None: as the system trusts.
        auth: None: none.
        secrets: Those that have been read, for the texts of errors.
        connect_timeout: Seconds for finding the host, connecting and TLS.
        stall_timeout: Seconds in which 512 KiB of a body must be taken, and the whole answer be
            there after its end.
    """

    def __init__(
        self,
        *,
        tls: TLS | None = None,
        auth: Auth | None = None,
        secrets: Secrets | None = None,
        connect_timeout: float = 15.0,
        stall_timeout: float = 60.0,
    ) -> None:
        self.secrets = secrets or Secrets()
        self._tls = tls
        self._auth = auth
        self._connect = connect_timeout
        self._stall = stall_timeout
        self._session: aiohttp.ClientSession | None = None
        self._making = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        session, self._session = self._session, None
        _clients.discard(self)
        if session is not None:
            await session.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Any = b"",
        length: int | None = None,
        most: int = 64 * 2**10,
    ) -> Answer:
        """Send a request and read the answer, whatever its status. A 401 is tried once more.

        Args:
            method: Such as POST.
            url: Already encoded.
            headers: Without authentication.
            body: A buffer, or a function that makes an async generator of buffers.
            length: Of the body, if it is known; else it goes out in chunks.
            most: Bytes of the answer's body that are read.

        Raises:
            Down: There is no answer.
            Exception: What the body's generator raises.
        """
        headers = dict(headers)
        if self._auth is None:
            return await self._send(method, url, headers, body, length, most)
        headers["Authorization"] = used = await self._auth.header(self.secrets)
        answer = await self._send(method, url, headers, body, length, most)
        if answer.status == 401 and self._auth.renew(used):
            headers["Authorization"] = await self._auth.header(self.secrets)
            answer = await self._send(method, url, headers, body, length, most)
        return answer

    async def _send(  # noqa: PLR0917 - as in `send`
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Any,
        length: int | None,
        most: int,
    ) -> Answer:
        import aiohttp
        from yarl import URL

        if not callable(body):
            length = len(body)
        if length is not None:
            headers["Content-Length"] = str(length)
        session = await self._open()
        stream: _Stream | None = None
        try:
            async with asyncio.timeout(self._connect) as limit:
                stream = _Stream(body, limit, self._stall)
                async with session.request(
                    method,
                    URL(url, encoded=True),
                    data=stream.chunks(),
                    headers=headers,
                    allow_redirects=False,
                ) as response:
                    limit.reschedule(asyncio.get_running_loop().time() + self._stall)
                    taken = await _take(response, most)
                    return Answer(
                        shown(url), response.status, response.headers, taken, len(taken) <= most
                    )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if stream is not None and stream.error is not None:
                raise stream.error from None
            raise self._explained(url, error, stream) from error
        except ValueError as error:  # what is no URL
            raise GiveUp(f"{shown(url)}: {error}", reason="configuration") from None

    def _explained(self, url: str, error: Exception, stream: _Stream | None) -> RetryLater:
        import aiohttp

        where = shown(url)
        if isinstance(error, aiohttp.InvalidURL):
            return RetryLater(f"{where} is no URL that can be asked")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = getattr(error.certificate_error, "verify_message", "") or str(error)
            return Down(
                f"{where}: the server's certificate is not accepted: {reason}. If it is right, "
                "give the certificates of who has issued it: tls=forward.TLS(ca='….pem')"
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            host = urlsplit(where).hostname
            return Down(f"{where}: the host name {host!r} cannot be found")
        if isinstance(error, TimeoutError):
            if stream is None or not stream.begun:
                return Down(f"{where}: no connection within {self._connect:g} s")
            what = "no answer" if stream.ended else "the receiver takes nothing"
            return Down(f"{where}: {what} for {self._stall:g} s, the connection was closed")
        text = str(error) or type(error).__name__
        if isinstance(error, ssl.SSLError | aiohttp.ClientConnectorSSLError):
            return Down(f"{where}: no TLS connection: {self.secrets.scrub(text)}")
        if isinstance(error, aiohttp.ServerDisconnectedError):
            text = "the connection was closed before there was an answer"
        return Down(f"{where}: {self.secrets.scrub(text)}")

    async def _open(self) -> aiohttp.ClientSession:
        async with self._making:
            if self._session is None:
                import aiohttp

                verified: ssl.SSLContext | bool = True
                if self._tls is not None:
                    try:
                        verified = await self._tls.context(self.secrets)
                    except OSError as error:  # the files may be renewed at this very moment
                        raise RetryLater(str(error)) from None
                connector = aiohttp.TCPConnector(
                    ssl=verified, limit=0, keepalive_timeout=_KEPT_OPEN
                )
                self._session = aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=None),
                    headers={"User-Agent": "orthanc-async"},
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
                _clients.add(self)
        return self._session


class _Stream:
    """The body of one request on its way; moves the time at which it counts as stalled."""

    def __init__(self, body: Any, limit: asyncio.Timeout, stall: float) -> None:
        self._body = body
        self._limit = limit
        self._stall = stall
        self._time = asyncio.get_running_loop().time
        self.begun = self.ended = False
        self.error: BaseException | None = None

    async def chunks(self) -> AsyncGenerator[memoryview, None]:
        """Yield the body in pieces of a size that the connection takes at once."""
        self.begun = True
        try:
            if not callable(self._body):
                for piece in self._pieces(self._body):
                    yield piece
            else:
                # Until there is something to send, it is not the receiver that is slow.
                self._limit.reschedule(None)
                async with contextlib.aclosing(self._body()) as buffers:
                    async for buffer in buffers:
                        for piece in self._pieces(buffer):
                            yield piece
                        self._limit.reschedule(None)
        except GeneratorExit:
            raise
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self.error = error
            raise
        self.ended = True
        self._move()

    def _pieces(self, buffer: Buffer) -> Any:
        view = memoryview(buffer)
        for start in range(0, len(view), _CHUNK):
            self._move()
            yield view[start : start + _CHUNK]

    def _move(self) -> None:
        # Not when the request has ended already: the answer may come before the body's end.
        with contextlib.suppress(RuntimeError):
            self._limit.reschedule(self._time() + self._stall)


async def _take(response: aiohttp.ClientResponse, most: int) -> bytes:
    taken = bytearray()
    while len(taken) <= most:
        chunk = await response.content.readany()
        if not chunk:
            break
        taken += chunk
    return bytes(taken)
