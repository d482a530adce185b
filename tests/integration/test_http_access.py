"""HTTP filters and HTTP authentication, as clients see them."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("http_access_script.py")
FILTERS = ["filter_def", "filter_async", "filter_decorated_def", "filter_decorated_async"]


@pytest.fixture(scope="module")
def shared(shared_orthanc: OrthancFactory) -> Orthanc:
    """One Orthanc for all tests, whose errors are provoked."""
    return shared_orthanc(SCRIPT, errors=["."])


@pytest.fixture
def server(shared: Orthanc) -> Iterator[Orthanc]:
    """The same where every filter allows."""
    tell(shared)
    yield shared
    tell(shared)


def tell(server: Orthanc, **mode: str) -> None:
    """Set what filters do with /changes."""
    assert server.http.post("/mode", json.dumps(mode)).status == 200


def notes(server: Orthanc) -> Any:
    """Return what filters have noted."""
    return server.http.get("/notes").json()


def test_allowed(server: Orthanc) -> None:
    """A request that all filters allow is served, and they have seen it whole."""
    answer = server.http.get("/changes?limit=1&since=0", headers={"X-Mine": "secret"})
    assert answer.status == 200
    found = notes(server)
    assert found["seen"] == FILTERS
    query = {"limit": "1", "since": "0"}
    names = ["get", "headers", "ip", "method"]
    assert found["fields"] == [
        *("/changes", "<HttpMethod.GET: 1>", "127.0.0.1", "secret", query),
        names,
    ]
    assert found["request"] == ["/changes", "GET", "127.0.0.1", "secret", query, False]


@pytest.mark.parametrize("name", FILTERS)
def test_refused(server: Orthanc, name: str) -> None:
    """False is HTTP status 403, and later filters are not asked."""
    tell(server, **{name: "False"})
    assert server.http.delete("/changes").status == 403
    found = notes(server)
    assert found["seen"][-1] == name
    assert found["fields"][1] == "<HttpMethod.DELETE: 4>"
    assert found["fields"][4:] == [None, ["headers", "ip", "method"]]
    if name == FILTERS[-1]:
        assert found["request"][4] == {}


@pytest.mark.parametrize(
    ("name", "does"),
    [
        *[(name, "1/0") for name in FILTERS],
        *[(name, "1") for name in FILTERS],
        ("filter_def", "None"),
        ("filter_def", "slow()"),
        ("filter_decorated_async", "slow()"),
    ],
)
def test_failed(server: Orthanc, name: str, does: str) -> None:
    """A filter that raises, takes too long or returns no bool is HTTP status 500."""
    tell(server, **{name: does})
    assert server.http.get("/changes").status == 500
    server.wait_log(rf"\b{name} .*: refused$")


def test_reads(server: Orthanc) -> None:
    """A filter may read from Orthanc."""
    tell(server, filter_async="tries()")
    assert server.http.get("/changes").status == 200


def test_stop_while_one_is_pending(orthanc_server: OrthancFactory) -> None:
    """Orthanc stops although a filter waits, and the client sees a failure."""
    server = orthanc_server(SCRIPT, errors=["."])
    tell(server, filter_async="held()")
    answers: list[int | None] = []

    def ask() -> None:
        try:
            answers.append(server.http.get("/changes").status)
        except http.client.RemoteDisconnected:
            answers.append(None)  # Orthanc's HTTP server drops answers once it is stopping

    client = threading.Thread(target=ask)
    client.start()
    server.wait_json("/notes", lambda found: "filter_async" in found["seen"])
    server.stop()
    client.join(30)
    assert answers in ([500], [None])
    assert server.exit_code == 0


def test_accept(orthanc_server: OrthancFactory) -> None:
    """With OnFilterError "accept" the other filters decide, which the log says."""
    server = orthanc_server(SCRIPT, errors=["."], config={"Python": {"OnFilterError": "accept"}})
    assert 'OnFilterError is "accept"' in server.log_text()
    tell(server, filter_def="1/0", filter_decorated_async="slow()")
    assert server.http.get("/changes").status == 200
    server.wait_log(r"\bfilter_def .*let through without it")
    server.wait_log(r"\bfilter_decorated_async .*let through without it")
    tell(server, filter_def="1/0", filter_async="False")
    assert server.http.get("/changes").status == 403


def test_requests_wait_for_the_start(orthanc_server: OrthancFactory) -> None:
    """What comes before on_startup has ended is judged after it."""
    server = orthanc_server(
        """
        import asyncio
        import orthanc
        from orthanc_async import http_filter, on_startup

        ready = []

        @on_startup
        async def start():
            # The server is up by then; the first request comes meanwhile.
            await asyncio.sleep(0.5)
            ready.append(True)

        @http_filter
        async def check(request):
            orthanc.LogWarning(f"asked, ready: {ready}")
            return True
        """
    )
    assert server.http.get("/system").status == 200
    assert set(server.wait_log(r"asked, ready: .*")) == {"asked, ready: [True]"}
