"""Handlers, hooks and tasks written with plain asyncio or with anyio, in every kind of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("anyio_script.py")
LIBRARIES = ("asyncio", "anyio")
ROUTES = [f"/{kind}/with_{library}" for kind in ("sdk", "decorated") for library in LIBRARIES]


def start(factory: OrthancFactory, endless: str = "", **settings: float) -> Orthanc:
    """Start the script; the kinds named in `endless` never end."""
    return factory(SCRIPT, environment={"ENDLESS": endless}, config={"Python": settings})


def wait_logged(server: Orthanc, what: str, *kinds: str) -> None:
    """Wait until each kind has written a word, for both libraries."""
    for kind in kinds:
        for library in LIBRARIES:
            server.wait_log(rf"{what} {kind} {library}$")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_work(orthanc_server: OrthancFactory, dicom_file: Path, loop: str) -> None:
    """Task groups, timeouts, threads and shields of both libraries work in every kind."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    server = orthanc_server(
        SCRIPT, environment={"ENDLESS": ""}, config={"Python": {"EventLoop": loop}}
    )
    for path in ROUTES:
        assert server.http.get(path).status == 200
    server.upload(dicom_file)
    kinds = ("SDK_route", "decorated_route", "change", "stored", "start", "background")
    expected = {
        f"{kind} with_{library}": [True] * 5
        for kind in (*kinds, "interval")
        for library in LIBRARIES
    }
    results = server.wait_json("/results", lambda results: len(results) == len(expected))
    assert results == expected
    server.stop()
    for library in LIBRARIES:
        server.wait_log(f"with_{library} at the stop True 5$")


def test_handler_timeout(orthanc_server: OrthancFactory) -> None:
    """HandlerTimeout cancels both kinds of handler once, and both clean up with awaits."""
    server = start(orthanc_server, "SDK_route decorated_route", HandlerTimeout=0.5)
    for path in ROUTES:
        answer = server.http.get(path)
        assert answer.status == 500
        assert "HandlerTimeout" in answer.json()["Message"]
    wait_logged(server, "closed", "SDK_route", "decorated_route")
    assert "ignores its cancellation" not in server.log_text()


def test_cancelled_at_the_stop(orthanc_server: OrthancFactory, dicom_file: Path) -> None:
    """A stop cancels everything that runs once, and all of it cleans up with awaits."""
    kinds = "SDK_route decorated_route change stored background interval"
    server = start(orthanc_server, kinds, ShutdownTimeout=3)
    requests = [threading.Thread(target=server.http.get, args=(path,)) for path in ROUTES]
    for request in requests:
        request.start()
    server.upload(dicom_file)
    wait_logged(server, "begun", *kinds.split())
    server.stop()
    for request in requests:
        request.join(10)
    wait_logged(server, "closed", *kinds.split())
    for library in LIBRARIES:
        server.wait_log(f"with_{library} at the stop True 5$")
    assert "left behind" not in server.log_text()


def test_hooks_that_never_end(orthanc_server: OrthancFactory) -> None:
    """A hook that is cut short by the stop or by its time cleans up with awaits."""
    server = start(orthanc_server, "start stop", ShutdownTimeout=3)
    server.wait_log("begun start asyncio$")
    server.stop()
    server.wait_log("closed start asyncio$")
    wait_logged(server, "closed", "stop")
    log = server.log_text()
    assert "begun start anyio" not in log
    assert log.count("(@on_shutdown) does not end in time: cancelled") == 2
    assert "left behind" not in log
