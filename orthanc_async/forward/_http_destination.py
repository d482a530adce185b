"""What the destinations have in common that are asked over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlsplit

from orthanc_async import _checks
from orthanc_async._durable.attempt import RetryLater
from orthanc_async.forward import _source
from orthanc_async.forward._auth import TLS, Auth
from orthanc_async.forward._destination import Delivery, Destination, Work, together
from orthanc_async.forward._errors import Answer, check, shown
from orthanc_async.forward._http import Http, close_at_stop
from orthanc_async.forward._secrets import Secret, Secrets, check_secret, is_header
from orthanc_async.forward._template import Fields
from orthanc_async.forward._url import check_url

if TYPE_CHECKING:
    from orthanc_async.forward._source import Item

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_UNFIT = "a line's end, or another character that no header can hold: only printable ASCII"
# Set by the destination or by HTTP itself.
_OURS = frozenset(
    {
        "authorization", "connection", "content-encoding", "content-length", "content-type",
        "expect", "host", "idempotency-key", "transfer-encoding", "webhook-id",
        "webhook-signature", "webhook-timestamp",
    }
)  # fmt: skip


class HttpDestination(Destination):
    """A destination with a URL.

    Args:
        url: Checked here, and without its secrets the destination's name.
        auth: `Basic`, `Bearer` or `OAuth2ClientCredentials`.
        tls: `TLS`, where the defaults do not fit.
        headers: More headers; their values may be secrets.
        connect_timeout: Seconds for a connection, TLS included.
        stall_timeout: Seconds in which 512 KiB must be taken, and an answer be given.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | None = None,
        tls: TLS | None = None,
        headers: Mapping[str, Secret] | None = None,
        connect_timeout: float = 15.0,
        stall_timeout: float = 60.0,
        **common: Any,
    ) -> None:
        """Check the settings.

        Raises:
            TypeError: One is of the wrong kind.
            ValueError: One makes no sense.
        """
        self.url = check_url(url, self.kind)
        super().__init__(shown(self.url), **common)
        if auth is not None and not isinstance(auth, Auth):
            raise TypeError(f"{self.kind}: auth must be forward.Basic(…), Bearer(…) or the like")
        if tls is not None and not isinstance(tls, TLS):
            raise TypeError(f"{self.kind}: tls must be forward.TLS(…)")
        for name, seconds in (
            ("connect_timeout", connect_timeout),
            ("stall_timeout", stall_timeout),
        ):
            _checks.seconds(self.kind, name, seconds)
        self._headers = _headers(self.kind, headers)
        self.secrets = Secrets()
        for pair in urlsplit(self.url).query.split("&"):
            value = pair.partition("=")[2]
            for text in (value, unquote_plus(value)):
                self.secrets.hide(text)
        self.http = Http(
            tls=tls,
            auth=auth,
            secrets=self.secrets,
            connect_timeout=connect_timeout,
            stall_timeout=stall_timeout,
        )
        close_at_stop()

    async def ask(
        self,
        delivery: Delivery,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        accepted: frozenset[int] = frozenset(),
        **body: Any,
    ) -> Answer:
        """Send a request; an answer that is neither 2xx nor accepted raises.

        Raises:
            Down: There is no answer, or one that asks for patience.
            GiveUp: It is refused.
        """
        own = {name: await self._revealed(name) for name in self._headers}
        answer = await self.http.send(method, url, headers={**own, **headers}, **body)
        delivery.reached = True
        if answer.status not in accepted:
            check(answer, self.secrets)
        return answer

    async def _revealed(self, name: str) -> str:
        value = await self.secrets.reveal(self._headers[name])
        if not is_header(value):  # in a file or a variable, where it can be mended
            raise RetryLater(f"{self.kind}: the header {name} holds {_UNFIT}")
        return value


def _headers(kind: str, headers: object) -> dict[str, Secret]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise TypeError(f"{kind}: headers must be a dict of names and values")
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{kind}: {name!r} is no name of a header")
        if name.lower() in _OURS:
            raise ValueError(f"{kind}: the header {name} is set by the destination")
        check_secret(value, f"{kind}: the header {name}")
        if isinstance(value, str) and not is_header(value):
            raise ValueError(f"{kind}: the header {name} holds {_UNFIT}")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError(f"{kind}: headers has a name twice: upper and lower case are the same")
    return dict(headers)


class PerFileDestination(HttpDestination):
    """A destination that takes each file by a request of its own, several at once."""

    def __init__(self, url: str, *, at_once: int = 2, **common: Any) -> None:
        """Check the settings.

        Raises:
            ValueError: `at_once` makes no sense.
        """
        super().__init__(url, **common)
        self._at_once = _checks.whole(self.kind, "at_once", at_once)

    async def put(self, delivery: Delivery, item: Item, data: bytes, fields: Fields) -> None:
        """Send one file."""
        raise NotImplementedError

    async def deliver(self, delivery: Delivery) -> None:
        """Send the files that have not been sent."""
        work = Work(delivery, await self.items(delivery))
        fields = Fields(delivery.resource, self.transform)
        reading = asyncio.Lock()  # a generator cannot be asked by two at once

        async with contextlib.aclosing(_source.read(work.left, self.transform)) as files:

            async def worker() -> None:
                while True:
                    async with reading:
                        try:
                            item, data = await anext(files)
                        except StopAsyncIteration:
                            return
                    size = 0
                    if data is not None:
                        size = len(data)
                        await self.put(delivery, item, data, fields)
                        del data
                    work.done(item, size)

            try:
                await together([worker() for _ in range(self._at_once)])
            finally:
                work.keep()
