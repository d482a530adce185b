"""Operations that are done in groups."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from orthanc_async._durable.grouped import Grouped

if TYPE_CHECKING:
    from collections.abc import Sequence


async def test_groups() -> None:
    """What comes while a group is worked on is the next group; each gets its own result."""
    groups: list[list[int]] = []
    going = asyncio.Event()

    async def operate(group: Sequence[int]) -> list[int]:
        groups.append(list(group))
        await going.wait()
        return [one * 10 for one in group]

    grouped = Grouped(operate, lambda _: False)
    first = [asyncio.ensure_future(grouped.run(number)) for number in (1, 2)]
    await asyncio.sleep(0.01)
    later = [asyncio.ensure_future(grouped.run(number)) for number in (3, 4, 5)]
    await asyncio.sleep(0.01)
    later[1].cancel()
    going.set()
    assert await asyncio.gather(*first, later[0], later[2]) == [10, 20, 30, 50]
    assert groups == [[1, 2], [3, 5]]


@pytest.mark.parametrize("own", [True, False])
async def test_failure(own: bool) -> None:  # noqa: FBT001
    """One that cannot be done does not spoil the others; what concerns all is not tried alone."""
    groups: list[list[int]] = []

    async def operate(group: Sequence[int]) -> Sequence[int]:
        groups.append(list(group))
        if 2 in group:
            raise ValueError("two")
        return group

    grouped = Grouped(operate, lambda _: own)
    results = await asyncio.gather(*map(grouped.run, (1, 2, 3)), return_exceptions=True)
    if own:
        assert results[::2] == [1, 3]
        assert groups == [[1, 2, 3], [1], [2], [3]]
    else:
        assert groups == [[1, 2, 3]]
    assert isinstance(results[1], ValueError)
    assert await grouped.run(4) == 4
