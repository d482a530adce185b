"""Patients, studies, series and instances: what lies in Orthanc, read when it is asked for.

Every method asks Orthanc's REST API without blocking the loop, and raises
`orthanc.OrthancException` with `UNKNOWN_RESOURCE` when the resource is no longer there.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import orthanc

__all__ = ["Instance", "Patient", "Resource", "Series", "Study", "from_level"]


class Resource:
    """What patients, studies, series and instances share.

    Attributes:
        id: Orthanc's identifier.
    """

    __slots__ = ("id",)

    _FOLDER: ClassVar[str] = ""

    def __init__(self, id: str) -> None:  # noqa: A002 - the name Orthanc's users know
        """Name a resource by its identifier; nothing is asked yet.

        Raises:
            TypeError: `Resource` itself was called.
            ValueError: It is no identifier of Orthanc.
        """
        if not self._FOLDER:
            message = "make a Patient, Study, Series or Instance, not a Resource"
            raise TypeError(message)
        _check_identifier(id)
        self.id = id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.id == self.id

    def __hash__(self) -> int:
        return hash((self._FOLDER, self.id))

    @property
    def uri(self) -> str:
        """The path of the resource in Orthanc's REST API."""
        return f"/{self._FOLDER}/{self.id}"

    async def info(self) -> dict[str, Any]:
        """Return all that Orthanc says about the resource (`GET /studies/{id}`)."""
        info: dict[str, Any] = await self._get("")
        return info

    async def tags(self) -> dict[str, str]:
        """Return the main DICOM tags of this level by their names; for a study the patient's too.

        Raises:
            orthanc.OrthancException: The resource is not there.
        """
        info = await self.info()
        return {**info.get("PatientMainDicomTags", {}), **info["MainDicomTags"]}

    async def metadata(self) -> dict[str, str]:
        """Return the metadata by their names (`GET /studies/{id}/metadata?expand`).

        Raises:
            orthanc.OrthancException: The resource is not there.
        """
        metadata: dict[str, str] = await self._get("/metadata?expand")
        return metadata

    async def delete(self) -> None:
        """Delete the resource and everything in it, for good.

        Raises:
            orthanc.OrthancException: The resource is not there.
        """
        await orthanc.rest_api_delete(self.uri)

    async def _get(self, below: str) -> Any:
        return json.loads(await orthanc.rest_api_get(self.uri + below))

    async def _bytes(self, below: str) -> bytes:
        return bytes(await orthanc.rest_api_get(self.uri + below))

    async def _children(self, kind: str) -> list[str]:
        # Old servers ignore the argument and give each child whole.
        children = await self._get(f"/{kind}?expand=false")
        return [child if isinstance(child, str) else child["ID"] for child in children]

    async def _parent(self, kind: str) -> str:
        identifier: str = (await self._get(f"/{kind}"))["ID"]
        return identifier


def _check_identifier(identifier: object) -> None:
    text = isinstance(identifier, str) and identifier
    if not text or not set(text).isdisjoint("/?#% "):
        message = (
            f"{identifier!r} is no identifier of Orthanc: those look like '66c8e41e-ac3a9029-…'"
        )
        raise ValueError(message)


class _Group(Resource):
    """What holds instances: all but an instance itself."""

    __slots__ = ()

    async def instances(self) -> list[Instance]:
        """Return all instances in the resource."""
        return [Instance(child) for child in await self._children("instances")]

    async def archive(self) -> bytes:
        """Return all DICOM files as a ZIP archive, held in memory."""
        try:
            return await self._bytes("/archive")
        except orthanc.OrthancException as error:
            # Orthanc 1.12.7 names what is not there differently here than everywhere else.
            if error.code != orthanc.ErrorCode.INEXISTENT_ITEM:
                raise
            code = int(orthanc.ErrorCode.UNKNOWN_RESOURCE)
            raise orthanc.OrthancException(code, error.args[1]) from error


class Patient(_Group):
    """A patient in Orthanc."""

    __slots__ = ()
    _FOLDER = "patients"

    async def studies(self) -> list[Study]:
        """Return the patient's studies."""
        return [Study(child) for child in await self._children("studies")]

    async def series(self) -> list[Series]:
        """Return the series of all studies."""
        return [Series(child) for child in await self._children("series")]


class Study(_Group):
    """A study in Orthanc."""

    __slots__ = ()
    _FOLDER = "studies"

    async def patient(self) -> Patient:
        """Return the patient whose study it is."""
        return Patient(await self._parent("patient"))

    async def series(self) -> list[Series]:
        """Return the study's series."""
        return [Series(child) for child in await self._children("series")]


class Series(_Group):
    """A series in Orthanc."""

    __slots__ = ()
    _FOLDER = "series"

    async def patient(self) -> Patient:
        """Return the patient whose series it is."""
        return Patient(await self._parent("patient"))

    async def study(self) -> Study:
        """Return the study that holds the series."""
        return Study(await self._parent("study"))


class Instance(Resource):
    """A DICOM instance in Orthanc."""

    __slots__ = ()
    _FOLDER = "instances"

    async def patient(self) -> Patient:
        """Return the patient whose instance it is."""
        return Patient(await self._parent("patient"))

    async def study(self) -> Study:
        """Return the study that holds the instance."""
        return Study(await self._parent("study"))

    async def series(self) -> Series:
        """Return the series that holds the instance."""
        return Series(await self._parent("series"))

    async def file(self) -> bytes:
        """Return the DICOM file as it is stored (`GET /instances/{id}/file`).

        Raises:
            orthanc.OrthancException: The instance is not there.
        """
        return await self._bytes("/file")

    async def all_tags(self) -> dict[str, Any]:
        """Return all DICOM tags by their names (`GET /instances/{id}/simplified-tags`)."""
        tags: dict[str, Any] = await self._get("/simplified-tags")
        return tags


def from_level(level: int, id: str) -> Patient | Study | Series | Instance:  # noqa: A002
    """Make the resource of a level.

    Args:
        level: An `orthanc.ResourceType`.
        id: Orthanc's identifier.

    Raises:
        ValueError: There is no such resource: jobs and the server itself have the level NONE.
    """
    # In the order of orthanc.ResourceType.
    kinds: tuple[type[Patient | Study | Series | Instance], ...]
    kinds = (Patient, Study, Series, Instance)
    if not 0 <= level < len(kinds):
        message = f"an event of level {level!s} is about no patient, study, series or instance"
        raise ValueError(message)
    return kinds[level](id)
