"""What an answer, or the lack of one, means for a delivery."""

from __future__ import annotations

import datetime
import email.utils
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from orthanc_async import _checks
from orthanc_async._durable.attempt import GiveUp, RetryLater

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orthanc_async.forward._secrets import Secrets

_AGAIN = frozenset({408, 425, 429})
_SHOWN = 200  # characters of an answer's body in an error


class Down(RetryLater):
    """The destination cannot be reached, or says that it cannot work: one for the breaker."""


@dataclass(slots=True)
class Answer:
    """An HTTP answer.

    Attributes:
        url: What was asked, without user, password and the query's values.
        status: The number.
        headers: By their names.
        body: Its beginning, as much as was asked for.
        whole: Whether that is all of it.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    whole: bool = True


def shown(url: str) -> str:
    """Return a URL as errors and logs may have it: without what may be secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = re.sub(r"=[^&]*", "=…", parts.query) if "=" in parts.query else parts.query and "…"
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a `Retry-After` asks for: a number, or a date; None: there is none.

    The date is compared with the answer's own `Date`, so that a clock that is wrong here or there
    does no harm.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", value):
        return float(value)  # some thirty years at most
    wanted = _date(value)
    if wanted is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.datetime.now(datetime.UTC)
    return min(max(0.0, (wanted - now).total_seconds()), _checks.LONGEST)


def _date(text: str) -> datetime.datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)


def check(answer: Answer, secrets: Secrets) -> None:
    """Return if an answer is a success.

    Raises:
        Down: Another attempt may succeed, the destination cannot work now: 408, 425, 429, 5xx.
        GiveUp: Any other answer.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    text = f"{answer.url} answers {status}{excerpt(answer.body, secrets)}"
    if status in _AGAIN or status >= 500:
        raise Down(text, after=retry_after(answer.headers))
    if 300 <= status < 400:
        target = shown(answer.headers.get("Location", ""))
        text = f"{answer.url} answers {status}, which would lead to {target or 'nowhere'}: "
        text += "redirections are not followed, write the final URL into the script"
        raise GiveUp(secrets.scrub(text), reason="redirected")
    raise GiveUp(text, reason=f"http-{status}")


def excerpt(body: bytes, secrets: Secrets) -> str:
    """Return the beginning of an answer's body for an error's text, with ": " before it."""
    text = secrets.scrub(body[: 16 * _SHOWN].decode("utf-8", "replace"))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not text:
        return ""
    return f": {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}"
