"""The parts of destinations that need no peer: breaker, marks, filters, names, secrets."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import Instance, forward
from orthanc_async.forward import _dicomweb_answer, _source
from orthanc_async.forward._dicomweb import batches
from orthanc_async.forward._secrets import Secrets, SecretSource
from orthanc_async.forward._sent import Sent
from orthanc_async.forward._source import Item
from orthanc_async.forward._uid import uid_of
from unit.forward_fakes import FakeOrthanc

if TYPE_CHECKING:
    from pathlib import Path


# --- what is sent already


def items(*names: str, version: str = "1") -> list[Item]:
    """Make items: the first letter is the series."""
    return [Item(name, f"series-{name[0]}-0123456789", "", 1, version) for name in names]


def test_marks_come_back() -> None:
    """Marks survive JSON, whatever their pattern, and stay small."""
    many = items(*(f"{series}{number:04}" for series in "abcd" for number in range(500)))
    chance = random.Random(7)
    sent = Sent(many)
    wanted = [item for item in many if item.series[7] == "a" or chance.random() < 0.5]
    for item in wanted:
        sent.add(item)
    state = json.dumps(sent.state())
    assert len(state) < 800
    again = Sent(many, json.loads(state))
    assert [item for item in many if item in again] == wanted
    assert json.dumps(again.marks(many)) == json.dumps(Sent(many, again.marks(many)).state())
    assert Sent(many).state() == {}


@pytest.mark.parametrize(
    "now",
    [
        items("a1", "a2", "a3", "b1", "b2"),  # added
        items("a0", "a1", "a2", "b1", "b2"),  # added in front
        items("a1", "b1", "b2"),  # deleted
        [*items("a1"), *items("a2", version="2"), *items("b1", "b2")],  # overwritten
    ],
)
def test_marks_of_a_changed_series_are_dropped(now: list[Item]) -> None:
    """A series that has changed is sent again, the others are not."""
    sent = Sent(items("a1", "a2", "b1", "b2"))
    for item in items("a1", "a2", "b1"):
        sent.add(item)
    again = Sent(now, sent.state())
    assert [item.instance for item in now if item in again] == ["b1"]
    added = Sent(now)
    added.add_all(sent.state())
    assert added.state() == again.state()


def test_batches() -> None:
    """Batches are bounded by number and bytes; one that is too large goes alone."""
    sizes = [5, 5, 1, 20, 1, 1, 1, 1]
    given = [Item(str(n), "", "", size, "") for n, size in enumerate(sizes)]
    found = [[item.size for item in batch] for batch in batches(given, 3, 10)]
    assert found == [[5, 5], [1], [20], [1, 1, 1], [1]]


# --- the source


async def test_read_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in order, a few ahead, large ones only when they are the next."""
    fake = FakeOrthanc(monkeypatch)
    for number in range(6):
        fake.add(str(number), b"x", number=number)
    listed = await _source.listing(fake.study)
    assert [item.instance[-1] for item in listed] == list("012345")
    fake.asked.clear()
    reader = _source.read(listed, None)
    await anext(reader)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(fake.asked) == 1 + _source.AHEAD
    await reader.aclose()
    assert len(fake.asked) == 1 + _source.AHEAD
    monkeypatch.setattr(_source, "AHEAD_BYTES", 0)
    fake.asked.clear()
    reader = _source.read(listed, None)
    assert [item.instance async for item, _ in reader] == [item.instance for item in listed]
    assert len(fake.asked) == 6


async def test_a_file_that_cannot_be_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a file comes when its turn is, after those before it."""
    fake = FakeOrthanc(monkeypatch)
    for number in range(3):
        fake.add(str(number), b"x", number=number)
    listed = await _source.listing(fake.study)
    fake.remove("2")
    got = []

    async def read_all() -> None:
        async for item, _ in _source.read(listed, None):
            got.append(item.instance)

    with pytest.raises(orthanc.OrthancException):
        await read_all()
    assert len(got) == 2


async def test_the_order_of_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    """By series, then by number, however it is written; an instance alone can be sent too."""
    fake = FakeOrthanc(monkeypatch)
    for name, series, number in (
        ("b", "y", "1"),
        ("c", "x", "10"),
        ("d", "x", "9 "),
        ("e", "x", "?"),
    ):
        fake.add(name, b"x", series=series)
        fake.listed[f"instance-{name}"]["MainDicomTags"]["InstanceNumber"] = number
    for name, index in (("f", 3), ("g", 2)):
        fake.add(name, b"x", series="z")
        del fake.listed[f"instance-{name}"]["MainDicomTags"]["InstanceNumber"]
        fake.listed[f"instance-{name}"]["IndexInSeries"] = index
    found = [item.instance[-1] for item in await _source.listing(fake.study)]
    assert found == list("edcbgf")
    assert fake.asked == [f"/studies/{fake.study.id}/instances?expand=true"]
    fake.more["/instances/instance-c"] = fake.listed["instance-c"]
    (item,) = await _source.listing(Instance("instance-c"))
    assert item == Item("instance-c", "series-x-0123456789", "1.2.c", 1, "1")


async def test_what_is_read_ahead_ends_with_the_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that ends early leaves no reading behind."""
    fake = FakeOrthanc(monkeypatch)
    ended = []

    async def long(name: str) -> None:
        try:
            await asyncio.sleep(0 if name == "instance-1" else 60)
        finally:
            ended.append(name)

    for number in (1, 2, 3):
        fake.add(str(number), b"x", number=number)
    fake.before_file = long
    reader = _source.read(await _source.listing(fake.study), None)
    await anext(reader)
    for _ in range(10):
        await asyncio.sleep(0)
    await reader.aclose()
    assert ended == ["instance-1", "instance-2", "instance-3"]


async def test_a_transform_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `def` runs in a thread, an `async def` on the loop."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"x")
    threads = []

    def compute(file: bytes, _instance: Instance) -> bytes:
        threads.append(threading.current_thread())
        return file * 2

    async def wait(file: bytes, _instance: Instance) -> bytes:
        threads.append(threading.current_thread())
        return file * 3

    (item,) = await _source.listing(fake.study)
    assert await _source.load(item, compute) == b"xx"
    assert await _source.load(item, wait) == b"xxx"
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


async def test_a_transform_must_return_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transform that returns something else is named."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"x")

    async def wrong(_file: bytes, _instance: Instance) -> Any:
        return "text"

    (item,) = await _source.listing(fake.study)
    with pytest.raises(TypeError, match="wrong must return bytes or None, not str"):
        await _source.load(item, wrong)
    with pytest.raises(ValueError, match="must return None to leave an instance out"):
        await _source.load(item, lambda _file, _instance: b"")


# --- answers


def test_answer_of_stow_in_json() -> None:
    """Stored ones, failures with their reasons, and a duplicate that counts as stored."""
    document = {
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.1"]}}]},
        "00081198": {
            "vr": "SQ",
            "Value": [
                {"00081155": {"Value": ["1.2"]}, "00081197": {"Value": [0xA700]}},
                {"00081155": {"Value": ["1.3"]}, "00081197": {"Value": [0x0111]}},
                {"00081155": {"Value": ["1.4"]}},
            ],
        },
    }
    stored = _dicomweb_answer.read(json.dumps(document).encode(), "application/dicom+json")
    assert stored.stored == {"1.1", "1.3"}
    assert stored.failed == {"1.2": 0xA700, "1.4": 0}
    assert stored.said
    listed = _dicomweb_answer.read(json.dumps([document]).encode(), "application/json")
    assert listed == stored
    assert not _dicomweb_answer.read(b"[]", "application/json").said
    assert not _dicomweb_answer.read(b"", "").said
    with pytest.raises(ValueError):
        _dicomweb_answer.read(b"OK", "text/plain")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [(0, True), (0x0110, True), (0x0213, True), (0xA700, True), (0xA7FF, True),
     (0x0122, False), (0x0124, False), (0xA900, False), (0xC000, False), (0x0112, False)],
)  # fmt: skip
def test_reasons_that_pass(reason: int, expected: object) -> None:
    """Out of resources, and what says nothing, may pass; what the server cannot take does not."""
    assert _dicomweb_answer.passes(reason) is expected


def test_answer_of_stow_in_xml() -> None:
    """The same in XML, with and without namespaces; no entities."""
    text = """<?xml version="1.0"?>
    <NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
      <DicomAttribute tag="00081198" vr="SQ"><Item number="1">
        <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2</Value></DicomAttribute>
        <DicomAttribute tag="00081197" vr="US"><Value number="1">49152</Value></DicomAttribute>
      </Item></DicomAttribute>
      <DicomAttribute tag="00081199" vr="SQ"><Item number="1">
        <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.1</Value></DicomAttribute>
      </Item></DicomAttribute>
    </NativeDicomModel>"""
    for body in (
        text,
        text.replace(' xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"', ""),
    ):
        stored = _dicomweb_answer.read(body.encode(), "application/dicom+xml")
        assert stored.stored == {"1.1"}
        assert stored.failed == {"1.2": 0xC000}
    assert "cannot understand" in _dicomweb_answer.explain(0xC000)
    assert not _dicomweb_answer.passes(0xC000)
    assert _dicomweb_answer.read(text.encode(), "").stored == {"1.1"}
    with pytest.raises(ValueError, match="DOCTYPE"):
        _dicomweb_answer.read(b'<x><!entity a "b"></x>', "")
    with pytest.raises(ValueError, match="DOCTYPE"):
        _dicomweb_answer.read(b"<!DOCTYPE x><x/>", "application/dicom+xml")


# --- secrets and settings


async def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read when they are used, shown nowhere, and missing ones are named."""
    file = tmp_path / "secret"
    secret = forward.secret_from_file(file)
    with pytest.raises(forward.RetryLater, match=r"secret.*No such file"):
        secret.read()
    file.write_text("hidden1\n")
    assert secret.read() == "hidden1"
    file.write_text("hidden2\n")
    assert secret.read() == "hidden2"
    file.write_bytes(b"hidden\xff")
    with pytest.raises(forward.RetryLater, match=r"secret.*no UTF-8") as caught:
        secret.read()
    assert "hidden" not in str(caught.value)
    file.write_text("\n")
    with pytest.raises(forward.RetryLater, match=r"secret.*is empty"):
        secret.read()
    with pytest.raises(LookupError, match="FORWARD_NONE"):
        forward.secret_from_env("FORWARD_NONE")
    monkeypatch.setenv("FORWARD_SOME", "hidden3")
    given = forward.secret_from_env("FORWARD_SOME")
    shown = [
        forward.Basic("me", "hidden4"),
        forward.Bearer(given),
        forward.Bearer(lambda: "hidden5"),
        forward.OAuth2ClientCredentials("https://x/?k=hidden6", "me", "hidden7"),
        forward.TLS(certificate="c", key="k", password="hidden8"),
        forward.anonymize(key="hidden9hidden9hidden9"),
        forward.to_webhook("https://x/hook?key=hidden10", secret="hidden11"),
        forward.to_s3("bucket", access_key="a", secret_key="hidden12"),
        forward.to_http("https://x", auth=forward.Basic("me", "hidden13")),
        secret,
        given,
    ]
    assert "hidden" not in repr(shown)


@pytest.mark.parametrize(
    "make",
    [
        lambda: forward.to_http("pacs.example"),
        lambda: forward.to_http("https://me:secret@pacs.example"),
        lambda: forward.to_http("https://x/in#part"),
        lambda: forward.to_http("https://x", method="GET"),
        lambda: forward.Basic("me", ""),
        lambda: forward.to_http("https://x", form="tar"),
        lambda: forward.to_http("https://x", path="{nothing}"),
        lambda: forward.to_http("https://x", at_once=0),
        lambda: forward.to_http("https://x", concurrency=0),
        lambda: forward.to_http("https://x", timeout=0),
        lambda: forward.to_http("https://x", stall_timeout=-1),
        lambda: forward.to_http("https://x", headers={"Authorization": "x"}),
        lambda: forward.to_http("https://x", auth="me"),
        lambda: forward.to_http("https://x", tls=False),
        lambda: forward.to_dicomweb("https://x?a=b"),
        lambda: forward.to_dicomweb("https://x", batch=0),
        lambda: forward.to_modality(""),
        lambda: forward.to_modality("x", transform=lambda file, _instance: file),
        lambda: forward.to_modality("x", options={"Synchronous": True}),
        lambda: forward.to_webhook("https://x", secret="whsec_!"),
        lambda: forward.to_webhook("https://x", secret=b"x"),  # type: ignore[arg-type]
        lambda: forward.to_s3("a/b"),
        lambda: forward.to_s3("bucket", access_key="x"),
        lambda: forward.anonymize(key="short"),
        lambda: forward.Breaker(0),
        lambda: forward.TLS(key="x"),
        lambda: forward.Basic("a:b", "x"),
    ],
)
def test_settings_are_checked(make: Any) -> None:
    """What can only fail later is refused when the script is loaded."""
    with pytest.raises((ValueError, TypeError)):
        make()


def test_uid_of_a_file(tmp_path: Path) -> None:
    """The UID is read from the meta information."""
    import pydicom
    import pydicom.data

    file = pydicom.data.get_testdata_file("MR_small.dcm")
    assert isinstance(file, str)
    with open(file, "rb") as stream:  # noqa: PTH123
        assert uid_of(stream.read()) == pydicom.dcmread(file).SOPInstanceUID
    assert uid_of(b"nothing") is None


async def test_secrets_in_a_text() -> None:
    """Each is taken out whole, the longest first; a very short one would spoil all texts."""
    secrets = Secrets()
    for value in ("word", "word and more", "no"):
        await secrets.reveal(value)
    assert secrets.scrub("no word, no word and more") == "no …, no …"


async def test_a_secret_is_read_in_a_thread() -> None:
    """A file on a slow disk does not hold up the loop."""
    threads = []

    def read() -> str:
        threads.append(threading.current_thread())
        return "a secret"

    assert await Secrets().reveal(SecretSource("x", read)) == "a secret"
    assert threads != [threading.main_thread()]
