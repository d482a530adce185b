"""Filters: which instances a destination gets."""

from __future__ import annotations

import asyncio
import fnmatch
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async import _registry
from orthanc_async.forward._tags import check_name
from orthanc_async.resources import Instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orthanc_async.forward._source import Item

_SUCH_AS = {
    "modality": 'modality("CT", "MR")',
    "called_aet": 'called_aet("RESEARCH")',
    "calling_aet": 'calling_aet("SCANNER7")',
    "tag": 'tag("PatientID", "TRIAL-*")',
}
_AT_ONCE = 8  # instances that are looked at together

Given = Callable[[Instance], object] | Callable[[Instance], Awaitable[object]]


class Look:
    """What Orthanc says about the instances of one delivery, each thing asked once."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Task[Any]] = {}

    async def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        task = self._asked.get(path)
        if task is None:
            task = self._asked[path] = asyncio.create_task(_get(path))
        return await asyncio.shield(task)

    async def series_tags(self, series: str) -> dict[str, str]:
        """Return the main tags of a series."""
        tags: dict[str, str] = (await self.get(f"/series/{series}"))["MainDicomTags"]
        return tags

    async def upper_tags(self, series: str) -> dict[str, str]:
        """Return the main tags of a series, its study and its patient."""
        info = await self.get(f"/series/{series}")
        study = await self.get(f"/studies/{info['ParentStudy']}")
        return {
            **study.get("PatientMainDicomTags", {}),
            **study["MainDicomTags"],
            **info["MainDicomTags"],
        }


async def _get(path: str) -> Any:
    return json.loads(await orthanc.rest_api_get(path))


class Filter:
    """A condition on instances; `&`, `|` and `~` make others of them."""

    async def holds(self, item: Item, look: Look) -> bool:
        """Tell whether an instance is to be sent."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        # Python's own words would silently take one of two filters.
        raise TypeError("filters are joined by &, | and ~, not by and, or and not")

    def __and__(self, other: Filter | Given) -> Filter:
        return _Both(self, made(other), every=True)

    def __or__(self, other: Filter | Given) -> Filter:
        return _Both(self, made(other), every=False)

    def __rand__(self, other: Given) -> Filter:
        return made(other) & self

    def __ror__(self, other: Given) -> Filter:
        return made(other) | self

    def __invert__(self) -> Filter:
        return _Not(self)


class _Both(Filter):
    def __init__(self, first: Filter, second: Filter, *, every: bool) -> None:
        self._first, self._second, self._every = first, second, every

    def __repr__(self) -> str:
        return f"({self._first!r} {'&' if self._every else '|'} {self._second!r})"

    async def holds(self, item: Item, look: Look) -> bool:
        first = await self._first.holds(item, look)
        if first is not self._every:
            return first
        return await self._second.holds(item, look)


class _Not(Filter):
    def __init__(self, inner: Filter) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        return f"~{self._inner!r}"

    async def holds(self, item: Item, look: Look) -> bool:
        return not await self._inner.holds(item, look)


class _Modality(Filter):
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __repr__(self) -> str:
        return f"modality({', '.join(map(repr, self._names))})"

    async def holds(self, item: Item, look: Look) -> bool:
        tags = await look.series_tags(item.series)
        return tags.get("Modality", "").strip() in self._names


class _Aet(Filter):
    def __init__(self, word: str, key: str, names: tuple[str, ...]) -> None:
        self._word, self._key, self._names = word, key, names

    def __repr__(self) -> str:
        return f"{self._word}({', '.join(map(repr, self._names))})"

    async def holds(self, item: Item, _look: Look) -> bool:
        metadata = await _get(f"/instances/{item.instance}/metadata?expand")
        return metadata.get(self._key, "").strip() in self._names


class _Tag(Filter):
    def __init__(self, name: str, patterns: tuple[str, ...]) -> None:
        self._name, self._patterns = name, patterns

    def __repr__(self) -> str:
        return f"tag({', '.join(map(repr, (self._name, *self._patterns)))})"

    async def holds(self, item: Item, look: Look) -> bool:
        value = (await look.upper_tags(item.series)).get(self._name)
        if value is None:
            tags = await _get(f"/instances/{item.instance}/simplified-tags")
            value = tags.get(self._name, "")
        return isinstance(value, str) and any(
            fnmatch.fnmatchcase(part.strip(), pattern)
            for part in value.split("\\")
            for pattern in self._patterns
        )


class _Function(Filter):
    def __init__(self, function: Given) -> None:
        _registry.check_handler(function, "only=", "instance")
        self._function: Any = function

    def __repr__(self) -> str:
        return _registry.describe(self._function)

    async def holds(self, item: Item, _look: Look) -> bool:
        instance = Instance(item.instance)
        if _registry.is_async(self._function):
            return bool(await self._function(instance))
        return bool(await asyncio.to_thread(self._function, instance))


def made(given: Filter | Given) -> Filter:
    """Return what `only=` was given as a filter.

    Raises:
        TypeError: It is neither a filter nor a function that takes an instance.
    """
    return given if isinstance(given, Filter) else _Function(given)


def modality(*names: str) -> Filter:
    """Hold for the series of these modalities, such as `modality("CT", "MR")`."""
    return _Modality(_texts("modality", names))


def called_aet(*names: str) -> Filter:
    """Hold for what was sent by DICOM to Orthanc under one of these titles."""
    return _Aet("called_aet", "CalledAET", _texts("called_aet", names))


def calling_aet(*names: str) -> Filter:
    """Hold for what was sent by DICOM from one of these titles."""
    return _Aet("calling_aet", "RemoteAET", _texts("calling_aet", names))


def tag(name: str, *patterns: str) -> Filter:
    """Hold where a tag has a value that is like a pattern: `tag("PatientID", "TRIAL-*")`.

    `*`, `?` and `[…]` are as in file names, upper and lower case differ, and one of several
    values is enough. A tag that is not there has the value "".

    Args:
        name: As Orthanc's REST API names it.
        patterns: One of them has to fit.

    Raises:
        TypeError: One is no text, or there is no pattern.
        ValueError: Orthanc knows no such tag.
    """
    (name,) = _texts("tag", (name,))
    check_name(name, "tag(…)")
    return _Tag(name, _texts("tag", patterns, empty=True))


def _texts(word: str, values: tuple[object, ...], *, empty: bool = False) -> tuple[str, ...]:
    if not values or not all(isinstance(v, str) and (v or empty) for v in values):
        raise TypeError(f"{word}(…) needs texts, such as {_SUCH_AS[word]}")
    return tuple(str(value) for value in values)


async def chosen(items: Sequence[Item], only: Filter | None) -> list[Item]:
    """Return the instances for which a filter holds."""
    if only is None:
        return list(items)
    look = Look()
    kept: list[Item] = []
    for start in range(0, len(items), _AT_ONCE):
        some = items[start : start + _AT_ONCE]
        held = await asyncio.gather(*(only.holds(item, look) for item in some))
        kept += [item for item, holds in zip(some, held, strict=True) if holds]
    return kept
