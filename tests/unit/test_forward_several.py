"""Handlers that call several destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from orthanc_async import Series, forward
from unit.forward_fakes import Attempts, FakeOrthanc, served

if TYPE_CHECKING:
    import pytest


async def test_several_destinations_in_one_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one has sent, the others have not; nothing is sent twice; each resource has its key."""
    fake = FakeOrthanc(monkeypatch)
    for number in range(3):
        fake.add(str(number), b"x", number=number)
    got: list[tuple[str, str]] = []

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        got.append((request.path, request.headers["Idempotency-Key"]))
        return web.Response()

    async with served(receive) as url:
        one, other = (forward.to_http(url, path=f"/{name}/{{instance}}") for name in "ab")
        archive = forward.to_http(url, form="zip", path="/zip")
        hook = forward.to_webhook(url)
        attempts = Attempts(payload={"id": fake.study.id})

        async def handler() -> None:
            await one(fake.study)
            await other(fake.study)
            await archive(fake.study)
            await hook(fake.study)
            await hook(Series("series-a-0123456789"))

        await attempts.run(handler)
        await attempts.run(handler)
        paths = [path for path, _ in got]
        assert sorted(paths) == sorted(
            [f"/{folder}/{name}" for folder in "ab" for name in fake.files] + ["/"] * 2 + ["/zip"]
        )
        keys = [key for path, key in got if path == "/"]
        assert keys == ["archive/Study/1/2026", "archive/Study/1/2026/series-a-0123456789"]
        # A ZIP is whole or nothing.
        got.clear()
        fake.add("late", b"late", number=9)
        await attempts.run(lambda: archive(fake.study))
        assert [path for path, _ in got] == ["/zip"]
        for send in (one, other, archive, hook):
            await send.http.close()
