"""STOW-RS: the instances in batches, each one streamed body of many parts."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from orthanc_async import _checks
from orthanc_async._durable.attempt import GiveUp, RetryLater
from orthanc_async.forward import _dicomweb_answer, _source
from orthanc_async.forward._destination import Delivery, Work
from orthanc_async.forward._errors import excerpt
from orthanc_async.forward._http_destination import HttpDestination
from orthanc_async.forward._uid import uid_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from orthanc_async.forward._errors import Answer
    from orthanc_async.forward._source import Item

_MOST_ANSWER = 16 * 2**20
_NAMED = 3  # failed instances in an error
_REFUSED = frozenset({400, 409})
_PARTLY = _REFUSED | {202}  # some, or all, were not stored; the body may say which


def to_dicomweb(
    url: str, *, batch: int = 50, batch_bytes: int = 32 * 2**20, **common: Any
) -> HttpDestination:
    """Send to a DICOMweb server (STOW-RS).

    The server's answer tells of each instance whether it was stored; the next attempt sends only
    what is missing.

    Args:
        url: The root of the service, such as "https://pacs.example/dicom-web"; "/studies" is
            added to it.
        batch: Instances in a request, at most.
        batch_bytes: Bytes in a request; a larger instance has a request of its own.
        common: `auth`, `tls`, `headers`, `only`, `transform`, `retry`, `timeout`, `concurrency`,
            `breaker`, `connect_timeout`, `stall_timeout`, as for all destinations.

    Returns:
        The destination: `await destination(study)`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument makes no sense.
    """
    return _DicomWeb(url, batch=batch, batch_bytes=batch_bytes, **common)


class _DicomWeb(HttpDestination):
    kind = "to_dicomweb"

    def __init__(self, url: str, *, batch: int, batch_bytes: int, **common: Any) -> None:
        super().__init__(url, **common)
        _checks.whole(self.kind, "batch", batch)
        _checks.whole(self.kind, "batch_bytes", batch_bytes)
        if "?" in self.url:
            raise ValueError("to_dicomweb: the URL can have no query")
        if not self.url.endswith("/studies"):
            self.url += "/studies"
        self._batch, self._batch_bytes = batch, batch_bytes

    async def deliver(self, delivery: Delivery) -> None:
        work = Work(delivery, await self.items(delivery))
        failed: dict[str, int | str] = {}
        alone: list[Item] = []
        try:
            for batch in batches(work.left, self._batch, self._batch_bytes):
                unnamed = await self._store(work, batch, failed)
                # One instance that a server cannot take may have spoilt those with it.
                alone += unnamed if len(batch) > 1 else ()
                failed.update((item.uid, 0) for item in unnamed if len(batch) == 1)
            for item in alone:
                unnamed = await self._store(work, [item], failed)
                failed.update((item.uid, 0) for item in unnamed)
        finally:
            work.keep()
        if failed:
            self._raise(failed, len(work.items))

    async def _store(
        self, work: Work, batch: Sequence[Item], failed: dict[str, int | str]
    ) -> list[Item]:
        """Send a batch, note what was stored, and the reasons for what was not.

        Returns:
            Those of which the answer says nothing.
        """
        body = _Body(batch, self.transform)
        async with contextlib.AsyncExitStack() as stack:
            make = body.chunks
            if self.transform is not None:
                begun = await stack.enter_async_context(contextlib.aclosing(body.chunks()))
                first = await anext(begun)
                if not body.sent:  # the transform has left out all of them
                    for item in batch:
                        work.done(item, 0)
                    return []
                make = body.going_on(first, begun)
            answer = await self.ask(
                work.delivery,
                "POST",
                self.url,
                headers={"Content-Type": body.content_type, "Accept": "application/dicom+json"},
                accepted=_PARTLY,
                body=make,
                length=body.length,
                most=_MOST_ANSWER,
            )
        stored = self._read(answer)
        refused = answer.status in _REFUSED and not stored.said
        if not refused:
            self._check(answer, stored)
        unnamed = []
        for item in batch:
            uid, size = body.sent.get(item.instance, (None, 0))
            if uid is None and item.instance not in body.sent:  # left out by the transform
                work.done(item, 0)
            elif refused and len(batch) == 1:
                text = excerpt(answer.body, self.secrets)
                failed[uid or item.uid] = f"the server answers {answer.status}{text}"
            elif refused:
                unnamed.append(item)
            elif uid in stored.failed:
                failed[str(uid)] = stored.failed[str(uid)]
            elif not stored.said or uid in stored.stored:
                work.done(item, size)
            else:
                unnamed.append(item)
        return unnamed

    def _read(self, answer: Answer) -> _dicomweb_answer.Stored:
        if not answer.whole:
            raise RetryLater(f"{answer.url} answers {answer.status} with more than can be read")
        kind = answer.headers.get("Content-Type", "").lower()
        try:
            stored = _dicomweb_answer.read(answer.body, kind)
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            if 200 <= answer.status < 300:  # a page for logging in, perhaps
                text = excerpt(answer.body, self.secrets)
                raise RetryLater(
                    f"{answer.url} answers {answer.status}, but not as a DICOMweb server does "
                    f"({error}){text}"
                ) from None
            stored = _dicomweb_answer.Stored()
        return stored

    def _check(self, answer: Answer, stored: _dicomweb_answer.Stored) -> None:
        if answer.status in _PARTLY and not stored.said:
            text = excerpt(answer.body, self.secrets)
            raise RetryLater(
                f"{answer.url} answers 202 but not which instances were not stored{text}"
            )

    def _raise(self, failed: dict[str, int | str], total: int) -> None:
        some = [
            f"{uid}: {reason if isinstance(reason, str) else _dicomweb_answer.explain(reason)}"
            for uid, reason in list(failed.items())[:_NAMED]
        ]
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        text = f"{self.target} has not stored {len(failed)} of {total} instances: "
        text += "; ".join(some) + more
        codes = [reason for reason in failed.values() if isinstance(reason, int)]
        if any(map(_dicomweb_answer.passes, codes)):
            raise RetryLater(text)
        raise GiveUp(text, reason="instances-refused")


class _Body:
    """One body of several parts, made as often as it is asked for."""

    def __init__(self, batch: Sequence[Item], transform: Any) -> None:
        self._batch = batch
        self._transform = transform
        boundary = secrets.token_hex(16)
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"--{boundary}--\r\n".encode()
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        # By Orthanc's identifier: the UID and the bytes that were sent.
        self.sent: dict[str, tuple[str | None, int]] = {}
        self.length: int | None = None
        if transform is None and all(item.size for item in batch):
            each = len(self._head) + 2
            self.length = sum(item.size + each for item in batch) + len(self._tail)

    async def chunks(self) -> AsyncGenerator[Any, None]:
        """Yield the body."""
        self.sent.clear()
        head, tail = self._head, self._tail
        async with contextlib.aclosing(_source.read(self._batch, self._transform)) as files:
            async for item, data in files:
                if data is None:
                    continue
                size = len(data)
                if self.length is not None and size != item.size:
                    raise RetryLater(f"instance {item.instance} was replaced while it was read")
                uid = uid_of(data) if self._transform is not None or not item.uid else item.uid
                if uid is None and self._transform is not None:
                    raise _source.no_dicom(self._transform)
                self.sent[item.instance] = uid, size
                yield head
                yield data
                del data
                head, tail = b"\r\n" + self._head, b"\r\n" + self._tail
        yield tail

    def going_on(self, first: Any, begun: AsyncGenerator[Any, None]) -> Any:
        """Return what makes the body: out of one that was begun, and another time anew."""
        parts: list[Any] = [first, begun]

        async def make() -> AsyncGenerator[Any, None]:
            if not parts:
                async for chunk in self.chunks():
                    yield chunk
                return
            rest = parts.pop()
            yield parts.pop()
            async for chunk in rest:
                yield chunk

        return make


def batches(items: Sequence[Item], most: int, most_bytes: int) -> Iterator[list[Item]]:
    """Divide instances into batches by their number and size."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) >= most or size + item.size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch
