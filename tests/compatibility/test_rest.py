"""Routes in the official plugin's style, on our plugin and on the official one."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from compatibility.known_failures import KnownFailures
    from integration.conftest import Answer, Orthanc

SCRIPT = Path(__file__).with_name("rest_script.py")
# What the HTTP server writes anew in each answer.
PASSING = {"date", "server"}


@pytest.fixture(scope="module")
def pair(
    ours: Callable[[str], Orthanc], official: Callable[[str], Orthanc]
) -> tuple[Orthanc, Orthanc]:
    """Both plugins with the same script; ours first."""
    text = SCRIPT.read_text("utf-8")
    return ours(text), official(text)


def observed(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return what a client sees of an answer."""
    headers = sorted(
        (name.lower(), value)
        for name, value in answer.headers.items()
        if name.lower() not in PASSING
    )
    body = answer.body
    boundary = re.search(r'boundary="?([^";]+)', answer.headers.get("Content-Type", ""))
    if boundary:  # a fresh one each time
        body = body.replace(boundary[1].encode(), b"BOUNDARY")
        headers = [(name, value.replace(boundary[1], "BOUNDARY")) for name, value in headers]
    return answer.status, headers, body


OUTPUTS = [
    *("str", "bytes", "empty", "header", "cookie", "redirect"),
    *(
        "status",
        "status-short",
        "status-unsized",
        "status-code",
        "not-found",
        "unauthorized",
        "not-allowed",
    ),
    *("png", "jpeg", "multipart", "multipart-raise", "twice", "answer-then-raise", "nonsense"),
]
# What one version of the official plugin refuses and another demands; and what ours answers.
REFUSED = {
    "output status": ("three arguments", 404, b"nothing"),
    "output status-short": ("three arguments", 403, b"n"),
    "output status-unsized": ("two arguments", 404, b"nothing"),
}
REQUESTS: dict[str, dict[str, Any]] = {
    "get": {"path": "/echo"},
    "query": {"path": "/echo?a=1&b&c=&a=2&d=M%C3%BCller+J&%41=z"},
    "groups": {"path": "/echo/one%20two/x/42"},
    "encoded slash": {"path": "/any/a%2Fb"},
    "question mark": {"path": "/any/a%3Fb?c=1"},
    "raw bytes": {"path": b"/any/\xff\xfe"},
    "NUL in the path": {"path": "/any/a%00b"},
    "NUL in the query": {"path": "/echo?a=b%00c"},
    "query not UTF-8": {"path": b"/echo?a=\xff&b=%FF"},
    "double slash": {"path": "/any//x"},
    "trailing slash": {"path": "/echo/"},
    "optional group": {"path": "/optional"},
    "optional group there": {"path": "/optional/a"},
    "no match": {"path": "/echo/one"},
    "post": {"path": "/echo?a=1", "method": "POST", "body": b"\x00\xffbody"},
    "post empty": {"path": "/echo", "method": "POST", "body": b""},
    "put": {"path": "/echo", "method": "PUT", "body": "text"},
    "put empty": {"path": "/echo", "method": "PUT", "body": b""},
    "delete": {"path": "/echo?a=1", "method": "DELETE"},
    "headers": {"path": "/echo", "headers": {"X-Mine": "A b", "X-UPPER": "\u00e4"}},
    "headers twice": {"path": "/echo", "headers": [("X-Mine", "1"), ("x-mine", "2")]},
    "head": {"path": "/echo", "method": "HEAD"},
    "options": {"path": "/echo", "method": "OPTIONS"},
    "late": {"path": "/late"},
    "find": {"path": "/tools/find", "method": "POST", "body": '{"Level":"Study","Query":{}}'},
    "nested": {"path": "/nested/5"},
    **{f"output {kind}": {"path": f"/output/{kind}"} for kind in OUTPUTS},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_same_answer(pair: tuple[Orthanc, Orthanc], known: KnownFailures, name: str) -> None:
    """A request is answered alike by both, to the byte."""
    mine, other = (
        observed(server.http.request(**{"method": "GET", **REQUESTS[name]})) for server in pair
    )
    if name in REFUSED:
        failure, status, body = REFUSED[name]
        assert (mine[0], mine[2]) == (status, body)
        if failure in known:
            assert other[0] == 500
            known.tell(failure)
    assert mine == other


def test_stream(pair: tuple[Orthanc, Orthanc]) -> None:
    """An answer in chunks comes alike, where Orthanc has them."""
    mine, other = (observed(server.http.get("/output/stream")) for server in pair)
    if not pair[0].streams:
        assert mine[0] == other[0] == 500
        pytest.skip("Orthanc has no streamed answers before 1.12.6")
    assert mine == other
    assert mine[2] == b"one two " + bytes(100000)


def test_not_utf8(pair: tuple[Orthanc, Orthanc], known: KnownFailures) -> None:
    """What is not UTF-8 reaches the handler as surrogates."""
    requests: list[dict[str, Any]] = [
        {"path": "/any/%FF%FE"},
        {"path": "/echo", "headers": {"X-Mine": b"\xff\xfe"}},
    ]
    for request in requests:
        mine, other = (server.http.get(**request) for server in pair)
        assert mine.status == 200
        assert r"\\udcff\\udcfe" in mine.text
        assert other.status == (500 if "not UTF-8" in known else 200)
    if "not UTF-8" in known:
        known.tell("not UTF-8")


@pytest.mark.parametrize("kind", ["keyword", "raise", "wrong-type", "no-mime"])
def test_same_error(pair: tuple[Orthanc, Orthanc], kind: str) -> None:
    """What goes wrong before the answer is a 500 in both, also a keyword that would be ignored."""
    mine, other = (server.http.get(f"/output/{kind}").status for server in pair)
    assert mine == other == 500


def test_sdk(pair: tuple[Orthanc, Orthanc]) -> None:
    """Types, values, exceptions and surroundings that scripts see are the official ones."""
    mine, other = (server.http.get("/sdk") for server in pair)
    assert other.status == 200, other.text
    assert mine.status == 200, mine.text
    for key, value in other.json().items():
        if key == "instance methods":  # ours has those with a callback too
            assert set(value) <= set(mine.json()[key])
            continue
        assert (key, mine.json()[key]) == (key, value)


def test_answer_leaves_at_once(pair: tuple[Orthanc, Orthanc]) -> None:
    """The client has its answer while the handler still works."""
    for server in pair:
        assert server.http.get("/work").text == "at once"
        assert server.http.get("/go-on").json() == [True, True]


def test_exception_is_logged(pair: tuple[Orthanc, Orthanc]) -> None:
    """An exception after the answer stands in the log with its text."""
    for server in pair:
        server.http.get("/output/answer-then-raise")
        server.wait_log("after the answer")


def test_many_at_once(pair: tuple[Orthanc, Orthanc]) -> None:
    """Plain handlers run beside each other: while one sleeps, others are served."""
    for server in pair:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(server.http.get, ["/slow"] * 32))
        assert {answer.status for answer in answers} == {200}
        assert len({json.dumps(answer.json()) for answer in answers}) > 1
