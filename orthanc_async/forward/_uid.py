"""The SOPInstanceUID of a DICOM file, read from its beginning."""

from __future__ import annotations

import struct

_PREFIX = 132
_MEDIA_STORAGE_UID = (0x0002, 0x0003)
_LONG = frozenset({b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"UC", b"UR"})


def uid_of(data: bytes | bytearray | memoryview) -> str | None:
    """Return the MediaStorageSOPInstanceUID of a file's meta information; None: it has none."""
    view = memoryview(data)[: 64 * 1024]
    if bytes(view[128:_PREFIX]) != b"DICM":
        return None
    at = _PREFIX
    while at + 12 <= len(view):
        group, element = struct.unpack_from("<HH", view, at)
        kind = bytes(view[at + 4 : at + 6])
        if group != 0x0002:
            return None
        if kind in _LONG:
            (length,) = struct.unpack_from("<I", view, at + 8)
            start = at + 12
        else:
            (length,) = struct.unpack_from("<H", view, at + 6)
            start = at + 8
        if (group, element) == _MEDIA_STORAGE_UID:
            return bytes(view[start : start + length]).decode("ascii", "replace").strip(" \0")
        at = start + length
    return None
