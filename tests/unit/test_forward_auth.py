"""Who sends: tokens, passwords and certificates."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from aiohttp import web
from orthanc_async import forward
from orthanc_async.forward._errors import Down
from orthanc_async.forward._secrets import Secrets
from unit.forward_fakes import FakeOrthanc, served, study_of_four

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of four instances in two series."""
    return study_of_four(monkeypatch)


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


async def test_basic_in_its_own_words(fake: FakeOrthanc) -> None:
    """User and password go with each request; a server that repeats the header shows neither."""
    got: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        got.append(request.headers["Authorization"])
        return web.Response(status=400, text=f"what is {got[-1]}?")

    async with served(receive) as url:
        send = forward.to_webhook(url, auth=forward.Basic("me", "hidden:word"))
        with pytest.raises(forward.GiveUp, match="what is Basic …") as caught:
            await send(fake.study)
        await send.http.close()
    assert base64.b64decode(got[0].removeprefix("Basic ")) == b"me:hidden:word"
    assert got[0].removeprefix("Basic ") not in str(caught.value)


async def test_a_token_is_renewed_ahead_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is used until shortly before its end, also one that is valid for a short time."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    seconds = 0.0
    given = 0

    def token() -> tuple[str, float]:
        nonlocal given
        given += 1
        return f"token-{given}", seconds

    for seconds, ahead in ((3600.0, 30.0), (50.0, 10.0)):
        bearer = forward.Bearer(token)
        first = await bearer.header(Secrets())
        now += seconds - ahead - 1
        assert await bearer.header(Secrets()) == first
        now += 2
        assert await bearer.header(Secrets()) != first


async def test_a_token_that_another_request_has_renewed() -> None:
    """A late 401 for the old token does not throw away the new one."""
    given = 0

    async def token() -> str:
        nonlocal given
        given += 1
        return f"token-{given}"

    bearer = forward.Bearer(token)
    old = await bearer.header(Secrets())
    assert bearer.renew(old)
    new = await bearer.header(Secrets())
    assert bearer.renew(old)
    assert await bearer.header(Secrets()) == new == "Bearer token-2"


async def test_a_token_is_shown_nowhere(fake: FakeOrthanc) -> None:
    """A server that repeats the token of a function in its answer does not bring it into a log."""

    async def receive(request: web.Request) -> web.Response:
        return web.Response(status=400, text=request.headers["Authorization"])

    async with served(receive) as url:
        send = forward.to_webhook(url, auth=forward.Bearer(lambda: "hidden-token"))
        with pytest.raises(forward.GiveUp, match="Bearer …"):
            await send(fake.study)
        await send.http.close()


async def test_a_token_in_a_file_is_read_again(fake: FakeOrthanc, tmp_path: Path) -> None:
    """After a 401 a file is read once more: who renews it may just have done so."""
    file = tmp_path / "token"
    file.write_text("the-old-one")

    async def receive(request: web.Request) -> web.Response:
        right = request.headers["Authorization"] == "Bearer the-new-one"
        file.write_text("the-new-one")
        return web.Response(status=200 if right else 401)

    async with served(receive) as url:
        send = forward.to_webhook(url, auth=forward.Bearer(forward.secret_from_file(file)))
        await send(fake.study)
        await send.http.close()


async def test_what_is_no_token() -> None:
    """A function that gives something else is named."""

    def nothing() -> Any:
        return None

    with pytest.raises(TypeError, match=r"nothing, given to Bearer, must return a token or"):
        await forward.Bearer(nothing).header(Secrets())


async def test_oauth2_in_the_body(fake: FakeOrthanc) -> None:
    """Name and secret go into the form where the server wants them there."""
    forms: list[Any] = []

    async def receive(request: web.Request) -> web.Response:
        if request.path == "/token":
            forms.append((request.headers.get("Authorization"), dict(await request.post())))
            return web.json_response({"access_token": "granted"})
        return web.Response()

    async with served(receive) as url:
        auth = forward.OAuth2ClientCredentials(f"{url}/token", "me", "a secret", in_body=True)
        send = forward.to_webhook(url, auth=auth)
        await send(fake.study)
        await send.http.close()
    form = {"grant_type": "client_credentials", "client_id": "me", "client_secret": "a secret"}
    assert forms == [(None, form)]


@pytest.mark.parametrize(
    ("status", "text", "error", "words"),
    [
        (400, "unknown client a+secret", forward.GiveUp, "/token answers 400: unknown client …"),
        (503, "", Down, "/token answers 503"),
        (200, "<html>", forward.RetryLater, "/token gives no token that can be read"),
        (200, '{"token": 1}', forward.RetryLater, "/token gives no token that can be read"),
    ],
)
async def test_oauth2_that_gives_no_token(
    fake: FakeOrthanc, status: int, text: str, error: type[Exception], words: str
) -> None:
    """What the token's server answers ends the attempt as an answer of the destination would."""

    async def receive(request: web.Request) -> web.Response:
        assert request.path == "/token", "nothing is sent without a token"
        return web.Response(status=status, text=text)

    async with served(receive) as url:
        auth = forward.OAuth2ClientCredentials(f"{url}/token", "me", "a secret")
        send = forward.to_webhook(url, auth=auth)
        with pytest.raises(error, match=words) as caught:
            await send(fake.study)
        await send.http.close()
    assert "secret" not in str(caught.value)


@contextlib.asynccontextmanager
async def served_by(authority: trustme.CA, name: str) -> AsyncIterator[str]:
    """Serve what answers 200 to everything, with a certificate for a name."""

    async def receive(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": "granted"})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    async with served(receive, tls=context) as url:
        yield url


async def test_what_is_verified(fake: FakeOrthanc, tmp_path: Path) -> None:
    """The name counts, and only the CA that is given; without verifying anything goes."""
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")

    async def ask(url: str, tls: forward.TLS | None) -> None:
        send = forward.to_webhook(url, tls=tls)
        try:
            await send(fake.study)
        finally:
            await send.http.close()

    async with served_by(authority, "somebody.example") as url:
        with pytest.raises(Down, match=r"not accepted.*match"):
            await ask(url, forward.TLS(ca=tmp_path / "ca.pem"))
        await ask(url, forward.TLS(verify=False))
    async with served_by(authority, "127.0.0.1") as url:
        with pytest.raises(Down, match="not accepted"):
            await ask(url, forward.TLS(ca=tmp_path / "other.pem"))
        with pytest.raises(Down, match="not accepted"):
            await ask(url, forward.TLS())
        await ask(url, forward.TLS(ca=tmp_path / "ca.pem"))
        # The token's server has a certificate of its own to look at.
        tls = forward.TLS(ca=tmp_path / "ca.pem")
        for given, accepted in ((tls, True), (None, False)):
            auth = forward.OAuth2ClientCredentials(url, "me", "a secret", tls=given)
            send = forward.to_webhook(url, tls=tls, auth=auth)
            with contextlib.nullcontext() if accepted else pytest.raises(Down):
                await send(fake.study)
            await send.http.close()
    context = await forward.TLS(ca=tmp_path / "ca.pem").context(Secrets())
    assert len(context.get_ca_certs()) == 1, "those that the system trusts count no more"
    with pytest.raises(ValueError, match="verify=False does without"):
        forward.TLS(ca="ca.pem", verify=False)


async def test_an_encrypted_key(tmp_path: Path) -> None:
    """A key is read with its password, and an error names the file and not the password."""
    from cryptography.hazmat.primitives import serialization

    ours = trustme.CA().issue_cert("orthanc.example")
    key = serialization.load_pem_private_key(ours.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hidden word"),
    )
    (tmp_path / "us.key").write_bytes(encrypted)
    ours.cert_chain_pems[0].write_to_path(tmp_path / "us.pem")
    files: dict[str, Any] = {"certificate": tmp_path / "us.pem", "key": tmp_path / "us.key"}
    await forward.TLS(**files, password="hidden word").context(Secrets())
    with pytest.raises(OSError, match=r"us\.pem', or its key") as caught:
        await forward.TLS(**files, password="hidden wrong").context(Secrets())
    assert "hidden" not in str(caught.value)
