"""STOW-RS against servers that store some, or none, or say it in their own way."""

from __future__ import annotations

import email
import email.policy
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from orthanc_async import forward
from orthanc_async.forward import _dicomweb
from unit.forward_fakes import Attempts, FakeOrthanc, served

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = tuple[int, Any]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of six instances in two series."""
    fake = FakeOrthanc(monkeypatch)
    for number in range(6):
        fake.add(str(number), bytes([number]) * 1000, series="ab"[number // 3], number=number)
    return fake


class Stow:
    """A server: `answer` gets the names of a request's instances."""

    def __init__(self, answer: Callable[[list[str]], Answer]) -> None:
        self.answer = answer
        self.requests: list[list[str]] = []
        self.length = True
        self.files: dict[str, bytes] = {}

    async def receive(self, request: web.Request) -> web.Response:
        """Take a request apart."""
        assert request.path == "/dicom-web/studies"
        kind = request.headers["Content-Type"]
        body = await request.read()
        assert not self.length or request.headers["Content-Length"] == str(len(body))
        message = email.message_from_bytes(
            f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=email.policy.HTTP
        )
        assert message.get_content_type() == "multipart/related"
        assert message.get_param("type") == "application/dicom"
        boundary = str(message.get_param("boundary")).encode()
        assert body.endswith(b"--" + boundary + b"--\r\n")
        parts = body.split(b"--" + boundary)[1:-1]
        contents = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
        names = [str(content[0]) for content in contents]
        self.files.update(zip(names, contents, strict=True))
        self.requests.append(names)
        status, answer = self.answer(names)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return web.Response(status=status, text=text, content_type="application/dicom+json")


def document(stored: list[str], failed: dict[str, int] | None = None) -> Any:
    """Make an answer's data set."""
    return {
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"Value": [f"1.2.{n}"]}} for n in stored]},
        "00081198": {
            "vr": "SQ",
            "Value": [
                {"00081155": {"Value": [f"1.2.{n}"]}, "00081197": {"Value": [reason]}}
                for n, reason in (failed or {}).items()
            ],
        },
    }


async def run(fake: FakeOrthanc, stow: Stow, attempts: Attempts, **options: Any) -> None:
    """Make one attempt."""
    async with served(stow.receive) as url:
        send = forward.to_dicomweb(f"{url}/dicom-web/", batch=2, **options)
        send.target = "the server"  # the same in each attempt
        try:
            await attempts.run(lambda: send(fake.study))
        finally:
            await send.http.close()


async def test_batches_arrive_unchanged(fake: FakeOrthanc) -> None:
    """The body is a correct multipart one, in batches, with each file as it is."""
    stow = Stow(lambda names: (200, document(names)))
    attempts = Attempts()
    await run(fake, stow, attempts)
    assert stow.requests == [["0", "1"], ["2", "3"], ["4", "5"]]
    assert stow.files == {name[-1]: data for name, data in fake.files.items()}
    assert attempts.progress.done == 6
    await run(fake, stow, attempts)
    assert len(stow.requests) == 3, "nothing is left"


async def test_only_what_failed_is_sent_again(fake: FakeOrthanc) -> None:
    """Failures in an answer are sent again by the next attempt, alone."""
    full = {"1": 0xA700, "4": 0x0110}

    def answer(names: list[str]) -> Answer:
        failed = {name: full[name] for name in names if name in full}
        return 202, document([name for name in names if name not in failed], failed)

    stow = Stow(answer)
    attempts = Attempts()
    with pytest.raises(forward.RetryLater, match=r"2 of 6 instances: 1\.2\.1: 0xA700 \(out of"):
        await run(fake, stow, attempts)
    full.clear()
    stow.requests.clear()
    await run(fake, stow, attempts)
    assert stow.requests == [["1", "4"]]


async def test_what_is_refused_for_good(fake: FakeOrthanc) -> None:
    """A reason that will not pass ends it as a dead letter, once all others were sent."""

    def answer(names: list[str]) -> Answer:
        failed = {name: 0x0122 for name in names if name == "0"}
        return (409 if names == ["0"] else 202), document(
            [name for name in names if name not in failed], failed
        )

    stow = Stow(answer)
    attempts = Attempts()
    with pytest.raises(forward.GiveUp, match=r"1 of 6 .*SOP class not supported"):
        await run(fake, stow, attempts)
    assert attempts.progress.done == 5


async def test_what_is_not_named_is_not_stored(fake: FakeOrthanc) -> None:
    """A server that stops at one it cannot store, and says 200, gets the others one by one."""
    stored: set[str] = set()

    def answer(names: list[str]) -> Answer:
        taken = names[: names.index("2")] if "2" in names else names
        stored.update(taken)
        return 200, document(taken)

    attempts = Attempts()
    with pytest.raises(forward.RetryLater, match=r"1 of 6 instances: 1\.2\.2: no reason given"):
        await run(fake, Stow(answer), attempts)
    assert stored == {"0", "1", "3", "4", "5"}
    assert attempts.progress.done == 5


@pytest.mark.parametrize("status", [400, 409])
async def test_a_batch_that_is_refused_plainly(fake: FakeOrthanc, status: int) -> None:
    """A refusal that names no instance is for one of them: all others arrive, one by one."""
    stow = Stow(lambda names: (status, "not this") if "2" in names else (200, document(names)))
    attempts = Attempts()
    with pytest.raises(
        forward.GiveUp, match=rf"1 of 6 instances: 1\.2\.2: the server answers {status}: not this"
    ):
        await run(fake, stow, attempts)
    assert attempts.progress.done == 5
    assert stow.requests == [["0", "1"], ["2", "3"], ["4", "5"], ["2"], ["3"]]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, "", None),
        (204, "", None),
        (200, "<html>Please log in</html>", "RetryLater"),
        (200, "OK", "RetryLater"),
        (200, '{"error": "not here"}', "RetryLater"),
        (202, "", "RetryLater"),
        (409, "", "GiveUp"),
        (400, "what is that?", "GiveUp"),
        (503, "", "Down"),
    ],
)
async def test_answers_without_a_data_set(
    fake: FakeOrthanc, status: int, body: str, error: str | None
) -> None:
    """An empty success is one; a page that is no answer of DICOMweb is none."""
    raised = None
    try:
        await run(fake, Stow(lambda _names: (status, body)), Attempts())
    except (forward.GiveUp, forward.RetryLater) as caught:
        raised = type(caught).__name__
    assert raised == error


async def test_a_transform_leaves_out(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of which nothing is left is not sent; a 401 makes the body anew."""
    monkeypatch.setattr(_dicomweb, "uid_of", lambda data: f"1.2.{data[0]}")
    refused = True

    def answer(names: list[str]) -> Answer:
        nonlocal refused
        if refused:
            refused = False
            return 401, ""
        return 200, ""

    def transform(file: bytes, instance: Any) -> bytes | None:
        return None if instance.id[-1] in "123" else file

    stow = Stow(answer)
    stow.length = False
    attempts = Attempts()
    auth = forward.Bearer(lambda: "a token")
    await run(fake, stow, attempts, transform=transform, auth=auth)
    assert stow.requests == [["0"], ["0"], ["4", "5"]]
    assert attempts.progress.done == 6


async def test_a_transform_that_renames(fake: FakeOrthanc) -> None:
    """The answer names the UID of the file that was sent, not of the one in Orthanc."""
    stow = Stow(lambda names: (200, document([f"9.{name}" for name in names])))

    def transform(file: bytes, _instance: Any) -> bytes:
        uid = f"1.2.9.{file[0]}".encode()
        element = b"\2\0\3\0UI" + len(uid).to_bytes(2, "little") + uid
        return file[:1] * 128 + b"DICM" + element

    stow.length = False
    attempts = Attempts()
    await run(fake, stow, attempts, transform=transform)
    assert attempts.progress.done == 6
    await run(fake, stow, attempts, transform=transform)
    assert len(stow.requests) == 3


async def test_a_file_that_was_replaced(fake: FakeOrthanc) -> None:
    """A file of another size than the listed one is tried again, and its batch not stored."""
    fake.files["instance-3"] += b"more"
    stow = Stow(lambda names: (200, document(names)))
    with pytest.raises(forward.RetryLater, match="instance-3 was replaced while it was read"):
        await run(fake, stow, Attempts())
    assert stow.requests == [["0", "1"]]


async def test_an_answer_that_is_too_long(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be read whole says nothing about any instance."""
    monkeypatch.setattr(_dicomweb, "_MOST_ANSWER", 10)
    attempts = Attempts()
    with pytest.raises(forward.RetryLater, match="more than can be read"):
        await run(fake, Stow(lambda names: (200, document(names))), attempts)
    assert attempts.progress.done == 0


async def test_a_refusal_shows_no_secret(fake: FakeOrthanc) -> None:
    """A server that repeats the password when it refuses does not bring it into a dead letter."""
    auth = forward.Basic("me", "hidden-word")
    with pytest.raises(forward.GiveUp, match="answers 400: who is …") as caught:
        await run(fake, Stow(lambda _: (400, "who is hidden-word?")), Attempts(), auth=auth)
    assert "hidden" not in str(caught.value)


async def test_a_transform_that_makes_no_dicom(fake: FakeOrthanc) -> None:
    """What is no DICOM file is not sent, and the transform is named."""

    def transform(_file: bytes, _instance: Any) -> bytes:
        return b"a picture"

    stow = Stow(lambda _names: (200, ""))
    with pytest.raises(ValueError, match=r"transform.*is no DICOM file"):
        await run(fake, stow, Attempts(), transform=transform)
    assert not stow.requests


def test_fields_in_a_url() -> None:
    """A URL takes no fields, and the error says where they belong."""
    for make in (forward.to_http, forward.to_dicomweb, forward.to_webhook):
        with pytest.raises(ValueError, match=r"holds braces: fields .* path= \(of to_http\)"):
            make("https://pacs.example/{study}")
