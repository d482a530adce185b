"""The parts of destinations that need no peer: breaker, marks, filters, names, secrets."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import Instance, forward
from orthanc_async.forward import _anonymize, _dicomweb_answer, _errors, _source
from orthanc_async.forward._dicomweb import batches
from orthanc_async.forward._sent import Sent
from orthanc_async.forward._source import Item
from orthanc_async.forward._template import Template
from orthanc_async.forward._uid import uid_of
from unit.forward_fakes import Attempts, FakeOrthanc

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


# --- the breaker


def test_breaker_opens_tries_and_closes() -> None:
    """Closed, open after failures in a row, half-open for one attempt, closed by its success."""
    clock = Clock()
    breaker = forward.Breaker(3, first=10, longest=100, clock=clock)
    for _ in range(2):
        breaker.failed(breaker.began())
    breaker.succeeded(breaker.began())
    for _ in range(2):
        breaker.failed(breaker.began())
    assert breaker.state == "closed"
    assert breaker.free(7) == 7
    breaker.failed(breaker.began())
    assert breaker.state == "open"
    assert breaker.free(7) == 0
    assert 7.5 <= breaker.wait() <= 10
    clock.now += 10
    assert breaker.state == "half-open"
    assert breaker.free(7) == 1
    assert breaker.free(7) == 0, "one is offered already"
    tries = breaker.began()
    assert breaker.free(7) == 0, "one tries already"
    assert breaker.wait() > 0
    breaker.succeeded(tries)
    assert breaker.state == "closed"
    assert breaker.free(7) == 7
    assert breaker.wait() == 0


def test_breaker_grows_and_is_bounded() -> None:
    """Each attempt that fails doubles the time, up to a limit; Retry-After is obeyed within it."""
    clock = Clock()
    breaker = forward.Breaker(1, first=10, longest=50, clock=clock)
    waits = []
    for _ in range(5):
        breaker.failed(breaker.began())
        waits.append(breaker.wait())
        clock.now += breaker.wait()
    for wait, whole in zip(waits, (10, 20, 40, 50, 50), strict=True):
        assert 0.75 * whole <= wait <= whole
    breaker.failed(breaker.began(), 45)
    assert 44.9 <= breaker.wait() <= 50


def test_breaker_minds_only_who_tries() -> None:
    """Attempts that had begun before do not lengthen the time, and an offer lapses."""
    clock = Clock()
    breaker = forward.Breaker(1, first=10, longest=1000, clock=clock)
    before = [breaker.began() for _ in range(4)]
    for tries in before:
        breaker.failed(tries)
    assert breaker.wait() <= 10
    clock.now += 10
    assert breaker.free(1) == 1
    clock.now += 6  # nothing was due after all
    assert breaker.free(1) == 1
    tries = breaker.began()
    breaker.ended(tries)  # says nothing
    assert breaker.free(1) == 1


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


# --- filters


async def chosen(fake: FakeOrthanc, only: Any) -> str:
    """Return the names of the instances that a filter lets through."""
    send = forward.to_modality("x", only=only)
    kept: list[Item] = []

    async def deliver(delivery: Any) -> None:
        kept.extend(await send.items(delivery))

    send.deliver = deliver  # type: ignore[method-assign]
    await send(fake.study)
    return "".join(item.instance[-1] for item in kept)


async def test_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modality, titles, tags and functions, also composed, choose among instances."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"", series="a", Modality="CT", BodyPartExamined="HEAD")
    fake.add("2", b"", series="b", Modality="SR")
    fake.add("3", b"", series="c", Modality="MR")
    for name, called in (("1", "STORE"), ("2", "STORE"), ("3", "RESEARCH")):
        metadata = {"CalledAET": called, "RemoteAET": f"SCANNER{name}"}
        fake.more[f"/instances/instance-{name}/metadata?expand"] = metadata
        tags = {"ImageType": "ORIGINAL\\PRIMARY" if name == "3" else "DERIVED"}
        fake.more[f"/instances/instance-{name}/simplified-tags"] = tags
    ct = forward.modality("CT")
    assert await chosen(fake, ct) == "1"
    assert await chosen(fake, ~ct) == "23"
    assert await chosen(fake, forward.modality("CT", "MR")) == "13"
    assert await chosen(fake, forward.called_aet("STORE") & ~forward.modality("SR")) == "1"
    assert await chosen(fake, forward.calling_aet("SCANNER2") | ct) == "12"
    assert await chosen(fake, forward.tag("PatientID", "P/*")) == "123"
    assert await chosen(fake, forward.tag("BodyPartExamined", "HEAD")) == "1"
    assert await chosen(fake, forward.tag("ImageType", "PRIMARY")) == "3"
    assert await chosen(fake, ~forward.tag("Nothing", "")) == ""
    assert await chosen(fake, lambda instance: instance.id == "instance-2") == "2"
    assert await chosen(fake, ct | (lambda instance: instance.id == "instance-2")) == "12"

    async def third(instance: Instance) -> bool:
        return instance.id == "instance-3"

    assert await chosen(fake, third) == "3"
    assert repr(ct & ~forward.tag("A", "b")) == "(modality('CT') & ~tag('A', 'b'))"


def test_filters_are_checked() -> None:
    """What can only fail later is refused when the script is loaded."""
    with pytest.raises(TypeError, match="modality"):
        forward.modality()
    with pytest.raises(TypeError, match="is called with"):
        forward.to_modality("x", only=lambda: True)


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
    assert not _dicomweb_answer.read(b"", "").said
    with pytest.raises(ValueError):
        _dicomweb_answer.read(b"OK", "text/plain")


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
    assert _dicomweb_answer.passes(0xA701)
    with pytest.raises(ValueError, match="DOCTYPE"):
        _dicomweb_answer.read(b"<!DOCTYPE x><x/>", "application/dicom+xml")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT",
          "Date": "Wed, 21 Oct 2015 07:27:00 GMT"}, 60),
    ],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds and dates are understood, anything else is as if there were none."""
    assert _errors.retry_after(headers) == seconds


# --- names


def test_templates() -> None:
    """Values are encoded; those that would mean another folder cannot."""
    template = Template("/{study}/{PatientID}.dcm", "x")
    assert template.names == {"study", "PatientID"}
    assert template.fill({"study": "..", "PatientID": "a/b c"}) == "/%2E%2E/a%2Fb%20c.dcm"
    assert template.fill({"study": "", "PatientID": "ä"}) == "/_/%C3%A4.dcm"
    assert template.fill({"study": "\t", "PatientID": "a\0\nb"}) == "/_/a__b.dcm"
    for wrong in ("{}", "{nothing}", "{study!r}", "{study:>9}", "{study"):
        with pytest.raises(ValueError, match="x: "):
            Template(wrong, "x")


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


# --- de-identification


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


def test_uid_of_a_file(tmp_path: Path) -> None:
    """The UID is read from the meta information."""
    import pydicom
    import pydicom.data

    file = pydicom.data.get_testdata_file("MR_small.dcm")
    assert isinstance(file, str)
    with open(file, "rb") as stream:  # noqa: PTH123
        assert uid_of(stream.read()) == pydicom.dcmread(file).SOPInstanceUID
    assert uid_of(b"nothing") is None


# --- jobs


async def test_a_job_is_saved_before_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart in the middle waits for the same job; a failed one is begun anew."""
    fake = FakeOrthanc(monkeypatch)
    for number in range(4):
        fake.add(str(number), b"x", number=number)
    begun: list[list[str]] = []

    def post(path: str, body: Any) -> Any:
        assert path == "/modalities/pacs-1/store"
        assert body["Synchronous"] is False
        begun.append(body["Resources"])
        return {"ID": f"job{len(begun)}", "Path": "…"}

    fake.post = post
    running = {"State": "Running", "Progress": 50, "Content": {"FailedInstancesCount": 0}}
    success = {**running, "State": "Success", "Progress": 100}
    failure = {"State": "Failure", "ErrorCode": 9, "ErrorDetails": "refused"}
    send = forward.to_modality("pacs-1", batch=3)
    attempts = Attempts()

    fake.more["/jobs/job1"] = running
    task = asyncio.create_task(attempts.run(lambda: send(fake.study)))
    while sum(path == "/jobs/job1" for path in fake.asked) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()  # the server stops
    await asyncio.wait([task])
    assert attempts.progress.done == 1
    assert len(begun) == 1

    attempts.resume = attempts.saved[-1]
    fake.more["/jobs/job1"] = success
    fake.more["/jobs/job2"] = failure
    with pytest.raises(_errors.Down, match="job2 has failed: refused"):
        await attempts.run(lambda: send(fake.study))
    assert begun[1:] == [["instance-3"]]

    fake.more["/jobs/job3"] = success
    await attempts.run(lambda: send(fake.study))
    assert begun[2:] == [["instance-3"]]
    assert attempts.progress.done == 4


async def test_a_job_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that Orthanc no longer knows after a restart is begun anew."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"x")
    fake.post = lambda _path, _body: {"ID": "job"}
    send = forward.to_peer("pacs")
    attempts = Attempts()
    with pytest.raises(forward.RetryLater, match="JobsHistorySize"):
        await attempts.run(lambda: send(fake.study))
    fake.more["/jobs/job"] = {"State": "Success", "Content": {}}
    attempts.resume = attempts.saved[-1]  # it had crashed before
    del fake.more["/jobs/job"]

    def post(_path: str, _body: Any) -> Any:
        fake.more["/jobs/job"] = {"State": "Success", "Content": {}}
        return {"ID": "job"}

    fake.post = post
    await attempts.run(lambda: send(fake.study))
    assert attempts.progress.done == 1


async def test_an_unknown_modality(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that Orthanc does not know is said to be one, and is not 'gone'."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"x")
    send = forward.to_modality("pacs")
    with pytest.raises(forward.RetryLater, match="knows no 'pacs': is it in DicomModalities"):
        await send(fake.study)
