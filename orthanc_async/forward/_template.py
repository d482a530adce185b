"""URLs, object keys and names in a ZIP, made of what is sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import string
import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orthanc
from orthanc_async.forward._filters import Look
from orthanc_async.forward._source import no_dicom
from orthanc_async.forward._tags import check_name

if TYPE_CHECKING:
    from orthanc_async.forward._source import Item, Transform
    from orthanc_async.resources import Resource

_LEVELS = ("patient", "study", "series", "instance")
_UIDS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_ABOVE = {"instance": "series", "series": "study", "study": "patient"}
_FOLDERS = {"patient": "patients", "study": "studies", "series": "series"}
_APART = frozenset({"instance", "SOPInstanceUID"})  # no two instances have the same
_EMPTY = "_"  # for a tag that has no value


class Template:
    """A text with fields in braces: `{study}`, `{SOPInstanceUID}`.

    Args:
        text: Orthanc's identifiers are `{patient}`, `{study}`, `{series}`, `{instance}`; any
            other field is the name of a DICOM tag.
        where: For errors.
        apart: Whether a file of the same name takes the place of another one: no two instances
            may get the same.
    """

    def __init__(self, text: str, where: str, *, apart: bool = False) -> None:
        """Take the text apart.

        Raises:
            TypeError: It is no text.
            ValueError: It holds something else in braces, or `.` or `..` as a folder, or nothing
                by which instances differ where they have to.
        """
        given: object = text
        if not isinstance(given, str):
            raise TypeError(
                f"{where} must be a text, such as '{{study}}/{{instance}}', not {text!r}"
            )
        if not {".", ".."}.isdisjoint(text.split("/")):
            raise ValueError(f"{where}: {text!r} names the folder '.' or '..'")
        self.text = text
        self._parts: list[tuple[str, str | None]] = []
        fields = "{patient}, {study}, {series}, {instance} and names of DICOM tags"
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{where}: {text!r}: {error}; fields are {fields}") from None
        for literal, name, spec, conversion in parts:
            known = name is None or name in _LEVELS or re.fullmatch(r"[A-Z]\w+", name)
            if not known or spec or conversion:
                raise ValueError(f"{where}: {text!r}: {name!r} is no field; those are {fields}")
            if name is not None and name not in _LEVELS:
                check_name(name, f"{where}: {text!r}")
            self._parts.append((literal, name))
        self.names = frozenset(name for _, name in self._parts if name)
        if apart and self.names.isdisjoint(_APART):
            raise ValueError(
                f"{where}: {text!r} may give two instances one name, and the second would take "
                "the place of the first: use {instance} or {SOPInstanceUID} in it"
            )

    def fill(self, values: dict[str, str]) -> str:
        """Return the text with its fields filled, encoded for a URL's path."""
        return "".join(
            literal + (_encoded(values[name]) if name else "") for literal, name in self._parts
        )


def _encoded(value: str) -> str:
    # Some servers refuse these, however they are encoded.
    value = "".join("_" if unicodedata.category(c) == "Cc" else c for c in value)
    if set(value) <= {"."}:  # these would mean a folder
        return value.replace(".", "%2E") or _EMPTY
    return quote(value, safe="")


class Fields:
    """The values of fields for the instances of one delivery.

    Args:
        resource: What is delivered.
        transform: If there is one, the files are not those in Orthanc: what the fields say is read
            from the file that is sent, so that a name does not tell what was taken out of it.
    """

    def __init__(self, resource: Resource, transform: Transform | None) -> None:
        self._resource = resource
        self._transform = transform
        self._look = Look()

    async def of(self, template: Template, item: Item, data: bytes) -> dict[str, str]:
        """Return the values for one instance."""
        names = template.names
        if not names:
            return {}
        if self._transform is not None:
            try:
                tags = await asyncio.to_thread(_parse, data)
            except orthanc.OrthancException:
                raise no_dicom(self._transform) from None
            values = _identifiers(tags)
        else:
            tags = {"SOPInstanceUID": item.uid}
            values = {"series": item.series, "instance": item.instance}
            if not names <= {*values, *tags}:
                await self._add_upper(names, item, tags, values)
        for name in names - values.keys():
            value = tags.get(name, "")
            values[name] = value.strip(" \0") if isinstance(value, str) else ""
        return values

    async def of_resource(self, template: Template) -> dict[str, str]:
        """Return the values for the resource itself, of its level and above it."""
        if not template.names:
            return {}
        kind = type(self._resource).__name__.lower()
        tags: dict[str, Any] = {}
        values = {kind: self._resource.id}
        uri = self._resource.uri
        for level in reversed(_LEVELS[: _LEVELS.index(kind) + 1]):
            info = await self._look.get(uri)
            values[level] = info["ID"]
            tags = {**info["MainDicomTags"], **tags}
            if level in _ABOVE:
                above = _ABOVE[level]
                uri = f"/{_FOLDERS[above]}/{info[f'Parent{above.capitalize()}']}"
        for name in template.names - values.keys():
            values[name] = str(tags.get(name, "")).strip()
        return values

    async def _add_upper(
        self, names: frozenset[str], item: Item, tags: dict[str, Any], values: dict[str, str]
    ) -> None:
        tags.update(await self._look.upper_tags(item.series))
        series = await self._look.get(f"/series/{item.series}")
        study = await self._look.get(f"/studies/{series['ParentStudy']}")
        values.update(study=study["ID"], patient=study["ParentPatient"])
        if not names <= {*values, *tags}:
            path = f"/instances/{item.instance}/simplified-tags"
            tags.update(json.loads(await orthanc.rest_api_get(path)))


def _parse(data: bytes) -> dict[str, Any]:
    # Thread: one of the pool.
    dicom = orthanc.CreateDicomInstance(bytes(data))
    tags: dict[str, Any] = json.loads(dicom.GetInstanceSimplifiedJson())
    return tags


def _identifiers(tags: dict[str, Any]) -> dict[str, str]:
    """Return Orthanc's identifiers of a file, which are hashes of its DICOM ones."""
    parts: list[str] = []
    found = {}
    for level, uid in zip(_LEVELS, _UIDS, strict=True):
        parts.append(str(tags.get(uid, "")).strip(" \0"))
        digest = hashlib.sha1("|".join(parts).encode()).hexdigest()  # noqa: S324 - Orthanc's
        found[level] = "-".join(digest[start : start + 8] for start in range(0, 40, 8))
    return found
