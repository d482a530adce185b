"""Which instances of a delivery are done, kept small enough to be saved often."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orthanc_async._durable.store import Json
    from orthanc_async.forward._source import Item

_KEY = 17  # characters of a series' identifier: 64 bits of it; the digest tells the rest


class Sent:
    """Marks for the instances of one list, series by series.

    A mark is one bit at the instance's place in its series, next to the number and a digest of
    the series' instances: 2 000 instances take some 400 bytes. A series to which instances were
    added, or from which they were deleted, since the marks were saved is sent whole again: too
    much rather than too little.

    Args:
        items: All that is to be sent, sorted by series.
        saved: What `state` gave in an earlier attempt; None: nothing is done.
    """

    def __init__(self, items: Sequence[Item], saved: Json = None) -> None:
        self._place: dict[str, tuple[str, int]] = {}
        self._bits: dict[str, int] = {}
        self._known: dict[str, tuple[int, str]] = {}
        series: dict[str, list[Item]] = {}
        for item in items:
            series.setdefault(item.series[:_KEY], []).append(item)
        for key, members in series.items():
            digest = hashlib.blake2b(digest_size=9)
            for place, item in enumerate(members):
                self._place[item.instance] = key, place
                digest.update(f"{item.instance} {item.file}\n".encode())
            self._known[key] = len(members), base64.b64encode(digest.digest()).decode()
            self._bits[key] = 0
        for key, (count, digest_text, bits) in _read(saved):
            if self._known.get(key) == (count, digest_text):
                self._bits[key] = bits

    def __contains__(self, item: Item) -> bool:
        key, place = self._place[item.instance]
        return bool(self._bits[key] >> place & 1)

    def add(self, item: Item) -> None:
        """Mark one as done."""
        key, place = self._place[item.instance]
        self._bits[key] |= 1 << place

    def add_all(self, saved: Json) -> None:
        """Mark what `marks` has described, as far as it is still as it was."""
        for key, (count, digest, bits) in _read(saved):
            if self._known.get(key) == (count, digest):
                self._bits[key] |= bits

    def state(self) -> Json:
        """Return the marks as JSON."""
        return self._write(self._bits)

    def marks(self, items: Iterable[Item]) -> Json:
        """Return marks of some instances, done or not, as JSON."""
        bits: dict[str, int] = {}
        for item in items:
            key, place = self._place[item.instance]
            bits[key] = bits.get(key, 0) | 1 << place
        return self._write(bits)

    def _write(self, marked: dict[str, int]) -> Json:
        state = {}
        for key, bits in marked.items():
            count, digest = self._known[key]
            if not bits:
                continue
            if bits == (1 << count) - 1:
                state[key] = [count, digest]
            else:
                raw = bits.to_bytes((count + 7) // 8, "little")
                state[key] = [count, digest, base64.b64encode(raw).decode()]
        return state


def _read(saved: Json) -> Iterable[tuple[str, tuple[int, str, int]]]:
    if not isinstance(saved, dict):
        return
    for key, value in saved.items():
        count, digest, *rest = value
        bits = int.from_bytes(base64.b64decode(rest[0]), "little") if rest else (1 << count) - 1
        yield key, (count, digest, bits)
