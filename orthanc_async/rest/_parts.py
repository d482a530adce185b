"""Answers in parts: iterators, streamed or collected, and multipart answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from orthanc_async.rest._answer import BYTES, Broken, Unsendable, check, send, send_headers
from orthanc_async.rest._response import Multipart, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


class _Way(NamedTuple):
    items: Any
    begin: Callable[[], None]
    send: Callable[[bytes], Awaitable[object]]
    send_blocking: Callable[[bytes], object]


async def parts(output: Any, result: Any) -> None:
    """Answer with an iterator or `Multipart`, on the loop.

    Raises:
        Unsendable: The value is none of these, or too large to be collected.
        Broken: It failed after the answer had begun.
    """
    response, body = _unwrap(result)
    way = _way(output, response, body)
    if way is not None:
        await _send_all(way)
        return
    collected = bytearray()
    items = _as_async(body)
    try:
        async for item in items:
            _collect(collected, item)
    finally:
        await _close(items)
    _finish_collected(output, response, collected)


def parts_blocking(output: Any, result: Any, wait: Callable[[Any], Any]) -> None:
    """Answer with an iterator or `Multipart` on the thread of a `def` handler.

    Args:
        output: The answer's `RestOutput`.
        result: What the handler returned.
        wait: Runs a coroutine on the loop and waits for it.

    Raises:
        Unsendable, Broken: As `parts` does.
    """
    response, body = _unwrap(result)
    way = _way(output, response, body)
    if way is None:
        collected = bytearray()
        for item in _as_sync(body, wait):
            _collect(collected, item)
        _finish_collected(output, response, collected)
        return
    started = False
    try:
        for item in _as_sync(way.items, wait):
            chunk = _chunk(item)
            if not started:
                way.begin()
                started = True
            way.send_blocking(chunk)
        if not started:
            way.begin()
    except Exception as error:
        if started:
            raise Broken from error
        raise


def _way(output: Any, response: Response, body: Any) -> _Way | None:
    """Return how the parts are sent, or None where they have to be collected."""
    if isinstance(body, Multipart):
        return _Way(
            body.items,
            _begin_multipart(output, response, body),
            output.send_multipart_item,
            output.SendMultipartItem,
        )
    # Orthanc sends streams with status 200 only.
    if sys.modules["orthanc_async.rest"]._can_stream and response.status == 200:
        begin = _begin_stream(output, response)
        return _Way(body, begin, output.send_stream_chunk, output.SendStreamChunk)
    return None


def _unwrap(result: Any) -> tuple[Response, Any]:
    if not isinstance(result, Response):
        return Response(), result
    if isinstance(result.body, Multipart) and result.status != 200:
        message = f"rest.Multipart with status {result.status}; in parts Orthanc can only send 200"
        raise Unsendable(message)
    check(result)
    return result, result.body


def _chunk(item: object) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode("utf-8", "surrogateescape")
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item)
    message = f"an iterator of {type(item).__name__}; it has to give bytes or str"
    raise Unsendable(message)


def _collect(collected: bytearray, item: object) -> None:
    collected += _chunk(item)
    limit = sys.modules["orthanc_async.rest"].STREAM_LIMIT
    if len(collected) > limit:
        message = (
            f"an iterator of more than {limit} bytes, which this Orthanc cannot stream: "
            "return rest.Multipart(…) or raise rest.STREAM_LIMIT"
        )
        raise Unsendable(message)


def _finish_collected(output: Any, response: Response, collected: bytearray) -> None:
    send(output, response, bytes(collected), response.media_type or BYTES)


def _begin_multipart(output: Any, response: Response, body: Multipart) -> Callable[[], None]:
    def begin() -> None:
        send_headers(output, response)
        output.StartMultipartAnswer(body.subtype, body.content_type)

    return begin


def _begin_stream(output: Any, response: Response) -> Callable[[], None]:
    def begin() -> None:
        send_headers(output, response)
        output.StartStreamAnswer(response.media_type or BYTES)

    return begin


async def _send_all(way: _Way) -> None:
    items = _as_async(way.items)
    started = False
    try:
        async for item in items:
            chunk = _chunk(item)
            if not started:
                # Not before the first item: until then a failure still has its own status.
                way.begin()
                started = True
            await way.send(chunk)
        if not started:
            way.begin()
    except Exception as failure:
        if started:
            raise Broken from failure
        raise
    finally:
        await _close(items)


def _as_async(items: Any) -> AsyncIterator[Any]:
    if hasattr(items, "__aiter__"):
        iterator: AsyncIterator[Any] = items.__aiter__()
        return iterator
    return _step(iter(items))


async def _step(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _as_sync(items: Any, wait: Callable[[Any], Any]) -> Iterator[Any]:
    if not hasattr(items, "__aiter__"):
        yield from items
        return
    iterator = items.__aiter__()

    async def following() -> Any:
        return await iterator.__anext__()

    try:
        while True:
            try:
                item = wait(following())
            except StopAsyncIteration:
                return
            yield item
    finally:
        wait(_close(iterator))


async def _close(items: Any) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
