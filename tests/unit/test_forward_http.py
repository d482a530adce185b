"""Destinations over HTTP against receivers that behave badly."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web
from orthanc_async import forward
from orthanc_async._server_net import free_port
from orthanc_async.forward._errors import Down
from unit.forward_fakes import FakeOrthanc, served, study_of_four


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of four instances in two series."""
    return study_of_four(monkeypatch)


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
        with pytest.raises(Down, match="was closed by the receiver"):
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
        send = forward.to_http(url, connect_timeout=300, stall_timeout=0.3, at_once=1)
        async with asyncio.timeout(60):
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

    async def slowly(name: str) -> None:
        await asyncio.sleep(1.2 if name in {"instance-1", "instance-4"} else 0)

    fake.before_file = slowly

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async with served(receive) as url:
        send = forward.to_http(url, form="zip", connect_timeout=0.8, stall_timeout=0.8)
        await send(fake.study)
        await send.http.close()


async def test_nobody_there(fake: FakeOrthanc) -> None:
    """No server and no such host are tried again, and the error says which."""
    url = f"http://127.0.0.1:{free_port()}"
    send = forward.to_http(url)
    with pytest.raises(Down, match=f"{url}.*nobody listens there"):
        await send(fake.study)
    await send.http.close()
    send = forward.to_http("http://no-such-host.invalid")
    with pytest.raises(Down, match=r"the host name 'no-such-host\.invalid' cannot be found"):
        await send(fake.study)
    await send.http.close()


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


async def test_a_connection_is_waited_for_a_time_only(fake: FakeOrthanc) -> None:
    """A server that accepts, and then says nothing to TLS, is no connection."""
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        closed.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        send = forward.to_webhook(url, connect_timeout=0.3, stall_timeout=300)
        with pytest.raises(Down, match=r"no connection within 0\.3 s"):
            await send(fake.study)
        await send.http.close()
        await closed.wait()


async def test_headers_of_the_script(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go with each request, read out of the environment; nothing is kept from an answer."""
    monkeypatch.setenv("FORWARD_TEST_KEY", "hidden-word")
    got: list[tuple[str, str | None]] = []

    async def receive(request: web.Request) -> web.Response:
        got.append((request.headers["X-Key"], request.headers.get("Cookie")))
        answer = web.Response()
        answer.set_cookie("session", "1")
        return answer

    async with served(receive) as url:
        headers = {"X-Key": forward.secret_from_env("FORWARD_TEST_KEY")}
        send = forward.to_webhook(url, headers=headers)
        await send(fake.study)
        await send(fake.study)
        await send.http.close()
    assert got == [("hidden-word", None)] * 2


async def test_a_secret_of_the_query(fake: FakeOrthanc) -> None:
    """A server that repeats it, as it stands in the URL or decoded, shows nothing."""

    async def receive(request: web.Request) -> web.Response:
        return web.Response(status=400, text=f"{request.raw_path} {request.query['sas']}")

    async with served(receive) as url:
        send = forward.to_webhook(f"{url}/?sas=hidden%20word")
        with pytest.raises(forward.GiveUp) as caught:
            await send(fake.study)
        text = str(send.http._explained(url, OSError("no way to hidden word"), None))
        await send.http.close()
    assert "hidden" not in str(caught.value) + text


async def test_a_long_answer_is_cut(fake: FakeOrthanc) -> None:
    """No more is read of an answer than is asked for, and it is known to be cut."""

    async def receive(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1_000_000)

    async with served(receive) as url:
        send = forward.to_webhook(url)
        answers = [
            await send.http.send("POST", url, headers={}, most=most) for most in (1000, 2_000_000)
        ]
        await send.http.close()
    assert [answer.whole for answer in answers] == [False, True]
    assert len(answers[0].body) < 1_000_000 == len(answers[1].body)
