"""Files and ZIP archives to a web service: what arrives, and what an attempt goes on with."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from typing import Any

import pytest
from aiohttp import web
from orthanc_async import forward
from orthanc_async.forward import _template
from orthanc_async.forward._errors import Down
from unit.forward_fakes import Attempts, FakeOrthanc, gone, served, study_of_four


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOrthanc:
    """An Orthanc with a study of four instances in two series."""
    return study_of_four(monkeypatch)


async def test_files_arrive_unchanged(fake: FakeOrthanc) -> None:
    """Each file is a request with its own URL and key, and its bytes are those in Orthanc."""
    got: dict[str, tuple[str, bytes]] = {}

    async def receive(request: web.Request) -> web.Response:
        got[request.raw_path] = request.headers["Idempotency-Key"], await request.read()
        assert request.method == "PUT"
        assert request.headers["Content-Length"] == str(len(got[request.raw_path][1]))
        return web.Response(status=201)

    async with served(receive) as url:
        send = forward.to_http(url, path="/{PatientID}/{study}/{instance}", method="PUT")
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


async def test_several_files_at_once(fake: FakeOrthanc) -> None:
    """As many files are under way as `at_once` allows."""
    now = most = 0
    all_there = asyncio.Event()

    async def receive(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 3:
            all_there.set()
        await all_there.wait()
        await request.read()
        now -= 1
        return web.Response()

    async with served(receive) as url, asyncio.timeout(60):
        send = forward.to_http(url, at_once=3)
        await send(fake.study)
        await send.http.close()
    assert most == 3


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


async def test_zip_of_a_transform(fake: FakeOrthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ZIP has what the transform gives, under one key and with the same bytes each time."""
    got: list[tuple[str, str, bytes]] = []

    async def receive(request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        got.append((request.method, key, await request.read()))
        return web.Response(status=500 if len(got) == 1 else 200)

    def change(file: bytes, instance: Any) -> bytes | None:
        return None if instance.id == "instance-2" else file[:1]

    monkeypatch.setattr(_template, "_parse", lambda data: {"SOPInstanceUID": str(data[0])})
    async with served(receive) as url:
        send = forward.to_http(
            url, form="zip", method="PUT", names="{SOPInstanceUID}.dcm", transform=change
        )
        attempts = Attempts(payload={"id": fake.study.id})
        with pytest.raises(Down):
            await attempts.run(lambda: send(fake.study))
        await attempts.run(lambda: send(fake.study))
        await send.http.close()
    assert got[0] == got[1]
    assert got[0][:2] == ("PUT", "archive/Study/1/2026")
    with zipfile.ZipFile(io.BytesIO(got[0][2])) as archive:
        found = {info.filename: archive.read(info) for info in archive.infolist()}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert found == {"0.dcm": b"\0", "2.dcm": b"\2", "3.dcm": b"\3"}


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
