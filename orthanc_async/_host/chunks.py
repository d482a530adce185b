"""Bodies and answers of HTTP transfers in chunks. The native half calls these by name.

The functions return what was raised instead of raising it: it goes to the caller of the transfer,
not into the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any

from orthanc_async import _registry

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST = 1 << 30  # bytes; Orthanc takes chunks of less than 4 GiB


def source(body: object) -> Callable[[], Any] | None:
    """Return a function that gives the next chunk as bytes, or None at the end.

    Args:
        body: A buffer, text, an iterable or an async iterable of these, or None.

    Raises:
        TypeError: It is something else.
    """
    if body is None:
        return None
    if isinstance(body, AsyncIterable):
        return _async_source(body)
    if isinstance(body, str) or not isinstance(body, Iterable) or _is_buffer(body):
        body = [body]
        _to_bytes(body[0])
    iterator = iter(body)

    def next_chunk() -> object:
        try:
            for chunk in iterator:
                if data := _to_bytes(chunk):
                    return data
        except BaseException as error:  # noqa: BLE001 - raised where the transfer was asked for
            return error
        return None

    return next_chunk


def _async_source(body: AsyncIterable[Any]) -> Callable[[], Any]:
    iterator = aiter(body)

    async def next_chunk() -> object:
        try:
            async for chunk in iterator:
                if data := _to_bytes(chunk):
                    return data
        except BaseException as error:  # noqa: BLE001 - raised where the transfer was asked for
            return error
        return None

    return next_chunk


def sink(answer: Any) -> Callable[[bytes], Any] | None:
    """Return a function that hands a chunk on, and returns what that raises.

    Args:
        answer: A `def` or an `async def`, or None.

    Raises:
        TypeError: It is something else.
    """
    if answer is None:
        return None
    if not callable(answer):
        message = (
            f"answer must be a function that takes each chunk as bytes, or None to collect them, "
            f"not {type(answer).__name__}"
        )
        raise TypeError(message)
    if _registry.is_async(answer):

        async def take_async(data: bytes) -> BaseException | None:
            try:
                await answer(data)
            except BaseException as error:  # noqa: BLE001 - raised where it was asked for
                return error
            return None

        return take_async

    def take(data: bytes) -> BaseException | None:
        try:
            answer(data)
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            return error
        return None

    return take


def _is_buffer(value: object) -> bool:
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _to_bytes(chunk: Any) -> bytes:
    if isinstance(chunk, bytes):
        data = chunk
    elif isinstance(chunk, str):
        data = chunk.encode()
    elif _is_buffer(chunk):
        data = memoryview(chunk).tobytes()
    else:
        message = (
            "body must be bytes, text, another buffer, or an iterable or async iterable of these, "
            f"not {type(chunk).__name__}"
        )
        raise TypeError(message)
    if len(data) > _LARGEST:
        message = f"a chunk of {len(data)} bytes: Orthanc takes less than 4 GiB, give smaller ones"
        raise ValueError(message)
    return data
