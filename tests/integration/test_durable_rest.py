"""`/async/` as JSON, on a stand-in for engine and store."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from integration.conftest import Answer, Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("durable_surface_script.py")


@pytest.fixture(scope="module")
def shared(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with the stand-in engine."""
    return shared_orthanc(SCRIPT)


@pytest.fixture
def server(shared: Orthanc) -> Orthanc:
    """The same, without an entry."""
    assert shared.http.post("/test/fill/0").status == 204
    mode(shared)
    return shared


def mode(server: Orthanc, **fields: Any) -> None:
    """Break something, or mend it."""
    assert server.http.post("/test/mode", json.dumps(fields)).status == 204


def put(server: Orthanc, *entries: dict[str, Any]) -> list[int]:
    """Add entries; return their numbers."""
    numbers: list[int] = server.http.post("/test/put", json.dumps(entries)).json()
    return numbers


def states(server: Orthanc) -> dict[str, int]:
    """Return how many entries are in each state, as far as any are."""
    found = server.http.get("/async").json()["States"]
    return {state: number for state, number in found.items() if number}


def refused(answer: Answer, status: int, *words: str) -> None:
    """Check an error's answer: JSON that names what is wrong."""
    assert answer.status == status, answer.text
    message = answer.json()["Message"]
    for word in words:
        assert word in message


def test_overview(server: Orthanc) -> None:
    """The overview names the store and sums up; it has no problem to tell."""
    put(server, {"state": "dead"}, {"queue": "thumbnails"}, {"queue": "thumbnails"})
    for path in ("/async", "/async/"):
        found = server.http.get(path).json()
        assert found["Store"] == "SQLite: /var/lib/orthanc/orthanc-async.db"
        assert found["Problem"] is None
        assert found["States"] == {
            "waiting": 2, "running": 0, "done": 0, "dead": 1, "cancelled": 0
        }  # fmt: skip
        assert [one["Name"] for one in found["Queues"]] == [
            "thumbnails", "to-archive", "to-modality"
        ]  # fmt: skip


def test_queues(server: Orthanc) -> None:
    """A queue shows its numbers, its rules, and how its circuit breaker stands."""
    put(server, {"queue": "thumbnails"}, {"queue": "thumbnails", "state": "done"})
    mode(server, gate="open")
    thumbnails, archive, _ = server.http.get("/async/queues").json()
    assert thumbnails == {
        "Name": "thumbnails",
        "Kind": "task",
        "Declared": True,
        "Place": "script.py:1",
        "States": {"waiting": 1, "running": 0, "done": 1, "dead": 0, "cancelled": 0},
        "Oldest": 12.5,
        "Running": 0,
        "Gate": None,
        "Policy": {"Attempts": 3, "Timeout": 60.0, "Concurrency": 4},
    }
    assert archive["Kind"] == "subscription"
    assert archive["Oldest"] is None
    assert archive["Gate"] == {"State": "open", "Wait": 30.0}
    assert server.http.get("/async/queues/to-archive").json() == archive
    refused(server.http.get("/async/queues/nowhere"), 404, "'nowhere'")


def test_a_queue_that_no_script_has(server: Orthanc) -> None:
    """Entries of a name that is gone are shown, and said to be nobody's; purging keeps keys."""
    put(server, {"queue": "former", "state": "done", "key": "former/1"})
    found = server.http.get("/async/queues/former").json()
    assert found["Declared"] is False
    assert found["Kind"] is None
    assert server.http.post("/async/queues/former/purge").json() == {"Purged": 1}
    assert "former/1" in server.http.get("/test/seen").json()["kept"]


def test_entries_in_pages(server: Orthanc) -> None:
    """Pages follow each other without a gap, the newest first, and the last one says so."""
    numbers = put(server, *[{} for _ in range(7)])
    seen: list[int] = []
    query = "limit=3"
    while True:
        page = server.http.get(f"/async/entries?{query}").json()
        seen += [one["ID"] for one in page["Entries"]]
        if page["Next"] is None:
            break
        assert len(page["Entries"]) == 3
        query = f"limit=3&before={page['Next']}"
    assert seen == numbers[::-1]


def test_entries_of_one_kind(server: Orthanc) -> None:
    """Entries can be chosen by queue and by states, alone and together."""
    put(
        server,
        {"state": "dead"},
        {"state": "done"},
        {"queue": "thumbnails"},
        {"queue": "thumbnails", "state": "dead"},
    )

    def chosen(query: str) -> list[int]:
        answer = server.http.get(f"/async/entries?{query}").json()
        return [one["ID"] for one in answer["Entries"]]

    assert chosen("state=dead") == [4, 1]
    assert chosen("state=dead,done") == [4, 2, 1]
    assert chosen("queue=thumbnails") == [4, 3]
    assert chosen("queue=thumbnails&state=dead") == [4]
    assert chosen("queue=nowhere") == []


def test_an_entry(server: Orthanc) -> None:
    """An entry shows all that is known of it; a list leaves out what may be long."""
    (number,) = put(
        server,
        {
            "payload": {"type": "StableStudy"},
            "resource": "/studies/abc",
            "attempts": 2,
            "due_in": 3.0,
            "error": "e" * 1000,
            "resume": {"sent": 5},
            "progress": [5, 10, 4096],
        },
    )
    found = server.http.get(f"/async/entries/{number}").json()
    assert datetime.fromisoformat(found.pop("Created")).timestamp() <= time.time()
    assert datetime.fromisoformat(found.pop("Changed")).tzinfo is not None
    assert found == {
        "ID": number,
        "Queue": "to-archive",
        "Key": f"Study/{number}",
        "Resource": "/studies/abc",
        "State": "waiting",
        "Attempts": 2,
        "Interruptions": 0,
        "DueIn": 3.0,
        "Reason": None,
        "Error": "e" * 1000,
        "Progress": {"Done": 5, "Total": 10, "Bytes": 4096},
        "Server": "here",
        "Job": None,
        "Payload": {"type": "StableStudy"},
        "Resume": {"sent": 5},
    }
    (listed,) = server.http.get("/async/entries").json()["Entries"]
    assert "Payload" not in listed
    assert len(listed["Error"]) < 400
    refused(server.http.get("/async/entries/99"), 404, "99", "purged")


def test_the_progress_of_a_running_one(server: Orthanc) -> None:
    """What runs shows how far it is now, not what was written last."""
    (number,) = put(server, {"progress": [1, 10, 0]})
    server.http.post(f"/test/start/{number}")
    server.http.post(f"/test/advance/{number}", '{"done": 7, "total": 10}')
    found = server.http.get(f"/async/entries/{number}").json()
    assert found["State"] == "running"
    assert found["Progress"]["Done"] == 7
    assert server.http.get("/async").json()["Running"] == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("status=dead", ["'status'", "state"]),
        ("state=failed", ["'failed'", "dead"]),
        ("limit=0", ["limit", "1 to 1000"]),
        ("limit=1001", ["limit", "1 to 1000"]),
        ("limit=many", ["'many'"]),
        ("before=-1", ["before"]),
        ("before=1e3", ["before"]),
        ("before=99999999999999999999", ["before"]),
    ],
)
def test_wrong_arguments(server: Orthanc, query: str, words: list[str]) -> None:
    """An argument that means nothing is refused, and the answer says what is possible."""
    refused(server.http.get(f"/async/entries?{query}"), 400, *words)


def test_retry_one(server: Orthanc) -> None:
    """A dead entry can be tried again; one that is done cannot, and the answer says why."""
    dead, done = put(server, {"state": "dead", "attempts": 10}, {"state": "done"})
    found = server.http.post(f"/async/entries/{dead}/retry").json()
    assert found["State"] == "waiting"
    assert found["Attempts"] == 0
    refused(server.http.post(f"/async/entries/{done}/retry"), 409, "it is done")
    refused(server.http.post("/async/entries/99/retry"), 404, "99")


def test_cancel_one(server: Orthanc) -> None:
    """What waits or runs can be cancelled; what has ended cannot."""
    waiting, running, dead = put(server, {}, {}, {"state": "dead"})
    server.http.post(f"/test/start/{running}")
    for number in (waiting, running):
        found = server.http.post(f"/async/entries/{number}/cancel").json()
        assert found["State"] == "cancelled"
    assert server.http.get("/async").json()["Running"] == 0
    refused(server.http.post(f"/async/entries/{dead}/cancel"), 409, "it is dead")


def test_retry_all(server: Orthanc) -> None:
    """All dead entries of a queue are tried again, others only when their state is named."""
    put(server, *[{"state": "dead"} for _ in range(3)], {"state": "cancelled"})
    put(server, {"state": "dead", "queue": "thumbnails"})
    url = "/async/queues/to-archive/retry"
    assert server.http.post(url).json() == {"Retried": 3}
    assert states(server) == {"waiting": 3, "dead": 1, "cancelled": 1}
    assert server.http.post(url, '{"States": ["cancelled"]}').json() == {"Retried": 1}
    refused(server.http.post(url, '{"States": ["done"]}'), 400, "done cannot be retried")


def test_cancel_all(server: Orthanc) -> None:
    """All entries of a queue that are not finished can be cancelled at once."""
    _, running, _, _ = put(server, {}, {}, {"state": "dead"}, {"queue": "thumbnails"})
    server.http.post(f"/test/start/{running}")
    assert server.http.post("/async/queues/to-archive/cancel").json() == {"Cancelled": 2}
    assert states(server) == {"waiting": 1, "dead": 1, "cancelled": 2}


def test_more_than_a_page_at_once(server: Orthanc) -> None:
    """What is done to a whole queue reaches all of it, however long it is."""
    put(server, *[{"state": "dead"} for _ in range(2500)])
    assert server.http.post("/async/queues/to-archive/retry").json() == {"Retried": 2500}
    assert states(server) == {"waiting": 2500}


def test_purge(server: Orthanc) -> None:
    """Purging takes what is done or cancelled; dead letters only when they are named."""
    put(server, {"state": "done"}, {"state": "cancelled"}, {"state": "dead"}, {})
    url = "/async/queues/to-archive/purge"
    assert server.http.post(url, '{"OlderThan": 3600}').json() == {"Purged": 0}
    assert server.http.post(url).json() == {"Purged": 2}
    assert states(server) == {"waiting": 1, "dead": 1}
    assert server.http.post(url, '{"States": ["dead"]}').json() == {"Purged": 1}
    refused(server.http.post(url, '{"States": ["waiting"]}'), 400, "waiting cannot be purged")
    refused(server.http.post("/async/queues/nowhere/purge"), 404, "'nowhere'")


def test_purge_keeps_the_keys_of_deliveries(server: Orthanc) -> None:
    """What was delivered stays known as such; the key of a task may be used again."""
    put(server, {"state": "done", "key": "kept"})
    put(server, {"state": "done", "key": "forgotten", "queue": "thumbnails"})
    server.http.post("/async/queues/to-archive/purge")
    server.http.post("/async/queues/thumbnails/purge")
    kept = server.http.get("/test/seen").json()["kept"]
    assert "kept" in kept
    assert "forgotten" not in kept


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("nonsense", ["no valid JSON"]),
        ("[]", ["JSON object"]),
        ('{"Older": 3}', ["'Older'", "OlderThan"]),
        ('{"OlderThan": "soon"}', ["OlderThan", "seconds"]),
        ('{"OlderThan": true}', ["OlderThan", "seconds"]),
        ('{"States": "dead"}', ["States", "list"]),
        ('{"States": []}', ["States", "list"]),
        ('{"States": [1]}', ["state 1"]),
    ],
)
def test_wrong_bodies(server: Orthanc, body: str, words: list[str]) -> None:
    """A body that means nothing is refused, and nothing is purged."""
    put(server, {"state": "done"})
    refused(server.http.post("/async/queues/to-archive/purge", body), 400, *words)
    assert states(server) == {"done": 1}


def test_another_sites_form(server: Orthanc) -> None:
    """A browser that another site makes send something is refused; the page itself is not."""
    put(server, {"state": "dead"})
    url = "/async/entries/1/retry"
    origin = {"Origin": "https://elsewhere.example.org"}
    refused(server.http.post(url, headers=origin), 403, "X-Orthanc-Async")
    assert states(server) == {"dead": 1}
    own = {"Origin": server.url, "X-Orthanc-Async": "1"}
    assert server.http.post(url, headers=own).status == 200


def test_before_the_start(server: Orthanc) -> None:
    """Before the durable part runs, the overview says so and the rest answers 503."""
    mode(server, started=False)
    assert "not started" in server.http.get("/async").json()["Problem"]
    for path in ("/async/queues", "/async/entries", "/async/entries/1"):
        answer = server.http.get(path)
        refused(answer, 503, "not started")
        assert answer.headers["Retry-After"] == "5"
    refused(server.http.post("/async/entries/1/retry"), 503, "not started")


def test_a_store_that_does_not_answer(server: Orthanc) -> None:
    """A broken store is a 503 with the words of its error, and a problem in the overview."""
    put(server, {})
    problem = "/data/orthanc-async.db: No space left on device: make room"
    mode(server, problem=problem)
    found = server.http.get("/async").json()
    assert found["Problem"] == problem
    assert found["States"] is None
    assert found["Queues"] is None
    for path in ("/async/queues", "/async/entries", "/async/entries/1"):
        refused(server.http.get(path), 503, problem)
    refused(server.http.post("/async/entries/1/cancel"), 503, problem)
    refused(server.http.post("/async/queues/to-archive/purge"), 503, problem)
    mode(server)
    assert states(server) == {"waiting": 1}


def test_wrong_paths_and_methods(server: Orthanc) -> None:
    """What is not there is a 404 or 405 with an explanation, below the page too."""
    refused(server.http.get("/async/deliveries"), 404, "/async")
    refused(server.http.get("/async/app/nothing.js"), 404, "no such file")
    refused(server.http.get("/async/app/__init__.py"), 404, "no such file")
    refused(server.http.get("/async/app/../rest.py"), 404)
    answer = server.http.get("/async/entries/1/retry")
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"


def test_the_pages_headers(server: Orthanc) -> None:
    """Every file of the page forbids what does not come from this server."""
    files = ("index.html", "app.js", "style.css", "icon.svg", "vendor/htm-preact.js")
    for file in files:
        answer = server.http.get(f"/async/app/{file}")
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    html = server.http.get("/async/app/index.html").text
    assert "<script>" not in html
    assert "style=" not in html
    assert "//" not in html


def test_counts_are_shared(server: Orthanc) -> None:
    """Many who ask at about the same time cost the store few questions."""
    before = server.http.get("/test/seen").json()["counts"]
    start = time.monotonic()
    asked = 0
    while asked < 50 or time.monotonic() - start < 0.2:
        assert server.http.get("/async/queues").status == 200
        asked += 1
    took = time.monotonic() - start
    more = server.http.get("/test/seen").json()["counts"] - before
    assert 1 <= more <= took / 0.5 + 1


def test_nothing_without_anything_durable(orthanc_server: OrthancFactory) -> None:
    """Without a durable declaration there is neither `/async/` nor a button in the Explorer."""
    server = orthanc_server("import orthanc_async.rest")
    assert server.http.get("/async").status == 404
    assert server.http.get("/async/app/index.html").status == 404
    assert "Deliveries" not in server.http.get("/plugins/explorer.js").text
