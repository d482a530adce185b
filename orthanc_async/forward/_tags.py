"""Names of DICOM tags as scripts give them, looked up in Orthanc's dictionary."""

from __future__ import annotations

import re

import orthanc

_NUMBER = re.compile(r"[0-9A-Fa-f]{4}[,-]?[0-9A-Fa-f]{4}")
_INDEX = re.compile(r"\[[^]]*\]")
_NAME = re.compile(r"[A-Za-z]\w*")


def check_tag(path: str, where: str) -> None:
    """Refuse a tag that Orthanc does not know; one in a sequence may be given by its path.

    Raises:
        ValueError: It does not know it.
    """
    for name in _INDEX.sub("", path).split("."):
        if not _known(name):
            raise ValueError(f"{where}: Orthanc knows no DICOM tag {path!r}: look at its spelling")


def check_name(name: str, where: str) -> None:
    """Refuse a name by which Orthanc's REST API never shows a tag: it would have no value.

    Raises:
        ValueError: It is a number, or a name that Orthanc's dictionary does not have.
    """
    if _NUMBER.fullmatch(name):
        raise ValueError(f"{where}: {name!r} is a number: write the tag's name, such as PatientID")
    # Names of private tags may be anything.
    if _NAME.fullmatch(name) and not _known(name):
        raise ValueError(f"{where}: Orthanc knows no DICOM tag {name!r}: look at its spelling")


def _known(name: str) -> bool:
    try:
        orthanc.LookupDictionary(name)
    except orthanc.OrthancException as error:
        return error.code != orthanc.ErrorCode.UNKNOWN_DICOM_TAG
    except RuntimeError:  # outside Orthanc nobody can tell
        return True
    return True
