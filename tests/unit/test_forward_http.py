"""Destinations over HTTP against receivers that behave badly."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import io
import json
import ssl
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from aiohttp import web
from orthanc_async import forward
from orthanc_async._server_net import free_port
from orthanc_async.forward._errors import Down
from unit.forward_fakes import Attempts, FakeOrthanc, gone, served

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of four instances in two series."""
    fake = FakeOrthanc(monkeypatch)
    for number, (name, series) in enumerate((("1", "a"), ("2", "a"), ("3", "b"), ("4", "b"))):
        fake.add(name, bytes([number]) * 300_000, series=series, number=number)
    return fake


async def test_files_arrive_unchanged(fake: FakeOrthanc) -> None:
    """Each file is a request with its own URL and key, and its bytes are those in Orthanc."""
    got: dict[str, tuple[str, bytes]] = {}

    async def receive(request: web.Request) -> web.Response:
        got[request.raw_path] = request.headers["Idempotency-Key"], await request.read()
        return web.Response(status=201)

    async with served(receive) as url:
        send = forward.to_http(url, path="/{PatientID}/{study}/{instance}")
        attempts = Attempts()
        await attempts.run(lambda: send(fake.study))
        await send.http.close()
    assert got == {
        f"/P%2F1/11111111-study/{name}": (f"archive/Study/1/2026/11111111-study/{name}", data)
        for name, data in fake.files.items()
    }
    assert attempts.progress.done == attempts.progress.total == 4
    assert attempts.progress.bytes == 1_200_000


async def test_the_next_attempt_sends_what_is_missing(fake: FakeOrthanc) -> None:
    """After a 500 in the middle, what was taken before is not sent again."""
    got: list[str] = []
    broken = True

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        name = request.path.rpartition("/")[2]
        if broken and name == "instance-3":
            return web.Response(status=500, text="disk full")
        got.append(name)
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(url, at_once=1)
        attempts = Attempts()
        with pytest.raises(forward.RetryLater, match="answers 500: disk full"):
            await attempts.run(lambda: send(fake.study))
        assert got == ["instance-1", "instance-2"]
        broken = False
        await attempts.run(lambda: send(fake.study))
        await send.http.close()
    assert got == ["instance-1", "instance-2", "instance-3", "instance-4"]
    assert len(json.dumps(attempts.resume)) < 200


@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [
        (408, {}, None),
        (425, {}, None),
        (429, {"Retry-After": "17"}, 17.0),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:10 GMT",
               "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 10.0),
        (500, {"Retry-After": "soon"}, None),
    ],
)  # fmt: skip
async def test_answers_that_ask_for_patience(
    fake: FakeOrthanc, status: int, headers: dict[str, str], after: float | None
) -> None:
    """408, 425, 429 and 5xx are tried again, when Retry-After says."""

    async def receive(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    async with served(receive) as url:
        send = forward.to_http(url, retry=forward.Retry(backoff=forward.Backoff(first=1)))
        with pytest.raises(Down, match=f"answers {status}") as caught:
            await send(fake.study)
        await send.http.close()
    assert caught.value.after == pytest.approx(after) if after else caught.value.after is None


@pytest.mark.parametrize("status", [400, 401, 404, 413, 302])
async def test_answers_that_end_it(fake: FakeOrthanc, status: int) -> None:
    """Other 4xx and redirections are given up at once; the error has no secret of the URL."""

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        headers = {"Location": "https://login.example/?token=abcdefgh"} if status == 302 else {}
        return web.Response(status=status, text="no, s3cret-value!", headers=headers)

    async with served(receive) as url:
        send = forward.to_http(f"{url}/in?sas=s3cret-value", headers={"X-Key": "s3cret-value"})
        with pytest.raises(forward.GiveUp) as caught:
            await send(fake.study)
        await send.http.close()
    text = str(caught.value)
    assert f"answers {status}" in text
    assert f"{url}/in/studies/11111111-study/instances/" in text
    assert "?sas=…" in text
    assert "s3cret" not in text + repr(send)
    assert "abcdefgh" not in text


async def test_closed_in_mid_body(fake: FakeOrthanc) -> None:
    """A receiver that closes while it gets a file is tried again."""
    fake.files["instance-1"] *= 30  # more than the buffers between the two hold

    async def receive(request: web.Request) -> web.Response:
        await request.content.readany()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(url)
        with pytest.raises(Down):
            await send(fake.study)
        await send.http.close()


async def test_a_stall_is_noticed(fake: FakeOrthanc) -> None:
    """A receiver that takes nothing any more, or never answers, is given a time only."""
    fake.files["instance-1"] *= 30
    end = asyncio.Event()
    read_all = False

    async def receive(request: web.Request) -> web.Response:
        if read_all:
            await request.read()
        await end.wait()
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(url, stall_timeout=0.3, at_once=1)
        with pytest.raises(Down, match=r"takes nothing for 0\.3 s"):
            await send(fake.study)
        read_all = True
        with pytest.raises(Down, match=r"no answer for 0\.3 s"):
            await send(fake.study)
        end.set()
        await send.http.close()


async def test_an_answer_of_one_byte_a_second(fake: FakeOrthanc) -> None:
    """An answer that trickles in does not hold a delivery for ever."""

    async def receive(request: web.Request) -> web.StreamResponse:
        await request.read()
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b".")
            await asyncio.sleep(0.1)

    async with served(receive) as url:
        send = forward.to_http(url, stall_timeout=0.5)
        with pytest.raises(Down, match="no answer"):
            await send(fake.study)
        await send.http.close()


async def test_orthanc_is_not_the_receiver(fake: FakeOrthanc) -> None:
    """While a file is read, the receiver waits without counting as stalled."""

    async def slowly(_name: str) -> None:
        await asyncio.sleep(0.4)

    fake.before_file = slowly

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(url, form="zip", stall_timeout=0.3)
        await send(fake.study)
        await send.http.close()


async def test_nobody_there(fake: FakeOrthanc) -> None:
    """No server and no such host are tried again, and the error says which."""
    url = f"http://127.0.0.1:{free_port()}"
    send = forward.to_http(url)
    with pytest.raises(Down, match=f"{url}.*Cannot connect to host"):
        await send(fake.study)
    await send.http.close()
    send = forward.to_http("http://no-such-host.invalid")
    with pytest.raises(Down, match=r"the host name 'no-such-host\.invalid' cannot be found"):
        await send(fake.study)
    await send.http.close()


async def test_certificates(fake: FakeOrthanc, tmp_path: Path) -> None:
    """An unknown certificate is named with what helps; with its CA, and ours shown, it works."""
    authority, clients = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours = clients.issue_cert("orthanc.example")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "ours.pem")

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async with served(receive, tls=context) as url:
        send = forward.to_http(url)
        with pytest.raises(Down, match=r"not accepted.*forward\.TLS\(ca="):
            await send(fake.study)
        await send.http.close()
        send = forward.to_http(url, tls=forward.TLS(ca=tmp_path / "ca.pem"))
        with pytest.raises(Down):
            await send(fake.study)
        await send.http.close()
        tls = forward.TLS(ca=tmp_path / "ca.pem", certificate=tmp_path / "ours.pem")
        send = forward.to_http(url, tls=tls)
        await send(fake.study)
        await send.http.close()
    send = forward.to_http(url, tls=forward.TLS(ca=tmp_path / "none.pem"))
    with pytest.raises(forward.RetryLater, match=r"none\.pem"):
        await send(fake.study)


async def test_gone_in_the_middle(fake: FakeOrthanc) -> None:
    """An instance that was deleted meanwhile raises Orthanc's own error, not one of HTTP."""
    del fake.files["instance-3"]

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async with served(receive) as url:
        for form in ("files", "zip"):
            send = forward.to_http(url, form=form)
            with pytest.raises(type(gone(""))):
                await send(fake.study)
            await send.http.close()


async def test_zip(fake: FakeOrthanc) -> None:
    """A ZIP is streamed, holds each file unchanged, and each header has the entry's size."""
    bodies: list[bytes] = []
    paths: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        paths.append(request.path)
        bodies.append(await request.read())
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(
            url, form="zip", path="/{study}.zip", names="{series}/{SOPInstanceUID}.dcm"
        )
        await send(fake.study)
        await send.http.close()
    assert paths == ["/11111111-study.zip"]
    with zipfile.ZipFile(io.BytesIO(bodies[0])) as archive:
        assert archive.testzip() is None
        found = {info.filename: archive.read(info) for info in archive.infolist()}
        assert not any(info.flag_bits & 0x08 for info in archive.infolist())
    assert found == {
        f"{listed['ParentSeries']}/1.2.{name[-1]}.dcm": fake.files[name]
        for name, listed in fake.listed.items()
    }


async def test_transform_changes_and_leaves_out(fake: FakeOrthanc) -> None:
    """What a transform returns is sent; what it leaves out counts as done."""
    got: dict[str, bytes] = {}

    async def receive(request: web.Request) -> web.Response:
        got[request.path] = await request.read()
        return web.Response()

    def change(file: bytes, instance: Any) -> bytes | None:
        return None if instance.id == "instance-2" else file[:10]

    async with served(receive) as url:
        send = forward.to_http(url, path="/same", transform=change, at_once=1)
        attempts = Attempts()
        await attempts.run(lambda: send(fake.study))
        await send.http.close()
    assert got == {"/same": bytes([3]) * 10}
    assert attempts.progress.done == 4
    assert attempts.progress.bytes == 30


async def test_bearer_is_renewed(fake: FakeOrthanc) -> None:
    """A token is got once for many requests, ahead of its end, and after a 401 once."""
    tokens: list[str] = []
    valid: set[str] = set()
    ended = False

    async def token() -> tuple[str, float]:
        tokens.append(f"token-{len(tokens)}")
        valid.clear()
        valid.add(tokens[-1])
        await asyncio.sleep(0)
        return tokens[-1], 0.0 if ended else 1000.0

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        accepted = request.headers["Authorization"].removeprefix("Bearer ") in valid
        return web.Response(status=200 if accepted else 401)

    async with served(receive) as url:
        send = forward.to_http(url, auth=forward.Bearer(token), at_once=1)
        await send(fake.study)
        assert tokens == ["token-0"]
        valid.clear()  # the server has forgotten it
        await send(fake.study)
        assert tokens == ["token-0", "token-1"]
        ended = True
        valid.clear()
        await send(fake.study)
        await send(fake.study)
        assert len(tokens) == 2 + 4 + 4  # one for each request: none is valid for any time
        await send.http.close()


async def test_a_401_is_not_asked_for_ever(fake: FakeOrthanc) -> None:
    """A second 401 with a new token ends the delivery; a plain token is not tried twice."""
    asked = 0

    async def receive(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await request.read()
        return web.Response(status=401)

    fake.listed = dict(list(fake.listed.items())[:1])
    async with served(receive) as url:
        for auth, expected in (
            (forward.Bearer(lambda: "abcdef"), 2),
            (forward.Bearer("abcdef"), 1),
            (forward.Basic("me", "secret"), 1),
        ):
            asked = 0
            send = forward.to_http(url, auth=auth)
            with pytest.raises(forward.GiveUp, match="answers 401"):
                await send(fake.study)
            await send.http.close()
            assert asked == expected


async def test_oauth2(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Client credentials get a token, with the secret from the environment."""
    monkeypatch.setenv("FORWARD_TEST_SECRET", "top secret")
    forms: list[Any] = []

    async def receive(request: web.Request) -> web.Response:
        if request.path == "/token":
            credentials = request.headers["Authorization"].removeprefix("Basic ")
            forms.append((base64.b64decode(credentials), dict(await request.post())))
            return web.json_response({"access_token": "granted", "expires_in": 3600})
        await request.read()
        accepted = request.headers["Authorization"] == "Bearer granted"
        return web.Response(status=200 if accepted else 403)

    async with served(receive) as url:
        auth = forward.OAuth2ClientCredentials(
            f"{url}/token", "me", forward.secret_from_env("FORWARD_TEST_SECRET"), "dicom"
        )
        send = forward.to_http(url, auth=auth)
        await send(fake.study)
        await send.http.close()
    assert forms == [(b"me:top+secret", {"grant_type": "client_credentials", "scope": "dicom"})]
    assert "secret" not in repr(auth)


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


async def test_only_decides(fake: FakeOrthanc) -> None:
    """A destination gets what its filter lets through, and is not asked for nothing."""
    got: list[str] = []
    fake.series["series-b-0123456789"]["Modality"] = "SR"

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        got.append(request.path.rpartition("/")[2])
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(url, only=forward.modality("CT"))
        await send(fake.study)
        assert sorted(got) == ["instance-1", "instance-2"]
        for none in (
            forward.to_http(url, only=forward.modality("MG")),
            forward.to_http(url, form="zip", only=forward.modality("MG")),
            forward.to_webhook(url, only=forward.modality("MG")),
        ):
            await none(fake.study)
            await none.http.close()
        await send.http.close()
    assert len(got) == 2


async def test_the_breaker_hears_of_it(fake: FakeOrthanc) -> None:
    """Failures that say that it is down open the breaker; a refusal does not."""
    status = 503

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=status)

    async with served(receive) as url:
        breaker = forward.Breaker(2)
        send = forward.to_http(url, breaker=breaker)
        for _ in range(2):
            with pytest.raises(forward.RetryLater):
                await send(fake.study)
        assert breaker.state == "open"
        status = 400
        with pytest.raises(forward.GiveUp):
            await send(fake.study)
        assert breaker.state == "closed"
        await send.http.close()


async def test_a_handler_that_keeps_something_else(fake: FakeOrthanc) -> None:
    """What a handler keeps beside a destination stays; what is no dictionary is refused."""

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(url)
        attempts = Attempts()
        attempts.resume = {"mine": 1}
        await attempts.run(lambda: send(fake.study))
        assert attempts.resume["mine"] == 1
        attempts.resume = [1]
        with pytest.raises(TypeError, match="must keep a dict"):
            await attempts.run(lambda: send(fake.study))
        await send.http.close()


async def test_an_answer_before_the_end_of_the_body(fake: FakeOrthanc) -> None:
    """A receiver that refuses without reading on is heard, not waited for."""
    fake.files["instance-1"] *= 100

    heard, closed = asyncio.Event(), asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 9\r\n\r\ntoo large")
        await writer.drain()
        await heard.wait()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        send = forward.to_http(url, at_once=1)
        with pytest.raises(forward.GiveUp, match="answers 413: too large"):
            await send(fake.study)
        await send.http.close()
        heard.set()
        await closed.wait()
