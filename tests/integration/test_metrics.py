"""Metrics that handlers bring up to date when Orthanc is asked for them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import asyncio
    import orthanc
    from orthanc_async import metrics, rest

    asked = {"async": 0, "plain": 0, "dict": 0, "blocking": 0}
    refused = []
    mode = {}

    async def count():
        asked["async"] += 1
        await orthanc.set_metrics_value("test_async", asked["async"], orthanc.MetricsType.DEFAULT)

    def count_plain():
        asked["plain"] += 1
        orthanc.SetMetricsValue("test_plain", asked["plain"], orthanc.MetricsType.DEFAULT)
        return "ignored"

    orthanc.RegisterRefreshMetricsCallback(count)
    orthanc.RegisterRefreshMetricsCallback(count_plain)

    @metrics.refresh
    async def from_dict():
        await asyncio.sleep(0)
        asked["dict"] += 1
        if mode.get("broken"):
            raise OSError("broken")
        if mode.get("nonsense"):
            return {"test_dict": "many"}
        return {"test_dict": asked["dict"], "test_other": 2.5}

    @metrics.refresh(timeout=1)
    async def slow():
        if mode.get("slow"):
            await asyncio.sleep(3600)

    @metrics.refresh
    def blocking():
        if mode.get("own"):
            try:
                orthanc.RestApiGet("/tools/metrics-prometheus")
            except RuntimeError as error:
                refused.append(str(error))
        return {"test_blocking": 1}

    @metrics.refresh
    async def own():
        if mode.get("own"):
            try:
                await orthanc.rest_api_get("/tools/metrics-prometheus")
            except RuntimeError as error:
                refused.append(str(error))

    @rest.post("/mode/{name}")
    async def set_mode(request):
        mode.clear()
        mode[request.path["name"]] = True

    @rest.get("/refused")
    async def show(_request):
        return refused
"""


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc whose metrics a script refreshes."""
    return shared_orthanc(SCRIPT, errors=["OSError: broken", r"script\.\w+ \(@metrics\.refresh\)"])


def read(server: Orthanc) -> dict[str, float]:
    """Ask Orthanc for its metrics; return the script's."""
    answer = server.http.get("/tools/metrics-prometheus", timeout=20)
    assert answer.status == 200
    return {
        name: float(value)
        for name, value in re.findall(r"^(test_\w+) (\S+)", answer.text, re.MULTILINE)
    }


def set_mode(server: Orthanc, name: str) -> None:
    """Tell the script what to do."""
    assert server.http.post(f"/mode/{name}").status == 204


def test_all_handlers_refresh(server: Orthanc) -> None:
    """Each request for the metrics calls every handler once, before the answer."""
    set_mode(server, "usual")
    first = read(server)
    assert first["test_other"] == 2.5
    assert first["test_blocking"] == 1
    second = read(server)
    for name in ("test_async", "test_plain", "test_dict"):
        assert second[name] == first[name] + 1


@pytest.mark.parametrize(
    ("mode", "logged"),
    [
        ("broken", "OSError: broken"),
        ("nonsense", "a dict of names and numbers"),
        ("slow", "has not answered within 1 s"),
    ],
)
def test_one_that_fails(server: Orthanc, mode: str, logged: str) -> None:
    """A handler that fails is logged; the others have refreshed, and its metrics stay."""
    set_mode(server, "usual")
    before = read(server)
    set_mode(server, mode)
    after = read(server)
    assert after["test_async"] == before["test_async"] + 1
    assert after["test_dict"] == before["test_dict"] + (mode == "slow")
    server.wait_log(logged)


def test_a_request_for_the_metrics_inside(server: Orthanc) -> None:
    """A handler that asks for the metrics gets an error instead of waiting for itself."""
    set_mode(server, "own")
    read(server)
    refused = server.http.get("/refused").json()
    assert len(refused) == 2
    assert all("would wait for ever" in text for text in refused)


def test_wrong_handlers(orthanc_server: OrthancFactory) -> None:
    """A handler that takes arguments is refused when the script is imported."""
    text = """
        from orthanc_async import metrics

        @metrics.refresh
        def takes(something): ...
    """
    assert "is called with no arguments" in orthanc_server.fails(text).log


def test_pending_at_the_stop(orthanc_server: OrthancFactory) -> None:
    """A handler that never ends does not keep Orthanc from stopping."""
    text = """
        import asyncio
        from orthanc_async import metrics, rest

        asked = []

        @metrics.refresh
        async def endless():
            asked.append(1)
            await asyncio.Event().wait()

        @rest.get("/asked")
        async def show(_request):
            return asked
    """
    server = orthanc_server(text, errors=["endless"])
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(server.http.get, "/tools/metrics-prometheus")
        server.wait_json("/asked", bool)
        server.stop()
        assert answer.result(timeout=30).status == 200
