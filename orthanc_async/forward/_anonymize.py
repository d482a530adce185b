"""De-identified copies, made by Orthanc one instance at a time, that still belong together.

Orthanc's anonymisation of one instance makes up new identifiers each time. Here they are derived
from the old ones by a key: the same in all instances of a study, in each attempt, in each study
of a patient, and nobody without the key can tell which were the old ones.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async.forward._secrets import Secret, Secrets, check_secret
from orthanc_async.forward._tags import check_name, check_tag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orthanc_async.resources import Instance

# UIDs that say what something is, not which one it is.
_KINDS = re.compile(r"ClassUID$|^TransferSyntaxUID$|^CodingSchemeUID$|^ContextUID$"
                    r"|^MappingResourceUID$|^ContextGroupExtensionCreatorUID$"
                    r"|TransferSyntaxUID$|^TemplateExtension\w+UID$")  # fmt: skip
_STANDARD = "1.2.840.10008."  # well-known ones, also where instances usually stand
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def anonymize(
    *,
    key: Secret,
    keep: Collection[str] = (),
    replace: Mapping[str, str] | None = None,
    remove: Collection[str] = (),
    keep_private: bool = False,
    dicom_version: str | None = None,
) -> Anonymize:
    """Make a `transform` that de-identifies by Orthanc's `POST /instances/{id}/anonymize`.

    All UIDs, also those in sequences that refer to other instances, are replaced by ones derived
    from them and the key, and so are PatientID and PatientName.

    Args:
        key: A secret of at least 16 characters; with another one, everything gets other names.
        keep: Tags that stay as they are, besides what Orthanc keeps.
        replace: Tags and the values that they get.
        remove: Tags that are taken out, besides what Orthanc takes out.
        keep_private: Whether private tags stay.
        dicom_version: Which edition of the standard's profile, such as "2017c" or "2021b"; None:
            Orthanc's default.

    Returns:
        What destinations take as `transform=`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: The key is too short.
    """
    check_secret(key, "anonymize: key")
    if isinstance(key, str):
        _check_key(key)
    for name, tags in (("keep", keep), ("remove", remove)):
        _check_tags(name, tags)
    given: object = {} if replace is None else replace
    if not isinstance(given, Mapping):
        raise TypeError("anonymize: replace takes a dict of tags and their new values")
    _check_tags("replace", list(given))
    for tag, value in given.items():
        if not isinstance(value, str):
            raise TypeError(f"anonymize: the new value of {tag} must be a text, not {value!r}")
    given = keep_private
    if not isinstance(given, bool):
        raise TypeError(f"anonymize: keep_private must be True or False, not {keep_private!r}")
    rules: dict[str, Any] = {"Force": True}  # Orthanc asks for it where UIDs are replaced
    if keep:
        rules["Keep"] = list(keep)
    if remove:
        rules["Remove"] = list(remove)
    if keep_private:
        rules["KeepPrivateTags"] = True
    if dicom_version is not None:
        rules["DicomVersion"] = dicom_version
    untouched = {*keep, *remove}
    return Anonymize(key, rules, dict(replace or {}), untouched)


class Anonymize:
    """A transform; made by `anonymize`. Thread: the loop's."""

    def __init__(
        self, key: Secret, rules: dict[str, Any], replace: dict[str, str], untouched: set[str]
    ) -> None:
        self._key = key
        self._rules = rules
        self._replace = replace
        self._untouched = untouched
        self._secrets = Secrets()

    def __repr__(self) -> str:
        return "anonymize(…)"

    async def __call__(self, _file: bytes, instance: Instance) -> bytes:
        """Return the de-identified file of an instance, so that a transform can begin with it."""
        return await self.file(instance)

    async def file(self, instance: Instance) -> bytes:
        """Return the de-identified file of an instance.

        Raises:
            orthanc.OrthancException: It is not there.
        """
        key = await self._secrets.reveal(self._key)
        _check_key(key)
        tags = json.loads(await orthanc.rest_api_get(f"{instance.uri}/simplified-tags"))
        replace = dict(self._derived(tags, key.encode()))
        replace.update(self._replace)
        rules = json.dumps({**self._rules, "Replace": replace}).encode()
        return await orthanc.rest_api_post(f"{instance.uri}/anonymize", rules)

    def _derived(self, tags: dict[str, Any], key: bytes) -> Iterator[tuple[str, str]]:
        pseudonym = _digest(key, "patient", str(tags.get("PatientID", ""))).hex()[:16].upper()
        for name in ("PatientID", "PatientName"):
            if name not in self._untouched:
                yield name, pseudonym
        for path, uid in _uids(tags, ""):
            if path.partition("[")[0] not in self._untouched:
                yield path, derived_uid(key, uid)


def derived_uid(key: bytes, uid: str) -> str:
    """Return the UID that stands for another one, of the form 2.25.…, from a UUID."""
    return f"2.25.{uuid.UUID(bytes=_digest(key, 'uid', uid)[:16], version=5).int}"


def _digest(key: bytes, purpose: str, value: str) -> bytes:
    return hmac.new(key, f"{purpose}:{value}".encode(), hashlib.sha256).digest()


def _uids(tags: dict[str, Any], above: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each tag that holds a UID of something, with the UID."""
    for name, value in tags.items():
        if isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _uids(item, f"{above}{name}[{index}].")
        elif (
            name.endswith("UID")
            and isinstance(value, str)
            and not _KINDS.search(name)
            and _UID.fullmatch(value.strip())
            and not value.startswith(_STANDARD)
        ):
            yield above + name, value.strip()


def _check_tags(name: str, tags: object) -> None:
    listed = isinstance(tags, Collection) and not isinstance(tags, str | bytes)
    if not listed or not all(isinstance(tag, str) and tag for tag in tags):  # type: ignore[attr-defined]
        raise TypeError(f"anonymize: {name} takes a list of tags, such as ['StudyDate']")
    for tag in tags:  # type: ignore[attr-defined]
        # Tags that get derived values go by their names; private ones may have none.
        if re.match(r"[0-9A-Fa-f]{3}[02468ACEace]", tag) and "." not in tag:
            check_name(tag, f"anonymize: {name}")
        check_tag(tag, f"anonymize: {name}")


def _check_key(key: str) -> None:
    if len(key) < 16:
        raise ValueError("anonymize: key must have at least 16 characters, or it can be guessed")
