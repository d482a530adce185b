"""Answers in parts: collected, streamed, multipart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async import rest
from orthanc_async.rest import _answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from unit.conftest import Output, Server


class Source:
    """Parts that note whether they were closed, and can fail on their way."""

    def __init__(self, *parts: Any, error: BaseException | None = None) -> None:
        self.parts = parts
        self.error = error
        self.closed = False

    async def waiting(self) -> AsyncIterator[Any]:
        """Give the parts on the loop."""
        try:
            for part in self.parts:
                await asyncio.sleep(0)
                yield part
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True

    def blocking(self) -> Iterator[Any]:
        """Give the parts at once."""
        try:
            yield from self.parts
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


def _answer_with(server: Server, result: Any) -> Output:
    @rest.get("/x")
    async def handler(request: rest.Request) -> Any:
        return result

    return server.request("/x", "/x")


def _answer_blocking(server: Server, result: Any) -> Output:
    @rest.get("/x")
    def handler(request: rest.Request) -> Any:
        return result

    return server.request("/x", "/x")


def test_collected(server: Server) -> None:
    """Iterators of both kinds are collected, with the status and type of a Response."""
    source = Source(b"a", "b", bytearray(b"c"))
    output = _answer_with(server, rest.Response(source.waiting(), media_type="a/b"))
    assert output.calls == [("answer", b"abc", "a/b")]
    assert source.closed


def test_collected_from_def(server: Server, loop_thread: object) -> None:
    """A `def` handler may return iterators of both kinds."""
    source = Source(b"a", b"b")
    assert _answer_blocking(server, source.blocking()).last[1] == b"ab"

    @rest.get("/y")
    def handler(request: rest.Request) -> rest.Response:
        return rest.Response(source.waiting(), status=201)

    assert server.request("/y", "/y").last == ("status", 201, b"ab")


def test_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the limit is not collected: the answer names the limit and the other ways."""
    monkeypatch.setattr(rest, "STREAM_LIMIT", 3)
    source = Source(b"ab", b"cd", b"ef")
    status, fields = _answer_with(server, source.waiting()).error()
    assert status == 500
    assert "more than 3 bytes" in fields["Message"]
    assert source.closed


def test_wrong_parts(server: Server) -> None:
    """An iterator of anything but bytes and text is named in the error."""
    status, fields = _answer_with(server, iter([1])).error()
    assert status == 500
    assert "an iterator of int" in fields["Message"]


def test_streamed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Orthanc can stream, each part is sent when it is there."""
    monkeypatch.setattr(rest, "_can_stream", True)
    response = rest.Response(Source(b"a", "b").waiting(), headers={"X-A": "b"}, media_type="a/b")
    assert _answer_with(server, response).calls == [
        ("header", "X-A", "b"),
        ("stream", "a/b"),
        ("chunk", b"a"),
        ("chunk", b"b"),
    ]


@pytest.mark.parametrize("kind", ["waiting", "blocking"])
def test_streamed_from_def(
    server: Server, loop_thread: object, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A `def` handler streams too, from either kind of iterator."""
    monkeypatch.setattr(rest, "_can_stream", True)
    source = Source(b"a", b"b")
    output = _answer_blocking(server, getattr(source, kind)())
    assert output.calls == [
        ("stream", "application/octet-stream"),
        ("chunk", b"a"),
        ("chunk", b"b"),
    ]
    assert source.closed


@pytest.mark.parametrize("kind", ["waiting", "blocking"])
def test_multipart(server: Server, kind: str) -> None:
    """Parts from either kind of iterator are items of one multipart answer."""
    items = getattr(Source(b"a", "b"), kind)()
    multipart = rest.Multipart(items, content_type="application/dicom")
    assert _answer_with(server, multipart).calls == [
        ("multipart", "related", "application/dicom"),
        ("item", b"a"),
        ("item", b"b"),
    ]


@pytest.mark.parametrize("kind", ["waiting", "blocking"])
def test_multipart_from_def(server: Server, loop_thread: object, kind: str) -> None:
    """A `def` handler sends parts too, from either kind of iterator."""
    source = Source(b"a", b"b")
    output = _answer_blocking(server, rest.Multipart(getattr(source, kind)(), subtype="mixed"))
    assert output.calls == [
        ("multipart", "mixed", "application/octet-stream"),
        ("item", b"a"),
        ("item", b"b"),
    ]
    assert source.closed


def test_empty_multipart(server: Server) -> None:
    """No part at all is still an answer."""
    assert _answer_with(server, rest.Multipart([])).last[0] == "multipart"


def test_multipart_has_status_200(server: Server) -> None:
    """A multipart answer with another status is refused by name."""
    output = _answer_with(server, rest.Response(rest.Multipart([]), status=201))
    assert "status 201" in output.error()[1]["Message"]


def test_error_before_the_first_part(server: Server) -> None:
    """An error before the first part still has its own status."""
    source = Source(error=rest.HTTPError(404))
    assert _answer_with(server, rest.Multipart(source.waiting())).error()[0] == 404


@pytest.mark.parametrize("blocking", [False, True])
def test_error_after_a_part(server: Server, *, blocking: bool) -> None:
    """An error after the first part breaks the answer off, for the host to log."""
    source = Source(b"a", error=ValueError("late"))
    answer = _answer_blocking if blocking else _answer_with
    parts = source.blocking() if blocking else source.waiting()
    with pytest.raises(_answer.Broken) as caught:
        answer(server, rest.Multipart(parts))
    assert str(caught.value.__cause__) == "late"
    assert source.closed
