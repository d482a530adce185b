"""Objects in a server that speaks like S3, and what its refusals mean."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from orthanc_async import forward
from orthanc_async.forward._errors import Down
from unit.forward_fakes import FakeOrthanc, served

if TYPE_CHECKING:
    from pathlib import Path

KEYS: dict[str, Any] = {"access_key": "us", "secret_key": "hidden-word", "region": "eu-west-7"}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of one instance."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"a file")
    return fake


async def test_an_object(fake: FakeOrthanc) -> None:
    """Each file is a PUT that is signed with its SHA-256, for the region, with what was given."""
    got: list[tuple[Any, bytes]] = []

    async def receive(request: web.Request) -> web.Response:
        assert request.method == "PUT"
        assert request.raw_path == "/bucket/my%20studies/P%2F1/1.2.1.dcm"
        got.append((request.headers, await request.read()))
        return web.Response()

    async with served(receive) as url:
        send = forward.to_s3(
            "bucket", "my studies/{PatientID}/{SOPInstanceUID}.dcm", endpoint=f"{url}/",
            session_token="hidden-token", storage_class="STANDARD_IA", **KEYS,
        )  # fmt: skip
        await send(fake.study)
        await send.http.close()
    ((headers, body),) = got
    assert body == b"a file"
    assert headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    assert "/eu-west-7/s3/aws4_request" in headers["Authorization"]
    assert "x-amz-content-sha256" in headers["Authorization"]
    assert headers["x-amz-security-token"] == "hidden-token"
    assert headers["x-amz-storage-class"] == "STANDARD_IA"


@pytest.mark.parametrize(
    ("status", "code", "error", "after"),
    [
        (403, "RequestTimeTooSkewed", forward.RetryLater, None),
        (400, "ExpiredToken", forward.RetryLater, None),
        (409, "OperationAborted", forward.RetryLater, 3.0),
        (403, "AccessDenied", forward.GiveUp, None),
        (404, "NoSuchBucket", forward.GiveUp, None),
        (503, "SlowDown", Down, 5.0),
    ],
)
async def test_refusals(
    fake: FakeOrthanc, status: int, code: str, error: type[Exception], after: float | None
) -> None:
    """A clock that differs and credentials that have ended pass; being refused does not."""

    async def receive(_request: web.Request) -> web.Response:
        text = f"<Error><Code>{code}</Code><Key>hidden-word</Key></Error>"
        headers = {} if after is None else {"Retry-After": "3"}
        return web.Response(status=status, text=text, headers=headers)

    async with served(receive) as url:
        retry = forward.Retry(backoff=forward.Backoff(first=5, jitter=0))
        send = forward.to_s3("bucket", endpoint=url, retry=retry, **KEYS)
        with pytest.raises(error, match=f"answers {status}: .*{code}") as caught:
            await send(fake.study)
        await send.http.close()
    assert type(caught.value) is error
    assert getattr(caught.value, "after", None) == after
    assert "hidden" not in str(caught.value)


async def test_no_credentials(
    fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where botocore finds none, the error says where they are looked for."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    send = forward.to_s3("bucket", endpoint="http://127.0.0.1:9")
    with pytest.raises(forward.RetryLater, match="no credentials: give access_key"):
        await send(fake.study)
    await send.http.close()


def test_where_it_is() -> None:
    """The URL is Amazon's of the region, which covers a bucket with dots too, or the endpoint."""
    assert "https://bucket.s3.eu-west-7.amazonaws.com" in repr(forward.to_s3("bucket", **KEYS))
    dots = repr(forward.to_s3("my.bucket", **KEYS))
    assert "https://s3.eu-west-7.amazonaws.com/my.bucket" in dots
    one, other = (forward.to_s3("bucket", key, **KEYS) for key in ("{instance}", "a/{instance}"))
    assert one.identity != other.identity


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bucket": "a/b"}, "no name of a bucket"),
        ({"access_key": "us"}, "belong together"),
        ({"secret_key": "hidden"}, "belong together"),
        ({"auth": forward.Basic("me", "hidden")}, "requests are signed"),
        ({**KEYS, "session_token": ""}, "session_token must not be empty"),
    ],
)
def test_settings(options: dict[str, Any], words: str) -> None:
    """What can only fail later is refused when the script is loaded."""
    with pytest.raises((TypeError, ValueError), match=words):
        forward.to_s3(**{"bucket": "bucket", **options})
