"""What people see of durable tasks, with the real engine and its store."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("durable_seen_script.py")


def post(server: Orthanc, path: str, body: str = "") -> Any:
    """Command the script, or Orthanc."""
    answer = server.http.post(path, body)
    assert answer.status in {200, 204}, answer.text
    return answer.json() if answer.body else None


def test_a_task_from_its_start_to_its_end(orthanc_server: OrthancFactory) -> None:
    """A task that runs is seen with its progress, as a job too, and can be cancelled."""
    server = orthanc_server(SCRIPT)
    (first, _), (second, _), (third, _) = post(server, "/test/slow/3")
    found = server.wait_json(f"/async/entries/{first}", lambda entry: entry["Job"])
    assert found["State"] == "running"
    assert found["Progress"] == {"Done": 3, "Total": 4, "Bytes": 2_000_000}
    assert found["Payload"] == {"args": [0], "kwargs": {}}
    job = server.wait_json(f"/jobs/{found['Job']}", lambda one: one["Progress"] == 75)
    assert job["Type"] == "DurableTask"
    queue = server.http.get("/async/queues/slow").json()
    assert queue["Running"] == 2
    assert queue["States"]["waiting"] == 1
    assert queue["Oldest"] >= 0
    assert server.http.get("/async").json()["Store"].endswith("orthanc-async.db")

    assert post(server, f"/async/entries/{first}/cancel")["State"] == "cancelled"
    server.wait_json("/test/ended", lambda ended: ended == [0])
    server.wait_json(f"/jobs/{found['Job']}", lambda one: one["State"] == "Failure")
    server.wait_json(f"/async/entries/{third}", lambda entry: entry["State"] == "running")
    shown = server.wait_json(f"/async/entries/{second}", lambda entry: entry["Job"])["Job"]
    post(server, f"/jobs/{shown}/cancel", "{}")
    server.wait_json("/test/ended", lambda ended: ended == [0, 1])
    server.wait_json(f"/async/entries/{second}", lambda entry: entry["State"] == "cancelled")
    shown = server.wait_json(f"/async/entries/{third}", lambda entry: entry["Job"])["Job"]
    post(server, "/test/go")
    ended = server.wait_json(f"/jobs/{shown}", lambda one: one["State"] != "Running")
    assert ended["State"] == "Success", ended
    server.wait_json(f"/async/entries/{third}", lambda entry: entry["State"] == "done")
    text = server.http.get("/tools/metrics-prometheus").text
    assert "orthanc_async_queue_attempts_slow 3 " in text
    assert "orthanc_async_queue_megabytes_slow 6 " in text
    assert "orthanc_async_queue_failures_slow 0 " in text


def test_dead_letters(orthanc_server: OrthancFactory) -> None:
    """Dead letters are seen with their reason, retried one by one or all, and purged."""
    server = orthanc_server(SCRIPT)
    ids = [one for one, _ in post(server, "/test/failing/3")]
    server.wait_json("/async", lambda found: found["States"]["dead"] == 3)
    (found, _, _) = server.http.get("/async/entries?state=dead").json()["Entries"]
    assert found["Reason"] == "refused"
    assert found["Attempts"] == 1
    assert post(server, f"/async/entries/{ids[0]}/retry")["State"] in {"waiting", "running"}
    server.wait_log(r"failing/key/0 .* is a dead letter", count=2)
    assert post(server, "/async/queues/failing/retry") == {"Retried": 3}
    server.wait_log(r"is a dead letter", count=7)
    server.wait_json("/async", lambda found: found["States"]["dead"] == 3)
    assert post(server, "/async/queues/failing/purge", '{"States": ["dead"]}') == {"Purged": 3}
    # Of tasks, the keys are forgotten with the entries.
    assert all(new for _, new in post(server, "/test/failing/3"))


def test_ten_thousand(orthanc_server: OrthancFactory) -> None:
    """With 10 000 entries each answer is short and quick, and all of them can be cancelled."""
    server = orthanc_server(SCRIPT)
    post(server, "/test/later/10000")
    took = []
    for _ in range(20):
        begin = time.monotonic()
        overview = server.http.get("/async")
        page = server.http.get("/async/entries?limit=50")
        took.append(time.monotonic() - begin)
        assert overview.json()["States"]["waiting"] == 10_000
        assert len(page.json()["Entries"]) == 50
        assert len(page.body) < 50_000
    print(f"median of both: {1000 * statistics.median(took):.1f} ms")
    assert statistics.median(took) < 1.0
    seen = 0
    before: int | None = 2**62
    while before is not None:
        more = f"&before={before}"
        answer = server.http.get(f"/async/entries?limit=1000&state=waiting{more}").json()
        seen += len(answer["Entries"])
        before = answer["Next"]
    assert seen == 10_000
    assert post(server, "/async/queues/later/cancel") == {"Cancelled": 10_000}
    assert post(server, "/async/queues/later/purge") == {"Purged": 10_000}


def test_entries_outlive_a_restart(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """After a restart without the script, entries are still there and said to be nobody's."""
    storage = tmp_path / "storage"
    server = orthanc_server(SCRIPT, storage=storage)
    post(server, "/test/later/3")
    server.stop()
    other = 'from orthanc_async import tasks\n\n@tasks.task(queue="other")\nasync def f(): ...\n'
    server = orthanc_server(other, storage=storage)
    found = server.wait_json("/async/queues/later", bool)
    assert found["Declared"] is False
    assert found["States"]["waiting"] == 3
    assert post(server, "/async/queues/later/cancel") == {"Cancelled": 3}


def test_a_store_that_cannot_be_opened(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """A store that cannot be opened is named by the overview; Orthanc works."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "orthanc-async.db").write_bytes(b"no database at all, " * 200)
    config = {"Python": {"Store": str(store)}}
    server = orthanc_server(
        SCRIPT, config=config, errors=["the store of durable events and tasks cannot be opened"]
    )
    server.wait_json("/async", lambda found: "orthanc-async.db" in (found["Problem"] or ""))
    answer = server.http.get("/async/entries")
    assert answer.status == 503
    assert "orthanc-async.db" in json.loads(answer.body)["Message"]
    text = server.http.get("/tools/metrics-prometheus").text
    assert "orthanc_async_store_answers 0 " in text
