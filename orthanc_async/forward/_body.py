"""The body of a request on its way: its pieces, and the time that it may stand still."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

Buffer = Any  # bytes, or what can be read as bytes are

_CHUNK = 512 * 2**10  # bytes handed to the connection at once; also the least for one stall time
_JOINED = 64 * 2**10  # bytes up to which a buffer is small


class Stream:
    """The body of one request on its way, in pieces of a size that the connection takes at once.

    Small buffers are joined, as each piece costs a way through the client, the system and the
    receiver; large ones are not copied.
    """

    def __init__(self, body: Any, stall: Stall) -> None:
        self._body = body
        self._stall = stall
        self._small = bytearray()
        self._moved = False
        self.begun = self.ended = False
        self.error: BaseException | None = None

    async def chunks(self) -> AsyncGenerator[Buffer, None]:
        """Yield the body."""
        self.begun = True
        try:
            if not callable(self._body):
                for piece in self._pieces(self._body):
                    yield piece
            else:
                # Until there is something to send, it is not the receiver that is slow.
                self._stall.pause()
                async with contextlib.aclosing(self._body()) as buffers:
                    async for buffer in buffers:
                        for piece in self._pieces(buffer):
                            yield piece
                        self._stall.pause()
            if self._small:
                self._stall.move()
                yield self._joined()
        except GeneratorExit:
            raise
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self.error = error
            raise
        self.ended = True
        self._stall.move()

    def _pieces(self, buffer: Buffer) -> Iterator[Buffer]:
        size = len(buffer)
        if size <= _JOINED:
            self._small += buffer
            if len(self._small) > _JOINED:
                self._stall.move()
                yield self._joined()
            return
        view = memoryview(buffer)
        start = 0
        if not self._moved and not self._small:
            # What is first goes out with the headers, which costs a copy of it: a little, then.
            start = _JOINED // 8
            self._small += view[:start]
        while start < size:
            rest = size - start
            if rest <= _JOINED:
                self._small += view[start:]
                return
            if self._small:
                self._stall.move()
                yield self._joined()
            self._stall.move()
            yield view[start : start + _CHUNK]
            start += _CHUNK

    def _joined(self) -> Buffer:
        self._moved = True
        # aiohttp cuts what it gets to the length that is left, which copies all but bytes.
        joined, self._small = bytes(self._small), bytearray()
        return joined


class Stall:
    """Ends a request when nothing moves for a while.

    One timer that looks at the time of the last move, as moving a timer for each piece of a body
    would take longer than sending it. Ends the block of `limit` in which it was begun.
    """

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._last: float | None = None  # None: it is not the receiver that is waited for
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def move(self) -> None:
        """Count from now."""
        self._last = self._loop.time()
        if self._timer is None:
            self._begin()

    def pause(self) -> None:
        """Do not count until the next move."""
        self._last = None
        if self._timer is None:
            self._begin()

    def stop(self) -> None:
        """Count no more: the request has ended, though the end of its body may come later."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        if self._stopped:
            return
        with contextlib.suppress(RuntimeError):  # the time for connecting has just run out
            self._limit.reschedule(None)
        self._timer = self._loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        due = (now if self._last is None else self._last) + self._seconds
        if due > now:
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._limit.reschedule(now)
