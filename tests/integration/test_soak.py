"""Many requests and events leave the memory as it was.

The load comes from eight threads, each with a connection that it keeps. A bare Orthanc gets as
many requests or metadata changes; what it grows is subtracted.
"""

from __future__ import annotations

import http.client
import threading
from typing import TYPE_CHECKING

import pytest
from integration.test_reset import MEGABYTE, counts, resident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import asyncio
    import orthanc
    from orthanc_async import on_change, rest

    seen = {"async": 0, "plain": 0, "decorated": 0}

    @rest.get("/decorated/{name}")
    async def decorated(request):
        await asyncio.sleep(0)
        return {"name": request.path["name"], "query": request.query["a"]}

    async def raw(output, uri, **request):
        output.AnswerBuffer("answer " * 100, "text/plain")

    async def sdk(output, uri, **request):
        output.AnswerBuffer(await orthanc.rest_api_get("/system"), "application/json")

    def plain(output, uri, **request):
        output.AnswerBuffer(orthanc.RestApiGet("/system"), "application/json")

    async def failing(output, uri, **request):
        output.SendHttpStatus(404, "not here")

    @rest.post("/body")
    async def body(request):
        return [len(request.body)]

    for path, handler in (("/raw", raw), ("/sdk", sdk), ("/plain", plain), ("/failing", failing)):
        orthanc.RegisterRestCallback(path, handler)

    def plain_change(kind, level, resource):
        seen["plain"] += 1

    async def async_change(kind, level, resource):
        seen["async"] += 1
        await asyncio.sleep(0)

    @on_change
    async def decorated_change(change):
        seen["decorated"] += 1

    orthanc.RegisterOnChangeCallback(plain_change)
    orthanc.RegisterOnChangeCallback(async_change)

    @rest.get("/seen")
    async def get_seen(request):
        return seen
"""

PATHS = ("/raw", "/decorated/one?a=1&b=2", "/sdk", "/plain", "/failing", "/body")


def side_by_side(
    server: Orthanc, requests: int, send: Callable[[http.client.HTTPConnection, int], None]
) -> None:
    """Send requests over eight connections that are kept.

    Args:
        server: to which.
        requests: how many.
        send: sends the request with this number; called in the threads.
    """
    failed: list[Exception] = []

    def work(numbers: Iterable[int]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        try:
            for number in numbers:
                send(connection, number)
                answer = connection.getresponse()
                answer.read()
                assert answer.status in (200, 404), answer.status
        except Exception as error:  # noqa: BLE001 - raised below, in the test's own thread
            failed.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=work, args=(range(start, requests, 8),)) for start in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]


def load(server: Orthanc, requests: int, path: Callable[[int], str]) -> None:
    """Send requests of all kinds."""

    def send(connection: http.client.HTTPConnection, number: int) -> None:
        name = path(number)
        if name == "/body":
            connection.request("POST", name, body=b"x" * 1000)
        else:
            connection.request("GET", name)

    side_by_side(server, requests, send)


def grown(server: Orthanc, burden: Callable[[float], None]) -> tuple[int, int]:
    """Put the load on; return the memory after its first tenth and at the end."""
    burden(0.1)
    early = resident(server)
    burden(0.9)
    return early, resident(server)


def check_flat(name: str, mine: tuple[int, int], bare: tuple[int, int]) -> None:
    """Compare what our server has grown with what the same load does to a bare one."""
    growth = mine[1] - mine[0] - max(0, bare[1] - bare[0])
    print(f"{name}: {mine[0]} -> {mine[1]}, bare {bare[0]} -> {bare[1]}")
    assert growth <= min(0.05 * mine[0], 5 * MEGABYTE), name


@pytest.mark.timeout(1200)
def test_requests(orthanc_server: OrthancFactory, *, long_form: bool) -> None:
    """The memory after many requests of all kinds is that after their first tenth."""
    requests = 200_000 if long_form else 20_000
    bare = orthanc_server(plugins=[])
    at_bare = grown(bare, lambda part: load(bare, int(part * requests), lambda _: "/system"))
    assert bare.stop() == 0
    server = orthanc_server(SCRIPT)
    at_mine = grown(
        server, lambda part: load(server, int(part * requests), lambda n: PATHS[n % len(PATHS)])
    )
    before = counts(server)
    load(server, 1000, lambda n: PATHS[n % len(PATHS)])
    assert counts(server)[1] <= before[1] + 8
    check_flat(f"{requests} requests", at_mine, at_bare)


@pytest.mark.timeout(1200)
def test_changes(orthanc_server: OrthancFactory, dicom_file: Path, *, long_form: bool) -> None:
    """The memory after many change events is that after their first tenth."""
    events = 20_000 if long_form else 2_000
    found: dict[str, tuple[int, int]] = {}
    for name in ("bare", "mine"):
        server = orthanc_server(SCRIPT, plugins=[] if name == "bare" else None)
        instance = server.upload(dicom_file)["ID"]
        number = 0

        def burden(
            part: float, server: Orthanc = server, instance: str = instance, name: str = name
        ) -> None:
            nonlocal number
            for _ in range(int(part * events)):
                # One event each: UPDATED_METADATA of the instance.
                number += 1
                answer = server.http.put(
                    f"/instances/{instance}/metadata/1024",
                    str(number),
                    headers={"Connection": "keep-alive"},
                )
                assert answer.status == 200, answer.text
            if name == "mine":
                server.wait_json("/seen", lambda seen: min(seen.values()) >= number, timeout=60)

        found[name] = grown(server, burden)
        assert server.stop() == 0
    check_flat(f"{events} changes", found["mine"], found["bare"])
