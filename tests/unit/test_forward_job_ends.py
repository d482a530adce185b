"""What becomes of a delivery by the ways in which a job of Orthanc's may end."""

from __future__ import annotations

from typing import Any

import orthanc
import pytest
from orthanc_async import forward
from orthanc_async.forward._errors import Down
from unit.forward_fakes import Attempts, FakeOrthanc

SUCCESS = {"State": "Success", "Progress": 100, "Content": {"FailedInstancesCount": 0}}


class Jobs:
    """Orthanc's jobs: each that is begun has ended as `ends` says, in turn."""

    def __init__(self, fake: FakeOrthanc, *ends: dict[str, Any]) -> None:
        self.begun: list[dict[str, Any]] = []
        self._fake = fake
        self._ends = list(ends)
        fake.post = self._post

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        assert path == "/modalities/pacs/store"
        self.begun.append(body)
        job = f"job{len(self.begun)}"
        self._fake.more[f"/jobs/{job}"] = {"ID": job, **self._ends.pop(0)}
        return {"ID": job}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of three instances."""
    fake = FakeOrthanc(monkeypatch)
    for number in range(3):
        fake.add(str(number), b"x", number=number)
    return fake


async def test_options(fake: FakeOrthanc) -> None:
    """What the script adds is given to each job, and each job is of one batch."""
    jobs = Jobs(fake, SUCCESS, SUCCESS)
    attempts = Attempts()
    send = forward.to_modality("pacs", batch=2, options={"Timeout": 60})
    await attempts.run(lambda: send(fake.study))
    assert [body["Timeout"] for body in jobs.begun] == [60, 60]
    assert [len(body["Resources"]) for body in jobs.begun] == [2, 1]
    assert attempts.progress.done == 3
    await attempts.run(lambda: send(fake.study))
    assert len(jobs.begun) == 2, "nothing is left"


async def test_a_success_that_leaves_out_some(fake: FakeOrthanc) -> None:
    """Instances that a job could not send are sent again, though it calls itself a success."""
    jobs = Jobs(fake, {**SUCCESS, "Content": {"FailedInstancesCount": 1}}, SUCCESS)
    send = forward.to_modality("pacs")
    attempts = Attempts()
    with pytest.raises(forward.RetryLater, match="1 of 3 instances were not sent"):
        await attempts.run(lambda: send(fake.study))
    await attempts.run(lambda: send(fake.study))
    assert jobs.begun[0]["Resources"] == jobs.begun[1]["Resources"]


@pytest.mark.parametrize(("code", "down"), [(9, True), (20, True), (6, False)])
async def test_failures(fake: FakeOrthanc, code: int, down: object) -> None:
    """What cannot be reached is one for the breaker; another failure is not."""
    Jobs(fake, {"State": "Failure", "ErrorCode": code, "ErrorDescription": "it says no"})
    with pytest.raises(forward.RetryLater, match="it says no") as caught:
        await forward.to_modality("pacs")(fake.study)
    assert isinstance(caught.value, Down) is down


async def test_a_success_closes_the_breaker(fake: FakeOrthanc) -> None:
    """A modality that takes instances again is up."""
    now = [0.0]
    breaker = forward.Breaker(1, first=10, clock=lambda: now[0])
    breaker.failed(breaker.began())
    now[0] = 11
    Jobs(fake, SUCCESS)
    await forward.to_modality("pacs", breaker=breaker)(fake.study)
    assert breaker.state == "closed"


async def test_a_job_that_cannot_be_looked_at(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of Orthanc's is no sign that the job is gone: it is kept, not begun anew."""
    jobs = Jobs(fake, SUCCESS)
    send = forward.to_modality("pacs")
    attempts = Attempts()

    async def rest_api_get(path: str) -> bytes:
        if path.startswith("/jobs/"):
            raise orthanc.OrthancException(orthanc.ErrorCode.DATABASE, "busy")
        return await fake._get(path)

    with monkeypatch.context() as patch:
        patch.setattr(orthanc, "rest_api_get", rest_api_get)
        with pytest.raises(orthanc.OrthancException):
            await attempts.run(lambda: send(fake.study))
    await attempts.run(lambda: send(fake.study))
    assert len(jobs.begun) == 1
    assert attempts.progress.done == 3
