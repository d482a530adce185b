"""What a delivery is in the store, and Orthanc's REST API as its readers use it."""

from __future__ import annotations

import json
from typing import Any

import orthanc
from orthanc_async._durable.store import NewEntry

FOLDERS = {
    "Patient": "patients",
    "Study": "studies",
    "Series": "series",
    "Instance": "instances",
}
_OF_INDEX = (
    orthanc.ErrorCode.DATABASE,
    orthanc.ErrorCode.DATABASE_CANNOT_SERIALIZE,
    orthanc.ErrorCode.DATABASE_UNAVAILABLE,
)


def is_of_index(error: BaseException) -> bool:
    """Tell whether an error of Orthanc's says that the database of its index fails."""
    return isinstance(error, orthanc.OrthancException) and error.code in _OF_INDEX


def stable_key(level: str, id_: str, updated: str) -> str:
    """Return the key of the delivery of a resource as it is now.

    Args:
        level: As `/changes` names it.
        id_: Orthanc's identifier.
        updated: Its LastUpdate.
    """
    return f"{level}/{id_}/{updated}"


def entry(
    name: str,
    key: str,
    type_: str,
    level: str,
    id_: str,
    *,
    updated: str | None,
    seq: int | None,
) -> NewEntry:
    """Return a delivery.

    Args:
        name: The subscription's.
        key: Unique in the subscription.
        type_: The change, as `/changes` names it.
        level: As `/changes` names it.
        id_: Orthanc's identifier of the resource.
        updated: For stable events the LastUpdate of the resource.
        seq: The number of the change; None where the sweep has found the resource.
    """
    payload = {"type": type_, "level": level, "id": id_, "last_update": updated, "seq": seq}
    return NewEntry(name, key, payload, resource=f"/{FOLDERS[level]}/{id_}")


async def get(path: str) -> Any:
    """Return what Orthanc's REST API says, parsed."""
    return json.loads(await orthanc.rest_api_get(path))


async def get_text(path: str) -> str:
    """Return what Orthanc's REST API says, as text."""
    return bytes(await orthanc.rest_api_get(path)).decode()
