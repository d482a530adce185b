"""What is sent: the instances of a resource in a stable order, each read when it is needed."""

from __future__ import annotations

import asyncio
import collections
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async import _registry
from orthanc_async.resources import Instance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from orthanc_async.resources import Patient, Series, Study

Data = Any  # bytes, or what can be read as they are: `orthanc.MemoryBuffer`
# Called with a file and its instance; gives what is sent instead, or None to leave it out.
Transform = (
    Callable[[bytes, Instance], bytes | None]
    | Callable[[bytes, Instance], Awaitable[bytes | None]]
)

AHEAD = 3  # files that are read while one is sent
AHEAD_BYTES = 8 * 2**20  # of them together


@dataclass(frozen=True, slots=True)
class Item:
    """One instance as Orthanc lists it.

    Attributes:
        instance, series: Orthanc's identifiers.
        uid: Its SOPInstanceUID.
        size: Bytes of its file.
        file: Orthanc's identifier of the file: another one when the instance is overwritten.
    """

    instance: str
    series: str
    uid: str
    size: int
    file: str


async def listing(resource: Patient | Study | Series | Instance) -> list[Item]:
    """Return the instances of a resource, by series, then in the order of their numbers.

    Raises:
        orthanc.OrthancException: The resource is not there.
    """
    if isinstance(resource, Instance):
        found = [json.loads(await orthanc.rest_api_get(resource.uri))]
    else:
        path = f"{resource.uri}/instances?expand=true"  # older servers expand without being asked
        found = json.loads(await orthanc.rest_api_get(path))
    found.sort(key=_order)
    return [
        Item(
            one["ID"],
            one["ParentSeries"],
            one["MainDicomTags"].get("SOPInstanceUID", ""),
            int(one.get("FileSize", 0)),
            one.get("FileUuid", ""),
        )
        for one in found
    ]


def _order(listed: dict[str, Any]) -> tuple[str, int, str]:
    number = listed["MainDicomTags"].get("InstanceNumber") or listed.get("IndexInSeries") or 0
    try:
        number = int(number)
    except ValueError:
        number = 0
    return listed["ParentSeries"], number, listed["ID"]


async def load(item: Item, transform: Transform | None) -> Data | None:
    """Read one file and transform it; None: it is left out."""
    if transform is None:  # a copy would be a third of the work
        return await orthanc.without_copy(orthanc.get_dicom_for_instance, item.instance)
    instance = Instance(item.instance)
    # `Anonymize` has Orthanc read it: the file need not come here before.
    whole = getattr(transform, "file", None)
    if whole is not None:
        return await whole(instance)
    # A third of the work of GET /instances/{id}/file.
    data = await orthanc.get_dicom_for_instance(item.instance)
    made: Data
    if _registry.is_async(transform):
        made = await transform(data, instance)  # type: ignore[misc]
    else:
        made = await asyncio.to_thread(transform, data, instance)
    if made is not None and not isinstance(made, bytes | bytearray | memoryview):
        raise TypeError(
            f"the transform {_registry.describe(transform)} must return bytes or None, not "
            f"{type(made).__name__}"
        )
    if made is not None and not len(made):
        raise ValueError(
            f"the transform {_registry.describe(transform)} has returned nothing, b'': it must "
            "return None to leave an instance out"
        )
    return made


def no_dicom(transform: Transform) -> ValueError:
    """Return the error of a transform whose result cannot be read."""
    return ValueError(
        f"what the transform {_registry.describe(transform)} has returned is no DICOM file: it "
        "must have a preamble and meta information, as pydicom's dcmwrite writes them"
    )


async def read(
    items: Iterable[Item], transform: Transform | None
) -> AsyncGenerator[tuple[Item, Data | None], None]:
    """Yield each item with its file, reading a few ahead. Close it with `aclosing`."""
    waiting: collections.deque[tuple[Item, asyncio.Task[Data | None]]] = collections.deque()
    following = iter(items)
    upcoming = next(following, None)
    ahead = 0

    def fill() -> None:
        nonlocal upcoming, ahead
        while upcoming is not None and len(waiting) < AHEAD:
            if ahead + upcoming.size > AHEAD_BYTES:
                return  # a large one is read when it is the next
            begin(upcoming)

    def begin(item: Item) -> None:
        nonlocal upcoming, ahead
        waiting.append((item, asyncio.create_task(load(item, transform))))
        ahead += item.size
        upcoming = next(following, None)

    try:
        while waiting or upcoming is not None:
            if not waiting and upcoming is not None:
                begin(upcoming)
            item, task = waiting[0]
            data = await task
            waiting.popleft()
            ahead -= item.size
            del task  # it holds the file
            fill()
            pair = item, data
            del data
            yield pair
            del pair
    finally:
        tasks = [task for _, task in waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
