"""Several small operations as one, as far as they come while another one is under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """Collects what is asked for while the group before is being worked on. Thread: the loop's.

    Args:
        operate: Works on a group; returns a result for each.
        is_its_own: Tells whether a failure may be that of one in the group only: each is then
            tried alone, so that it does not spoil the others.
    """

    def __init__(
        self,
        operate: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        is_its_own: Callable[[Exception], bool],
    ) -> None:
        self._operate = operate
        self._is_its_own = is_its_own
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, one: T) -> R:
        """Return what `operate` gives for this one; one that is cancelled before is left out."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="durable: groups")
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._work_on([(one, future) for one, future in group if not future.done()])
        finally:
            self._task = None

    async def _work_on(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        if not group:
            return
        try:
            results = await self._operate([one for one, _ in group])
        except Exception as error:  # noqa: BLE001 - handed to who waits
            if len(group) > 1 and self._is_its_own(error):
                for one in group:
                    await self._work_on([one])
                return
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(result)
