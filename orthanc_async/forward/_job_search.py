"""Finds the job of a batch again whose identifier was lost with a crash.

Before a batch is handed to Orthanc, the attempt saves a mark of it. Orthanc keeps its jobs through
a crash, but nobody may have saved which of them is that of the batch. From 1.12.9 on jobs carry
what is given to them as `UserData`. Those of older versions show the instances, where they go and
when they were made: enough where no other job can look the same.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any

import orthanc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orthanc_async.forward._source import Item

_OURS = "orthanc-async"  # our key in the UserData
# Options that lead to somewhere that the job does not show.
_HIDDEN = frozenset({"Host", "Port"})
_RANK = {"Success": 2, "Failure": 0}  # all others: 1

Job = dict[str, Any]


def mark(uri: str, batch: Iterable[Item]) -> dict[str, str]:
    """Return what tells the job of a batch that is handed to Orthanc next.

    Args:
        uri: Where it is posted.
        batch: Its instances.
    """
    return {
        "to": uri,
        "token": secrets.token_hex(8),
        "after": f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%f}",  # as Orthanc writes it
        "batch": _digest(item.instance for item in batch),
    }


def user_data(given: Any, marked: Mapping[str, Any]) -> Any:
    """Return the `UserData` of a job: the mark, beside what the script's options give."""
    if given is not None and not isinstance(given, dict):
        return given
    return {**(given or {}), _OURS: marked["token"]}


async def find(
    marked: Mapping[str, Any], type_: str, options: Mapping[str, Any], *, alone: bool
) -> Job | None:
    """Return the job that has a mark, as `/jobs/{id}` shows it; None: there is none.

    Args:
        marked: What `mark` gave.
        type_: The job's type.
        options: What it was given beside its instances.
        alone: Whether no other destination of the scripts makes such jobs with other options.

    Raises:
        orthanc.OrthancException: Orthanc cannot tell.
    """
    if "token" not in marked:  # an earlier version has saved the job's identifier only
        return None
    jobs: list[Job] = json.loads(await orthanc.rest_api_get("/jobs?expand"))
    found = [job for job in jobs if _token(job) == marked["token"]]
    if not found and alone and not _HIDDEN & set(options):
        alike = [job for job in jobs if _is_alike(job, marked, type_)]
        found = await _sent_there(alike, marked["to"], options) if alike else []
    # Several are there if somebody has sent the same by hand.
    return max(found, key=lambda job: _RANK.get(job["State"], 1), default=None)


def _digest(instances: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(sorted(instances)).encode(), digest_size=16).hexdigest()


def _token(job: Job) -> Any:
    data = job.get("UserData")
    return data.get(_OURS) if isinstance(data, dict) else None


def _is_alike(job: Job, marked: Mapping[str, Any], type_: str) -> bool:
    return (
        job["Type"] == type_
        and _token(job) is None
        and str(job.get("CreationTime", "")) > marked["after"]
        and _digest(job["Content"].get("ParentResources") or ()) == marked["batch"]
    )


async def _sent_there(jobs: list[Job], uri: str, options: Mapping[str, Any]) -> list[Job]:
    """Return those jobs that go to the URI's target, as far as they can be told from others."""
    from urllib.parse import unquote

    _, folder, name, _ = uri.split("/")
    known: dict[str, Any] = json.loads(await orthanc.rest_api_get(f"/{folder}?expand"))
    target = known.get(unquote(name))
    if target is None:
        return []
    if folder == "peers":
        return [job for job in jobs if _url(job["Content"].get("Peer")) == target["Url"]]
    aet = target["AET"]
    if sum(one["AET"] == aet for one in known.values()) > 1:
        return []  # a job shows the AET only, not which of these modalities it is
    aet = options.get("CalledAet", aet)
    return [job for job in jobs if job["Content"].get("RemoteAet") == aet]


def _url(peer: Any) -> Any:
    # As in Orthanc's configuration: [URL, user, password], or an object.
    if isinstance(peer, list):
        return peer[0] if peer else None
    return peer.get("Url") if isinstance(peer, dict) else peer
