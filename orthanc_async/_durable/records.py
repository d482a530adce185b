"""What both stores write of an entry, and how they read it."""

from __future__ import annotations

import json
import math
import secrets
from typing import TYPE_CHECKING, Any

from orthanc_async._durable.store import Entry, NewEntry, Progress, State

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from orthanc_async._durable.store import Json

COLUMNS = (
    "id, queue, key, payload, resource, state, attempts, interruptions, created_at, changed_at, "
    "due, reason, error, resume, done, total, bytes, server"
)
"""What `read` takes, in this order; times as seconds since 1970."""

MAX_ID = 2**63 - 1


def dump(value: Json) -> str:
    """Return JSON in ASCII only: no store has to bear a NUL or a lone surrogate.

    Raises:
        TypeError, ValueError: It cannot be JSON.
    """
    return json.dumps(value, separators=(",", ":"))


def dump_optional(value: Json) -> str | None:
    """Return JSON, or None for None."""
    return None if value is None else dump(value)


def load(text: str | None) -> Json:
    """Return what `dump_optional` was given."""
    return None if text is None else json.loads(text)


def printable(text: str | None) -> str | None:
    """Return a text that both stores can hold: errors may hold anything."""
    if text is None:
        return None
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def read(row: Sequence[Any], now: float) -> Entry:
    """Make an entry of a row of `COLUMNS`.

    Raises:
        ValueError: The row was damaged.
    """
    (
        id_, queue, key, payload, resource, state, attempts, interruptions, created_at,
        changed_at, due, reason, error, resume, done, total, bytes_, server,
    ) = row  # fmt: skip
    state = State(state)
    return Entry(
        id=id_,
        queue=queue,
        key=key,
        payload=json.loads(payload),
        resource=resource,
        state=state,
        attempts=attempts,
        interruptions=interruptions,
        created_at=created_at,
        changed_at=changed_at,
        due_in=max(0.0, due - now) if state is State.WAITING else 0.0,
        reason=reason,
        error=error,
        resume=load(resume),
        progress=Progress(done, total, bytes_),
        server=server,
    )


def new_row(entry: NewEntry) -> tuple[str, str, str, str | None, float]:
    """Return queue, key, payload, resource and delay as they are written.

    Raises:
        TypeError, ValueError: They cannot be written.
    """
    for name, text in (("queue", entry.queue), ("key", entry.key), ("resource", entry.resource)):
        if text is not None and text != printable(text):
            raise ValueError(f"the {name} of an entry must be plain text, not {text!r}")
    if not entry.queue or not entry.key:
        raise ValueError(f"an entry needs a queue and a key, not {entry.queue!r}, {entry.key!r}")
    if not math.isfinite(entry.delay):
        raise ValueError(f"the delay of an entry must be finite, not {entry.delay!r}")
    return (
        entry.queue,
        entry.key,
        dump(entry.payload),
        entry.resource,
        max(0.0, float(entry.delay)),
    )


def new_token(id_: int) -> str:
    """Return a lease's token. It begins with the entry's number, so no index is needed."""
    return f"{id_}-{secrets.token_hex(12)}"


def token_id(token: str) -> int:
    """Return the number of a token's entry; -1: there is none."""
    number = token.partition("-")[0]
    # No isdecimal: that takes digits of other scripts, and so does int.
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else -1


def known_ids(ids: Collection[int]) -> list[int]:
    """Return the numbers that an entry can have; requests may bring any."""
    return [id_ for id_ in ids if 0 < id_ <= MAX_ID]


def flat(progress: Progress) -> tuple[int, int, int]:
    """Return the columns of a progress."""
    return progress.done, progress.total, progress.bytes


def check_delay(delay: float) -> float:
    """Return the seconds until the next attempt.

    Raises:
        ValueError: They are not finite.
    """
    if not math.isfinite(delay):
        raise ValueError(f"the delay until the next attempt must be finite, not {delay!r}")
    return max(0.0, float(delay))
