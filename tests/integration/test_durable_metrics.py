"""The durable part in Orthanc's metrics, on a stand-in for engine and store."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async._durable import figures, metrics

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("durable_surface_script.py")


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with the stand-in engine."""
    return shared_orthanc(SCRIPT)


def read(server: Orthanc) -> dict[str, float]:
    """Ask Orthanc for its metrics; return ours without their prefix."""
    text = server.http.get("/tools/metrics-prometheus").text
    found = re.findall(r"^orthanc_async_(\w+) (\S+)", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def post(server: Orthanc, path: str, body: Any = None) -> Any:
    """Command the stand-in."""
    answer = server.http.post(path, json.dumps(body))
    assert answer.status in {200, 204}, answer.text
    return answer.json() if answer.body else None


def test_depth_and_age(server: Orthanc) -> None:
    """Each queue has its depth by state and the age of its oldest entry, each by its name."""
    post(server, "/test/fill/0")
    post(server, "/test/put", [{}, {}, {"state": "dead"}, {"queue": "thumbnails"}])
    post(server, "/test/mode", {})
    found = read(server)
    assert found["queue_waiting_to_archive"] == 2
    assert found["queue_dead_to_archive"] == 1
    assert found["queue_running_to_archive"] == 0
    assert found["queue_oldest_seconds_to_archive"] == 12.5
    assert found["queue_waiting_thumbnails"] == 1
    assert found["queue_oldest_seconds_to_modality"] == 0
    assert found["store_answers"] == 1
    post(server, "/test/fill/0")
    assert read(server)["queue_waiting_to_archive"] == 0


def test_attempts(server: Orthanc) -> None:
    """Attempts, failures, bytes and the handlers' time are counted."""
    post(server, "/test/fill/0")
    before = read(server)
    numbers = post(server, "/test/put", [{}, {}, {}])
    for number in numbers:
        post(server, f"/test/start/{number}")
    assert read(server)["active"] == 3
    assert read(server)["queue_active_to_archive"] == 3
    post(server, f"/test/advance/{numbers[0]}", {"done": 1, "bytes": 1_500_000})
    for number, state in zip(numbers, ("done", "waiting", "dead"), strict=True):
        post(server, f"/test/end/{number}", {"state": state})
    after = read(server)

    def more(name: str) -> float:
        name = f"queue_{name}_to_archive"
        return after[name] - before.get(name, 0)

    assert more("attempts") == 3
    assert more("failures") == 2
    assert more("handler_seconds") == 7.5
    assert more("megabytes") == 1.5
    assert after["active"] == 0


def test_loop_lag(server: Orthanc) -> None:
    """The longest time for which the loop stood still is shown once."""
    post(server, "/test/mode", {"block": 0.6})

    def lag() -> float:
        return read(server)["loop_lag_seconds"]

    assert max(lag() for _ in range(40)) >= 0.3


def test_a_store_that_does_not_answer(server: Orthanc) -> None:
    """While the store is broken that is a metric, and the others keep their values."""
    post(server, "/test/fill/0")
    post(server, "/test/put", [{}])
    post(server, "/test/mode", {})
    assert read(server)["queue_waiting_to_archive"] == 1
    post(server, "/test/mode", {"problem": "no space left on device"})
    found = read(server)
    assert found["store_answers"] == 0
    assert found["queue_waiting_to_archive"] == 1
    post(server, "/test/mode", {})


def as_float(value: float) -> float:
    """Return what is left of a number in 32 bits."""
    (left,) = struct.unpack("f", struct.pack("f", value))
    return float(left)


def test_counters_never_stand_still() -> None:
    """Read through 32-bit floats as Prometheus reads a counter, far above 16 million is right."""
    counter = figures.Counter()
    exact, total, last = 0, 0.0, 0.0
    for step in (2**24, *[1] * 100, *[7_001] * 5_000, *[1] * 100):
        counter.add(step)
        exact += step
        value = as_float(counter.read())
        # A lower value than before: a counter that was reset, and counts from 0.
        total += value - last if value >= last else value
        last = value
        assert total == exact


def test_counters_of_large_steps() -> None:
    """What comes at once may be more than where counters begin anew; nothing of it is lost."""
    counter = figures.Counter()
    total, last = 0.0, 0.0
    for step in (1_000_000, 5, 2_000_000, 300_000, 1):
        counter.add(step)
        value = counter.read()
        total += value - last if value >= last else value
        last = value
    assert total == 3_300_006


def test_names_that_look_alike() -> None:
    """Two queues never share a metric; a name that needs no change keeps it."""
    found = metrics.suffixes_of(["to-archive", "to_archive", "to archive", "Ärzte", "x"])
    assert found["to_archive"] == "to_archive"
    assert found["x"] == "x"
    assert found["Ärzte"] == "_rzte"
    assert len(set(found.values())) == 5
    assert all(re.fullmatch(r"\w+", name, re.ASCII) for name in found.values())
