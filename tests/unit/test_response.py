"""What a handler can answer with, and what is refused before it reaches the wire."""

from __future__ import annotations

import re
from typing import Any

import pytest
from orthanc_async import rest


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"status": 429}, "503 with a Retry-After"),
        ({"status": 301}, "307"),
        ({"status": 100}, "cannot be sent"),
        ({"status": 405}, "needs headers={'Allow'"),
        ({"status": 304, "body": b""}, "has no body"),
        ({"headers": {"X": "a\r\nSet-Cookie: b"}}, "not allowed there"),
        ({"headers": {"X Y": "a"}}, "no name for a header"),
        ({"headers": {"content-length": "3"}}, "sets the header content-length itself"),
        ({"media_type": "text/html\n"}, "not allowed there"),
        ({"cookies": {"a": "b; Path=/"}}, "not allowed there"),
        ({"cookies": {"a b": "c"}}, "no name for a cookie"),
        ({"headers": {"X": "\ud800"}}, "the header X holds a character"),
    ],
)
def test_bad_response(arguments: dict[str, Any], text: str) -> None:
    """What Orthanc could not send, or only as something else, is refused by name."""
    with pytest.raises(ValueError, match=re.escape(text)):
        rest.Response(**arguments)


def test_bad_types() -> None:
    """A status or a header of the wrong type is refused."""
    with pytest.raises(TypeError, match="must be a number"):
        rest.Response(status="200")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be text"):
        rest.Response(headers={"X": 1})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="headers must be a dict"):
        rest.Response(headers=[("X", "1")])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the media type must be text"):
        rest.Response(media_type=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the cookie a must be text"):
        rest.Response(cookies={"a": 5})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="name of a cookie must be text"):
        rest.Response(cookies={5: "a"})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="max_age must be a whole number"):
        rest.Cookie("a", max_age="60")  # type: ignore[arg-type]
    for items in (5, "whole", b"whole"):
        with pytest.raises(TypeError, match="needs a list or an iterator"):
            rest.Multipart(items)  # type: ignore[arg-type]


def test_error_is_an_error() -> None:
    """An HTTPError has the status of an error, and says it in its text."""
    with pytest.raises(ValueError, match="400 or more"):
        rest.HTTPError(204)
    with pytest.raises(ValueError, match="Allow"):
        rest.HTTPError(405)
    error = rest.HTTPError(404, "no such study", headers={"X-A": "b"})
    assert (error.status, error.detail, error.headers) == (404, "no such study", {"X-A": "b"})
    assert str(error) == "404: no such study"


def test_content_type_among_the_headers() -> None:
    """A Content-Type among the headers is the media type, so it is sent once."""
    response = rest.Response("<p>", headers={"content-TYPE": "text/html", "X-A": "b"})
    assert response.media_type == "text/html"
    assert response.headers == {"X-A": "b"}


def test_cookie_attributes() -> None:
    """A cookie is safe by default, and its attributes are chosen by name."""
    assert str(rest.Cookie("v")) == "v; Path=/; HttpOnly; SameSite=Lax"
    cookie = rest.Cookie("v", path=None, max_age=0, secure=True, http_only=False, same_site=None)
    assert str(cookie) == "v; Max-Age=0; Secure"
    with pytest.raises(ValueError, match="attribute"):
        rest.Cookie("v", path="/; Domain=x")


def test_same_site() -> None:
    """Only the three words that browsers know are taken, and `None` only for HTTPS."""
    for word in ("Strict", "Lax"):
        assert str(rest.Cookie("v", same_site=word)).endswith(f"; SameSite={word}")
    cookie = rest.Cookie("v", same_site="None", secure=True)
    assert str(cookie) == "v; Path=/; Secure; HttpOnly; SameSite=None"
    with pytest.raises(ValueError, match="'Strict', 'Lax' or 'None', not 'lax'"):
        rest.Cookie("v", same_site="lax")
    with pytest.raises(ValueError, match="needs secure=True"):
        rest.Cookie("v", same_site="None")
    with pytest.raises(TypeError, match="must be text, not True"):
        rest.Cookie("v", same_site=True)  # type: ignore[arg-type]
