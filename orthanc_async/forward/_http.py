"""One HTTP client for each destination: large bodies, no redirections, a stall is noticed."""

from __future__ import annotations

import asyncio
import errno
import importlib
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orthanc_async import _lifespan, _registry
from orthanc_async._durable.attempt import GiveUp, RetryLater
from orthanc_async.forward._body import Stall, Stream
from orthanc_async.forward._errors import Answer, Down, shown
from orthanc_async.forward._secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp
    from orthanc_async.forward._auth import TLS, Auth

_KEPT_OPEN = 4.0  # seconds without a request: shorter than the time after which servers close
_CLOSED = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})
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
        # While the scripts are imported: it takes long, and would hold the loop, and with it all
        # answers, at the first delivery.
        import aiohttp  # noqa: F401

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
        if not callable(body):
            length = len(body)
        if length is not None:
            headers["Content-Length"] = str(length)
        session = await self._open()
        import aiohttp
        from yarl import URL

        stream: Stream | None = None
        stall: Stall | None = None
        try:
            async with asyncio.timeout(self._connect) as limit:
                stall = Stall(limit, self._stall)
                stream = Stream(body, stall)
                async with session.request(
                    method,
                    URL(url, encoded=True),
                    data=stream.chunks(),
                    headers=headers,
                    allow_redirects=False,
                ) as response:
                    stall.move()
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
        finally:
            if stall is not None:
                stall.stop()

    def _explained(self, url: str, error: Exception, stream: Stream | None) -> RetryLater:
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
            return Down(
                f"{where}: the host name {host!r} cannot be found: check the URL, and where this "
                "machine looks up names"
            )
        if isinstance(error, TimeoutError):
            if stream is None or not stream.begun:
                return Down(
                    f"{where}: no connection within {self._connect:g} s: check that the server "
                    "runs, and what is between"
                )
            what = "no answer" if stream.ended else "the receiver takes nothing"
            return Down(
                f"{where}: {what} for {self._stall:g} s, the connection was closed: if the "
                "receiver needs longer, set stall_timeout"
            )
        text = str(error) or type(error).__name__
        if isinstance(error, ssl.SSLError | aiohttp.ClientConnectorSSLError):
            return Down(f"{where}: no TLS connection: {self.secrets.scrub(text)}")
        number = getattr(error, "errno", None)
        if isinstance(error, aiohttp.ClientConnectorError):
            if number == errno.ECONNREFUSED:
                return Down(
                    f"{where}: nobody listens there: check that the server runs, and the port in "
                    "the URL"
                )
        elif number in _CLOSED or isinstance(
            error,
            aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionError,
        ):
            return Down(
                f"{where}: the connection was closed by the receiver before its answer was there: "
                "its own log may say why"
            )
        return Down(f"{where}: {self.secrets.scrub(text)}")

    async def _open(self) -> aiohttp.ClientSession:
        async with self._making:
            if self._session is None:
                # Some tenths of a second, in which the loop goes on.
                await asyncio.to_thread(importlib.import_module, "aiohttp")
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


async def _take(response: aiohttp.ClientResponse, most: int) -> bytes:
    taken = bytearray()
    while len(taken) <= most:
        chunk = await response.content.readany()
        if not chunk:
            break
        taken += chunk
    return bytes(taken)
