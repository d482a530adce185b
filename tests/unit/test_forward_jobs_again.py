"""Destinations that Orthanc's jobs carry out: which job is theirs, and what became of it."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import _registry, forward
from orthanc_async._durable import queues
from orthanc_async.forward import _errors, _job_ends
from unit.forward_fakes import Attempts, FakeOrthanc

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_job_ends, "_LATE", 0.05)
    _registry.clear()
    yield
    _registry.clear()
    _job_ends._ends.clear()


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


# --- found again


INSTANCES = ["instance-1", "instance-2"]
SUCCESS = {"State": "Success", "Content": {"FailedInstancesCount": 0}}
MODALITIES = {
    "pacs": {"AET": "PACS", "Host": "pacs", "Port": 104},
    "other": {"AET": "OTHER", "Host": "other", "Port": 104},
}


def job(**more: Any) -> dict[str, Any]:
    """Return a job that may be that of the batch, as older versions show it."""
    content = {"ParentResources": INSTANCES, "RemoteAet": "PACS", "FailedInstancesCount": 0}
    return {
        "ID": "found",
        "Type": "DicomModalityStore",
        "State": "Success",
        "CreationTime": "99990101T000000.000000",
        "Content": {**content, **more.pop("content", {})},
        **more,
    }


class Crashed:
    """A delivery of two instances whose attempt has ended with Orthanc, after the POST.

    Attributes:
        fake: The Orthanc.
        posted: The bodies of all POSTs that make a job.
        cancelled: The jobs that were cancelled.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fake = FakeOrthanc(patch)
        for number in (1, 2):
            self.fake.add(str(number), b"x", number=number)
        self.fake.more["/modalities?expand"] = copy.deepcopy(MODALITIES)
        self.posted: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.attempts = Attempts()
        self.fake.post = self._post

    def _post(self, path: str, body: Any) -> Any:
        if path.endswith("/cancel"):
            self.cancelled.append(path.split("/")[2])
            return {}
        self.posted.append(body)
        name = f"job{len(self.posted)}"
        self.fake.more[f"/jobs/{name}"] = SUCCESS
        return {"ID": name}

    async def crash(self, send: forward.Destination) -> None:
        """Run the attempt that knows of no job."""
        await self.attempts.run(lambda: send(self.fake.study))
        # What had been written before the POST.
        self.attempts.resume = self.attempts.saved[0]

    async def go_on(self, send: forward.Destination, *jobs: dict[str, Any]) -> int:
        """Run another attempt with these jobs in Orthanc; return how many were made."""
        before = len(self.posted)
        self.fake.more["/jobs?expand"] = list(jobs)
        self.fake.more.update({f"/jobs/{one['ID']}": one for one in jobs})
        await self.attempts.run(lambda: send(self.fake.study))
        assert self.attempts.progress.done == 2
        return len(self.posted) - before


@pytest.mark.parametrize(
    ("found", "made"),
    [
        ([], 1),
        ([job()], 0),
        ([job(content={"ParentResources": INSTANCES[::-1]})], 0),
        ([job(State="Failure", ErrorDetails="refused"), job()], 0),
        ([job(State="Failure", ErrorDetails="refused")], 1),
        ([job(CreationTime="20000101T000000")], 1),
        ([job(Type="OrthancPeerStore")], 1),
        ([job(content={"RemoteAet": "OTHER"})], 1),
        ([job(content={"ParentResources": INSTANCES[:1]})], 1),
        ([job(UserData={"orthanc-async": "of another batch"})], 1),
        ([job(Type="ResourceModification", content={"ParentResources": None})], 1),
    ],
    ids=[
        "none", "alike", "in another order", "sent twice", "failed", "older", "of another type",
        "elsewhere", "less", "marked", "without resources",
    ],
)  # fmt: skip
async def test_a_job_whose_identifier_was_not_saved(
    monkeypatch: pytest.MonkeyPatch, found: list[dict[str, Any]], made: int
) -> None:
    """The job that sends the batch is found again; one that may be another's is not taken."""
    crashed = Crashed(monkeypatch)
    send = forward.to_modality("pacs")
    await crashed.crash(send)
    assert await crashed.go_on(send, *found) == made


async def test_a_job_that_carries_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where jobs carry what they were given, that tells, whatever else is in doubt."""
    crashed = Crashed(monkeypatch)
    send = forward.to_modality("pacs", options={"UserData": {"mine": 1}, "Host": "elsewhere"})
    await crashed.crash(send)
    data = crashed.posted[0]["UserData"]
    assert data.keys() == {"mine", "orthanc-async"}
    assert await crashed.go_on(send, job(UserData=data)) == 0


@pytest.mark.parametrize("doubt", ["the same AET", "other options", "a hidden option", "no AET"])
async def test_a_job_in_doubt(monkeypatch: pytest.MonkeyPatch, doubt: str) -> None:
    """Where an older version's job may be one to somewhere else, the batch is sent anew."""
    crashed = Crashed(monkeypatch)
    send = forward.to_modality("pacs", options={"Port": 4} if "hidden" in doubt else None)
    await crashed.crash(send)
    known = crashed.fake.more["/modalities?expand"]
    other = None
    if doubt == "the same AET":
        known["other"]["AET"] = "PACS"
    elif doubt == "other options":
        other = forward.to_modality("pacs", options={"LocalAet": "ME"})
    elif doubt == "no AET":
        del known["pacs"]
    assert await crashed.go_on(send, job()) == 1
    del other


@pytest.mark.parametrize(
    "peer", [["http://there/"], ["http://there/", "user"], {"Url": "http://there/"}]
)
async def test_a_job_to_a_peer(monkeypatch: pytest.MonkeyPatch, peer: Any) -> None:
    """A peer's job is told by its URL, however Orthanc writes it."""
    crashed = Crashed(monkeypatch)
    crashed.fake.more["/peers?expand"] = {"there": {"Url": "http://there/"}}
    send = forward.to_peer("there")
    await crashed.crash(send)
    resume = crashed.attempts.resume
    there = job(Type="OrthancPeerStore", content={"Peer": peer})
    assert await crashed.go_on(send, there) == 0
    crashed.attempts.resume = resume
    there["Content"]["Peer"] = ["http://elsewhere/"]
    assert await crashed.go_on(send, there) == 1


async def test_no_job_is_looked_for_after_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that Orthanc has refused to send has no job."""
    crashed = Crashed(monkeypatch)
    send = forward.to_modality("pacs")
    crashed.fake.post = lambda _path, _body: orthanc.OrthancException(1, "not now")
    with pytest.raises(forward.RetryLater):
        await crashed.attempts.run(lambda: send(crashed.fake.study))
    crashed.fake.post = crashed._post
    assert await crashed.go_on(send, job()) == 1


# --- what events tell


async def test_a_job_that_is_forgotten_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Orthanc has forgotten already is known from the event of its end."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"x")
    names = iter(["one", "two"])
    fake.post = lambda _path, _body: {"ID": next(names)}
    send = forward.to_peer("pacs")
    attempts = Attempts()
    _job_ends.note("one", success=False)
    with pytest.raises(forward.RetryLater, match="one has failed: Orthanc has forgotten why"):
        await attempts.run(lambda: send(fake.study))
    monkeypatch.setattr(_job_ends, "_LATE", 10)
    running = asyncio.create_task(attempts.run(lambda: send(fake.study)))
    while "/jobs/two" not in fake.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    _job_ends.note("two", success=True)
    await running
    assert attempts.progress.done == 1


async def test_ends_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest ends are forgotten, and nobody who waited is left in the way."""
    monkeypatch.setattr(_job_ends, "_MOST", 2)
    for name in "abc":
        _job_ends.note(name, success=True)
    assert await _job_ends.of("a") is None
    assert await _job_ends.of("c") == {"State": "Success"}
    await _job_ends.wait("d", 0.01)
    assert not _job_ends._waiting


# --- abandoned


@pytest.mark.parametrize("state", ["Pending", "Success"])
@pytest.mark.parametrize("name", ["job1", "found"])
async def test_an_abandoned_job(monkeypatch: pytest.MonkeyPatch, name: str, state: str) -> None:
    """A job that nobody waits for any more is cancelled, found again if it must be."""
    crashed = Crashed(monkeypatch)
    send = forward.to_modality("pacs")
    await crashed.crash(send)
    one = job(State=state)
    crashed.fake.more["/jobs?expand"] = [one]
    crashed.fake.more["/jobs/job1"] = {**one, "ID": "job1"}
    await queues.abandon(crashed.attempts.saved[0 if name == "found" else 1])
    assert crashed.cancelled == ([] if state == "Success" else [name])
    del send


async def test_what_handlers_keep_is_no_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a script keeps for itself, in whatever form, is let alone."""
    crashed = Crashed(monkeypatch)
    send = forward.to_modality("pacs")
    kept: list[Any] = [1, [], {"forward": 1}, {"forward": {"a": 1, "b": {"job": "c"}}}]
    for resume in kept:
        await queues.abandon(resume)
    assert not crashed.cancelled
    assert not caplog.records
    del send
