"""The request that a handler is given."""

from __future__ import annotations

from typing import Any

import pytest
from orthanc_async import rest
from orthanc_async.rest import _template


def _request(template: str = "/x", uri: str = "/x", **fields: Any) -> rest.Request:
    pattern = _template.template(template)
    groups = pattern.match(uri)
    return rest.Request(uri, {"method": "GET", "groups": groups, **fields}, pattern)


def test_plain_fields() -> None:
    """Method, path, its parameters and groups are what the request has."""
    request = _request("/s/{study}/{n:int}", "/s/abc/7")
    assert (request.method, request.uri) == ("GET", "/s/abc/7")
    assert request.path == {"study": "abc", "n": 7}
    assert request.groups == ("abc", "7")
    assert request.path is request.path
    assert repr(request) == "<Request GET /s/abc/7>"


def test_missing_fields_are_empty() -> None:
    """A request without query, headers and body has empty ones."""
    request = _request()
    assert dict(request.query) == {}
    assert dict(request.headers) == {}
    assert request.cookies == {}
    assert request.body == b""
    assert request.text == ""


def test_encoded_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Orthanc hands arguments over with their escapes, they are decoded once."""
    monkeypatch.setattr(rest, "_query_is_encoded", True)
    request = _request(get={"n%61me": "M%C3%BCller", "b": "", "p": "John+X%2B", "bad": "%FF"})
    assert dict(request.query) == {"name": "Müller", "b": "", "p": "John X+", "bad": "\udcff"}
    assert _request(get={"a": "%2541"}).query["a"] == "%41"


def test_decoded_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Orthanc has decoded the arguments, they are not decoded again."""
    monkeypatch.setattr(rest, "_query_is_encoded", False)
    assert _request(get={"a": "100%25+1"}).query["a"] == "100%25+1"


def test_repeated_query() -> None:
    """Of a repeated argument the last counts, and getlist gives all in order."""
    request = _request(get={"a": "3"}, _query=[("a", "1"), ("b", "2"), ("a", "3")])
    assert request.query["a"] == "3"
    assert request.query.getlist("a") == ["1", "3"]
    assert request.query.getlist("none") == []
    assert request.query.get("none", "default") == "default"
    assert list(request.query) == ["a", "b"]
    assert len(request.query) == 2


def test_headers_in_any_case() -> None:
    """Headers are found in any case, and a missing one is missing."""
    headers = _request(headers={"content-type": "text/plain"}).headers
    assert headers["Content-Type"] == "text/plain"
    assert "CONTENT-TYPE" in headers
    assert "accept" not in headers
    assert headers.get("Accept") is None
    assert (list(headers), len(headers)) == (["content-type"], 1)


def test_cookies() -> None:
    """Cookies come by their names; what is none is left out."""
    request = _request(headers={"cookie": 'a=1; b="x=y"; broken; a=2; c='})
    assert request.cookies == {"a": "1", "b": "x=y", "c": ""}


def test_text() -> None:
    """The body is decoded as its Content-Type says."""
    headers = {"content-type": 'text/plain; charset="latin-1"'}
    assert _request(body=b"M\xfcller", headers=headers).text == "Müller"
    assert _request(body="Müller".encode()).text == "Müller"


@pytest.mark.parametrize(
    ("body", "charset", "status"), [(b"\xff", "utf-8", 400), (b"a", "nonsense", 415)]
)
def test_bad_text(body: bytes, charset: str, status: int) -> None:
    """A body that is not of its encoding is the client's error, not the handler's."""
    headers = {"content-type": f"text/plain; charset={charset}"}
    with pytest.raises(rest.HTTPError) as caught:
        _ = _request(body=body, headers=headers).text
    assert caught.value.status == status


def test_json() -> None:
    """A JSON body is read, with or without a byte order mark."""
    assert _request(body=b'{"a": [1, null]}').json() == {"a": [1, None]}
    assert _request(body=b"\xef\xbb\xbf3").json() == 3


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[NaN]", b"Infinity", b"\xff", b"[" * 100_000, b"9" * 10_000, b"{}x"],
)
def test_bad_json(body: bytes) -> None:
    """A body that is no JSON is answered with 400, which says why."""
    with pytest.raises(rest.HTTPError) as caught:
        _request(body=body).json()
    assert caught.value.status == 400
    assert "JSON" in caught.value.detail
