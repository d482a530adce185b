"""What an answer means, and what an error may say of it."""

from __future__ import annotations

import pytest
from orthanc_async import forward
from orthanc_async.forward import _errors
from orthanc_async.forward._secrets import Secrets


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT",
          "Date": "Wed, 21 Oct 2015 07:27:00 GMT"}, 60),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000",
          "Date": "Wed, 21 Oct 2015 07:27:00 GMT"}, 60),
    ],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds and dates are understood, anything else is as if there were none."""
    assert _errors.retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x/in?key=hidden&b=hidden", "https://x/in?key=…&b=…"),
        ("https://x/in?hidden", "https://x/in?…"),
        ("https://me:hidden@x:81/in#hidden", "https://x:81/in"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    """Neither user and password nor what stands in the query."""
    assert _errors.shown(url) == shown


def test_excerpt() -> None:
    """The beginning of an answer in one line, without secrets, also where it is cut."""
    secrets = Secrets()
    secrets.hide("a hidden word")
    assert _errors.excerpt(b"", secrets) == ""
    assert _errors.excerpt(b"no\x1b[31m\r\n  way \xff", secrets) == ": no [31m way \ufffd"
    long = _errors.excerpt(b"x" * 193 + b" a hidden word", secrets)
    assert long == f": {'x' * 193} …"
    assert _errors.excerpt(b"y" * 5000, secrets) == f": {'y' * 200}…"


@pytest.mark.parametrize(
    ("status", "reason"), [(400, "http-400"), (404, "http-404"), (307, "redirected")]
)
def test_the_reason_of_a_dead_letter(status: int, reason: str) -> None:
    """A dead letter has the status as its reason."""
    answer = _errors.Answer("https://x", status, {}, b"")
    with pytest.raises(forward.GiveUp) as caught:
        _errors.check(answer, Secrets())
    assert caught.value.reason == reason
