"""The transform that de-identifies: what it asks Orthanc for, and the names that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async import Instance, forward
from orthanc_async.forward import _anonymize, _source
from unit.forward_fakes import FakeOrthanc

if TYPE_CHECKING:
    from pathlib import Path

KEY = "a key of the trial"
TAGS = {
    "PatientID": "P/1",
    "PatientName": "Doe^Jane",
    "StudyInstanceUID": "1.5.1",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
    "ReferencedStudySequence": [{"ReferencedSOPInstanceUID": "1.5.2"}],
}


class Asked:
    """What Orthanc was asked for: the rules of each anonymisation, by the instance's path."""

    def __init__(self, fake: FakeOrthanc) -> None:
        self.rules: dict[str, dict[str, Any]] = {}
        fake.post = self._post

    def _post(self, path: str, body: Any) -> Any:
        self.rules[path] = body
        return b"the de-identified file"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with two instances of one patient."""
    fake = FakeOrthanc(monkeypatch)
    for name in "12":
        fake.add(name, b"with the name")
        fake.more[f"/instances/instance-{name}/simplified-tags"] = TAGS
    return fake


async def rules(fake: FakeOrthanc, *, key: Any = KEY, **options: Any) -> dict[str, Any]:
    """Return what Orthanc is asked for of one instance."""
    asked = Asked(fake)
    transform = forward.anonymize(key=key, **options)
    assert await transform(b"", Instance("instance-1")) == b"the de-identified file"
    return asked.rules["/instances/instance-1/anonymize"]


async def test_names_come_from_the_key(fake: FakeOrthanc) -> None:
    """Patient and UIDs get names of the key: the same each time, others with another key."""
    first = await rules(fake)
    given = first["Replace"]
    assert first == {"Force": True, "Replace": given}
    assert set(given) == {
        "PatientID",
        "PatientName",
        "StudyInstanceUID",
        "ReferencedStudySequence[0].ReferencedSOPInstanceUID",
    }
    assert not {"P/1", "Doe^Jane", "1.5.1", "1.5.2"} & set(given.values())
    assert given["StudyInstanceUID"] == _anonymize.derived_uid(KEY.encode(), "1.5.1")
    assert await rules(fake) == first
    others = (await rules(fake, key=KEY[::-1]))["Replace"]
    assert all(others[name] != value for name, value in given.items())


async def test_what_the_script_asks_for(fake: FakeOrthanc) -> None:
    """Tags that stay, go or get a value are told to Orthanc, and count before our names."""
    asked = await rules(
        fake,
        keep=["StudyInstanceUID", "PatientName"],
        remove=["ReferencedStudySequence", "StudyDate"],
        replace={"PatientID": "TRIAL-1"},
        dicom_version="2021b",
    )
    assert asked == {
        "Force": True,
        "Keep": ["StudyInstanceUID", "PatientName"],
        "Remove": ["ReferencedStudySequence", "StudyDate"],
        "Replace": {"PatientID": "TRIAL-1"},
        "DicomVersion": "2021b",
    }
    assert (await rules(fake, keep_private=True))["KeepPrivateTags"] is True
    texts: list[dict[str, Any]] = [{"keep": "PatientID"}, {"remove": "PatientID"}]
    for wrong in texts:
        with pytest.raises(TypeError, match="takes a list of tags"):
            forward.anonymize(key=KEY, **wrong)


async def test_the_file_is_not_read_before(fake: FakeOrthanc) -> None:
    """What is sent is Orthanc's de-identified file; the one with the name does not come here."""
    asked = Asked(fake)
    transform = forward.anonymize(key=KEY)
    sent = [data async for _, data in _source.read(await _source.listing(fake.study), transform)]
    assert sent == [b"the de-identified file"] * 2
    assert len(asked.rules) == 2
    assert not any(path.endswith("/file") for path in fake.asked)


async def test_a_key_in_a_file(fake: FakeOrthanc, tmp_path: Path) -> None:
    """A key that can be guessed is refused wherever it stands."""
    file = tmp_path / "key"
    file.write_text("short")
    with pytest.raises(ValueError, match="at least 16 characters"):
        await rules(fake, key=forward.secret_from_file(file))
    file.write_text(KEY)
    assert await rules(fake, key=forward.secret_from_file(file)) == await rules(fake)


def test_derived_uids() -> None:
    """They are the same for the same key, others for another, and valid UIDs."""
    uid = _anonymize.derived_uid(b"k" * 16, "1.2.3")
    assert uid == _anonymize.derived_uid(b"k" * 16, "1.2.3")
    assert uid != _anonymize.derived_uid(b"l" * 16, "1.2.3")
    assert uid.startswith("2.25.")
    assert len(uid) <= 44


def test_uids_that_are_replaced() -> None:
    """Identifiers of things are, also in sequences; kinds and well-known ones are not."""
    tags = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
        "SOPInstanceUID": "1.5.1",
        "FrameOfReferenceUID": "1.2.840.10008.1.4.1.1",
        "MACParametersSequence": [],
        "ReferencedStudySequence": [
            {"ReferencedSOPClassUID": "1.9", "ReferencedSOPInstanceUID": "1.5.2"},
            {"Deep": [{"ReferencedSOPInstanceUID": "1.5.3"}]},
        ],
    }
    assert dict(_anonymize._uids(tags, "")) == {
        "SOPInstanceUID": "1.5.1",
        "ReferencedStudySequence[0].ReferencedSOPInstanceUID": "1.5.2",
        "ReferencedStudySequence[1].Deep[0].ReferencedSOPInstanceUID": "1.5.3",
    }
