"""Ten thousand deliveries, and as many that wait: memory stays flat, page and REST answer."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import postgresql
import pytest
from integration.forward_receiver import Receiver
from integration.test_reset import MEGABYTE, resident
from integration.test_soak import side_by_side
from orthanc_async._server_net import free_port

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import os
    import orthanc
    from orthanc_async import forward, on_change

    on_change(orthanc.ChangeType.UPDATED_METADATA, durable="many")(
        forward.to_http(
            os.environ["RECEIVER"], path="/{instance}", concurrency=8,
            retry=forward.Retry(10**6, forward.Backoff(0.2, 0.5)),
            breaker=forward.Breaker(3, first=0.2, longest=0.5),
        )
    )
"""
# Fewer threads than there would be: each that works for the first time has memory of its own,
# which would be counted as growth.
CONFIG = {"StableAge": 9999, "HttpThreadsCount": 10}
MANY = 10_000
FIRST = 1_000
LONGEST = "/async/entries?limit=1000&state=done"
ASKED = (
    "/async",
    "/async/queues",
    "/async/queues/many",
    "/async/entries?limit=50",
    "/async/entries?limit=50&queue=many&state=waiting,running",
    LONGEST,
    "/async/entries?limit=50&state=dead",
    "/async/entries?limit=50&before=2000",
    "/async/app/index.html",
    "/async/app/app.js",
    "/tools/metrics-prometheus",
)


def change(server: Orthanc, instances: list[str], first: int, count: int) -> None:
    """Cause so many UPDATED_METADATA, of each instance in turn."""

    def send(connection: http.client.HTTPConnection, number: int) -> None:
        instance = instances[number % len(instances)]
        connection.request("PUT", f"/instances/{instance}/metadata/1024", body=str(first + number))

    side_by_side(server, count, send)


def queue(server: Orthanc, instances: list[str], first: int, count: int) -> None:
    """Have so many deliveries queued.

    A thousand at a time, as the first ones: what has come and is not in the store yet takes
    memory, which is not what is measured here.
    """
    for start in range(first, first + count, FIRST):
        change(server, instances, start, FIRST)

        def there(seen: dict[str, Any], count: int = start + FIRST) -> bool:
            states: dict[str, int] = seen["States"]
            return sum(states.values()) == count

        server.wait_json("/async", there, timeout=400)


@contextmanager
def asked(server: Orthanc) -> Iterator[dict[str, list[float]]]:
    """Ask all the time for what people see; give the seconds that the answers took.

    Every answer must be 200.
    """
    took: dict[str, list[float]] = {path: [] for path in ASKED}
    failed: list[Exception] = []
    end = threading.Event()

    def ask() -> None:
        try:
            for path in itertools.cycle(ASKED):
                if end.wait(0.05):
                    return
                begin = time.monotonic()
                answer = server.http.get(path)
                took[path].append(time.monotonic() - begin)
                assert answer.status == 200, f"{path}: {answer.text}"
        except Exception as error:  # noqa: BLE001 - raised below, in the test's own thread
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        end.set()
        thread.join()
    assert not failed, failed[0]


def wait_states(server: Orthanc, *, done: int, unfinished: int = 0) -> None:
    """Wait until so many entries are done, and so many others wait or run."""

    def reached(seen: dict[str, Any]) -> bool:
        states = seen["States"]
        left = states["waiting"] + states["running"]
        return (states["done"], left) == (done, unfinished)

    server.wait_json("/async", reached, timeout=400)


def listed(server: Orthanc) -> dict[str, str]:
    """Return the state of each entry, by its key, read page by page."""
    states: dict[str, str] = {}
    before: int | None = 2**62
    while before is not None:
        page = server.http.get(f"/async/entries?limit=1000&before={before}").json()
        states |= {f"{one['Queue']}/{one['Key']}": one["State"] for one in page["Entries"]}
        before = page["Next"]
    return states


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Give the settings of the store."""
    if request.param == "sqlite":
        yield {}
    else:
        with postgresql.postgresql() as folder:
            yield {"Store": postgresql.url(folder)}


def grown_bare(orthanc_server: OrthancFactory, dicom_files: list[Path]) -> int:
    """Return the bytes that a bare Orthanc grows by the same changes."""
    server = orthanc_server(plugins=[], config=CONFIG)
    instances = [server.upload(file)["ID"] for file in dicom_files]
    change(server, instances, 0, FIRST)
    early = resident(server)
    change(server, instances, FIRST, 2 * MANY - FIRST)
    late = resident(server)
    assert server.stop() == 0
    return max(0, late - early)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_thousand(
    store: dict[str, str], orthanc_server: OrthancFactory, dicom_files: list[Path]
) -> None:
    """10 000 deliveries, then 10 000 that wait until their receiver comes back, are all done."""
    bare = grown_bare(orthanc_server, dicom_files)
    port = free_port()
    server = orthanc_server(
        SCRIPT,
        environment={"RECEIVER": f"http://127.0.0.1:{port}"},
        config={**CONFIG, "Python": {"SdkThreads": 2, **store}},
    )
    server.wait_json("/async", lambda seen: seen["Problem"] is None)
    instances = [server.upload(file)["ID"] for file in dicom_files]
    memory: dict[str, int] = {}
    arrived: set[str] = set()
    began = time.monotonic()

    def note(when: str) -> None:
        memory[when] = resident(server)
        print(f"{when}: {memory[when] / MEGABYTE:.1f} MB, {time.monotonic() - began:.0f} s")

    @contextmanager
    def received() -> Iterator[None]:
        with Receiver(port) as receiver:
            receiver.keep = False
            yield
            # The receiver's key has the instance at its end: the key of the delivery is before it.
            keys = [headers["Idempotency-Key"] for headers in receiver.headers]
            arrived.update(key.rpartition("/")[0] for key in keys)

    with asked(server) as took:
        with received():
            queue(server, instances, 0, FIRST)
            wait_states(server, done=FIRST)
            # From here on no answer is longer than one that these threads have given already.
            side_by_side(server, 100, lambda one, _: one.request("GET", LONGEST))
            note("1 000 delivered")
            queue(server, instances, FIRST, MANY - FIRST)
            wait_states(server, done=MANY)
            note("10 000 delivered")
        queue(server, instances, MANY, MANY)
        wait_states(server, done=MANY, unfinished=MANY)
        note("10 000 more queued")
        with received():
            wait_states(server, done=2 * MANY)
            note("these delivered too")
    states = listed(server)
    assert len(states) == 2 * MANY
    assert set(states.values()) == {"done"}
    assert arrived == set(states)
    for path, seconds in took.items():
        middle, longest = 1000 * statistics.median(seconds), 1000 * max(seconds)
        print(f"{path}: median {middle:.0f} ms, at most {longest:.0f} ms, {len(seconds)} times")
    early, *later = memory.values()
    print(f"a bare Orthanc: {bare / MEGABYTE:.1f} MB more")
    assert max(later) - early - bare < max(5 * MEGABYTE, 0.05 * early)
