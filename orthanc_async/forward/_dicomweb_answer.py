"""What a STOW-RS answer says of each instance, in JSON or in XML."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any

_REFERENCED = "00081199"
_FAILED = "00081198"
_UID = "00081155"
_REASON = "00081197"

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_DUPLICATE = 0x0111  # it is there already
_REASONS = {
    0x0110: "processing failure",
    0x0112: "no such instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0213: "resource limitation",
}
_RANGES = {
    0xA7: "out of resources",
    0xA9: "data set does not match its SOP class",
    0xC0: "cannot understand",
}


@dataclass(slots=True)
class Stored:
    """What became of the instances, by their SOPInstanceUID.

    Attributes:
        stored: Those that are there.
        failed: The others, with the number of the reason; 0: none was given.
        said: Whether the answer is one about instances; then those that it does not name are not
            stored. Orthanc 1.10.1 answers 200 when one instance cannot be stored, names those
            before it, and has thrown away those after it.
    """

    stored: set[str] = field(default_factory=set)
    failed: dict[str, int] = field(default_factory=dict)
    said: bool = False


def read(body: bytes, content_type: str) -> Stored:
    """Read an answer's body.

    Args:
        body: Of the answer, whole.
        content_type: Its header; the body tells for itself where that is missing.

    Raises:
        ValueError: It is neither of the two.
    """
    text = body.strip()
    if not text:
        return Stored()
    if "xml" in content_type or text.startswith(b"<"):
        return _read_xml(text)
    document = json.loads(text)
    if isinstance(document, list):  # some put the data set into a list
        document = document[0] if document else {}
    if not isinstance(document, dict) or not all(map(_TAG.fullmatch, document)):
        raise ValueError("it is no DICOM data set")
    result = Stored()
    for tag, failed in ((_REFERENCED, False), (_FAILED, True)):
        result.said = result.said or tag in document
        for item in (document.get(tag) or {}).get("Value") or ():
            uid = _first(item, _UID)
            if uid is not None:
                _note(result, str(uid), _number(_first(item, _REASON)), failed=failed)
    return result


def _first(item: Any, tag: str) -> Any:
    values = (item.get(tag) or {}).get("Value") if isinstance(item, dict) else None
    return values[0] if values else None


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _read_xml(text: bytes) -> Stored:
    # Entities could be made to grow without end, and a data set has none.
    if re.search(rb"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ValueError("it is XML with a DOCTYPE")
    try:
        root = ET.fromstring(text)  # noqa: S314 - without a DOCTYPE there are no entities
    except ET.ParseError as error:
        raise ValueError(f"it is no XML: {error}") from None
    if _local(root) != "NativeDicomModel":
        raise ValueError("it is no DICOM data set")
    result = Stored()
    for element in root.iter():
        tag = element.get("tag", "").upper()
        if _local(element) != "DicomAttribute" or tag not in {_REFERENCED, _FAILED}:
            continue
        result.said = True
        for item in element:
            found = {
                part.get("tag", "").upper(): (part.findtext("{*}Value") or "").strip()
                for part in item
            }
            if found.get(_UID):
                reason = _number(found.get(_REASON))
                _note(result, found[_UID], reason, failed=tag == _FAILED)
    return result


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _note(result: Stored, uid: str, reason: int, *, failed: bool) -> None:
    uid = uid.strip(" \0")
    if failed and reason != _DUPLICATE:
        result.failed[uid] = reason
    else:
        result.stored.add(uid)


def explain(reason: int) -> str:
    """Return the meaning of a failure reason."""
    if not reason:
        return "no reason given"
    meaning = _REASONS.get(reason) or _RANGES.get(reason >> 8, "")
    return f"0x{reason:04X}{f' ({meaning})' if meaning else ''}"


def passes(reason: int) -> bool:
    """Tell whether the same instance may be taken at another time."""
    return reason in {0, 0x0110, 0x0213} or reason >> 8 == 0xA7
