"""The document of a webhook, and its signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from orthanc_async import forward
from unit.forward_fakes import Attempts, FakeOrthanc, served, study_of_four

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of four instances in two series."""
    return study_of_four(monkeypatch)


async def test_webhook_can_be_verified(fake: FakeOrthanc) -> None:
    """The document tells what came, and its signature is what the documentation says."""
    got: list[tuple[Any, bytes]] = []

    async def receive(request: web.Request) -> web.Response:
        got.append((request.headers, await request.read()))
        return web.Response(status=204)

    key = b"0123456789abcdef0123"
    async with served(receive) as url:
        secret = f"whsec_{base64.b64encode(key).decode()}"
        send = forward.to_webhook(url, secret=secret)
        attempts = Attempts(payload={"type": "StableStudy"})
        await attempts.run(lambda: send(fake.study))
        attempts.resume = None  # a crash before anything was written
        await attempts.run(lambda: send(fake.study))
        await send.http.close()
    (headers, body), (again, _) = got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert again["webhook-id"] == headers["webhook-id"] == headers["Idempotency-Key"]
    document = json.loads(body)
    assert document["type"] == "StableStudy"
    assert document["level"] == "Study"
    assert document["tags"]["PatientName"] == "Doe^Jane"
    assert document["parents"] == {"patient": "the-patient"}


async def test_the_key_of_the_signature(fake: FakeOrthanc, tmp_path: Path) -> None:
    """A plain secret's UTF-8 bytes are the key; one in a file that is none can be mended."""
    got: list[tuple[Any, bytes]] = []

    async def receive(request: web.Request) -> web.Response:
        got.append((request.headers, await request.read()))
        return web.Response()

    file = tmp_path / "secret"
    file.write_text("whsec_*")
    async with served(receive) as url:
        send = forward.to_webhook(url, secret="plain wörd")
        await send(fake.study)
        await send.http.close()
        send = forward.to_webhook(url, secret=forward.secret_from_file(file))
        with pytest.raises(forward.RetryLater, match="begins with whsec_, but no Base64 follows"):
            await send(fake.study)
        await send.http.close()
    ((headers, body),) = got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.new("plain wörd".encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"


async def test_the_document(fake: FakeOrthanc) -> None:
    """The document has all that the documentation shows, and the time at which it is sent."""
    got: list[tuple[Any, Any]] = []

    async def receive(request: web.Request) -> web.Response:
        got.append((request.headers, json.loads(await request.read())))
        return web.Response()

    async with served(receive) as url:
        send = forward.to_webhook(url)
        send._clock = lambda: 1769860800.7  # type: ignore[attr-defined]
        await send(fake.study)
        await send.http.close()
    ((headers, document),) = got
    assert headers["webhook-timestamp"] == "1769860800"
    assert "webhook-signature" not in headers
    assert document == {
        "id": headers["webhook-id"],
        "timestamp": 1769860800,
        "type": None,
        "level": "Study",
        "resource": fake.study.id,
        "uri": f"/studies/{fake.study.id}",
        "parents": {"patient": "the-patient"},
        "last_update": "20260101T000000",
        "tags": {"PatientID": "P/1", "PatientName": "Doe^Jane", "StudyInstanceUID": "1.2.3"},
    }


def test_no_files() -> None:
    """There is nothing to transform, and the error says so."""
    with pytest.raises(TypeError, match="sends no files"):
        forward.to_webhook("https://x", transform=lambda file, _instance: file)
