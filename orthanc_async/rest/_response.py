"""What a handler answers with when a plain value does not say enough."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

# What Orthanc's HTTP server can put on the wire. It also knows 1xx, 301 and 305: the former are
# no answers, and for 301 it has no call that keeps the headers.
_STATUSES = frozenset(
    (
        *(*range(200, 209), 226, 300, 302, 303, 304, 307),
        *(*range(400, 418), 422, 423, 424, 426),
        *(*range(500, 508), 509, 510),
    )
)
_INSTEAD = {
    301: "use 307 or 302",
    308: "use 307",
    418: "use 400",
    425: "use 503",
    428: "use 412",
    429: "use 503 with a Retry-After header",
    431: "use 400",
    451: "use 403",
}
# The client takes what follows such an answer for the next one. (Of 405, Orthanc drops the body.)
_BODILESS = frozenset({204, 205, 304})
# Orthanc writes these itself; a second one makes the answer unreadable.
_RESERVED = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


def check_status(status: object, lowest: int = 200) -> int:
    """Refuse a status that Orthanc could not send.

    Raises:
        TypeError: It is no number.
        ValueError: Orthanc does not know it; the text names the nearest one that it knows.
    """
    if not isinstance(status, int) or isinstance(status, bool):
        message = f"a status must be a number such as 404, not {status!r}"
        raise TypeError(message)
    if status not in _STATUSES or status < lowest:
        hint = _INSTEAD.get(status, "use another one")
        if status in _STATUSES:
            hint = f"an error's status is {lowest} or more"
        message = f"status {status} cannot be sent by Orthanc's HTTP server: {hint}"
        raise ValueError(message)
    return int(status)


def check_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Copy headers, refusing those that would break the answer or smuggle in another one.

    Raises:
        TypeError: They are no mapping, or a name or a value is no text.
        ValueError: A name is none, a value holds a line break, or Orthanc sets it itself.
    """
    checked: dict[str, str] = {}
    for name, value in _items("headers", headers):
        _check_name("a header", name)
        if name.lower() in _RESERVED:
            message = f"Orthanc sets the header {name} itself: leave it out"
            raise ValueError(message)
        _refuse_breaks(f"the header {name}", value)
        checked[name] = value
    return checked


def check_allow(status: int, headers: Mapping[str, str]) -> None:
    """Refuse a 405 that does not say what is allowed.

    Raises:
        ValueError: It has no such header.
    """
    if status == 405 and not any(name.lower() == "allow" for name in headers):
        message = (
            "status 405 needs headers={'Allow': 'GET, …'}; a method without a handler is "
            "answered like that without your help"
        )
        raise ValueError(message)


def check_response(response: Response) -> None:
    """Check the parts of a `Response` again: a handler may have changed any of them.

    Raises:
        TypeError, ValueError: Something that Orthanc could not send, or not safely.
    """
    status = check_status(response.status)
    if response.headers:
        check_headers(response.headers)
    check_allow(status, response.headers)
    _refuse_body(status, response.body)
    if response.media_type is not None:
        _refuse_breaks("the media type", response.media_type)
    if response.cookies:
        for name, value in _items("cookies", response.cookies):
            _check_name("a cookie", name)
            _refuse_breaks(f"the cookie {name}", value)


def _items(what: str, values: object) -> Iterable[tuple[Any, Any]]:
    if values is None:
        return ()
    if not isinstance(values, Mapping):
        message = f"{what} must be a dict, not {type(values).__name__}"
        raise TypeError(message)
    return values.items()


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str):
        message = f"the name of {what} must be text, not {name!r}"
        raise TypeError(message)
    if not name or not _TOKEN.issuperset(name.lower()):
        message = f"{name!r} is no name for {what}"
        raise ValueError(message)


def _refuse_breaks(what: str, value: object, also: str = "") -> None:
    if not isinstance(value, str):
        message = f"{what} must be text, not {value!r}"
        raise TypeError(message)
    if any(character in value for character in "\r\n\0" + also) or not _is_sendable(value):
        message = f"{what} holds a character that is not allowed there: {value!r}"
        raise ValueError(message)


def _is_sendable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _refuse_body(status: int, body: object) -> None:
    if body is not None and status in _BODILESS:
        message = f"an answer with status {status} has no body: leave it out"
        raise ValueError(message)


def _whole_number(value: object) -> int:
    if isinstance(value, int):
        return value
    message = f"a cookie's max_age must be a whole number of seconds, not {value!r}"
    raise TypeError(message)


class HTTPError(Exception):
    """Raise it in a handler to answer with an error status and a JSON body that explains it."""

    def __init__(
        self, status: int, detail: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Make the error.

        Args:
            status: An HTTP status from 400 on that Orthanc can send.
            detail: What is wrong; the answer's `Message`. The status' own phrase by default.
                With status 405 Orthanc sends no body.
            headers: Further headers of the answer; status 405 needs `Allow`.

        Raises:
            TypeError, ValueError: The status or a header cannot be sent.
        """
        super().__init__(status, detail)
        self.status = check_status(status, 400)
        self.detail = str(detail)
        self.headers = check_headers(headers)
        check_allow(self.status, self.headers)

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}" if self.detail else str(self.status)


class Cookie:
    """A cookie with attributes, as a value of `Response(cookies=…)`."""

    __slots__ = ("_attributes", "value")

    def __init__(
        self,
        value: str,
        *,
        path: str | None = "/",
        max_age: int | None = None,
        secure: bool = False,
        http_only: bool = True,
        same_site: str | None = "Lax",
    ) -> None:
        """Make the cookie.

        Args:
            value: Its value.
            path: The paths it is sent back to.
            max_age: Its lifetime in seconds; None: until the browser is closed, 0: delete it.
            secure: Sent back over HTTPS only.
            http_only: Hidden from scripts in the page.
            same_site: `"Strict"`, `"Lax"` or, with `secure`, `"None"`; None: no such attribute.

        Raises:
            TypeError, ValueError: One of them is no such value.
        """
        _refuse_breaks("a cookie's value", value, ";")
        self.value = value
        attributes = []
        if path is not None:
            attributes.append(f"Path={path}")
        if max_age is not None:
            attributes.append(f"Max-Age={_whole_number(max_age)}")
        if secure:
            attributes.append("Secure")
        if http_only:
            attributes.append("HttpOnly")
        if same_site is not None:
            _check_same_site(same_site, secure=secure)
            attributes.append(f"SameSite={same_site}")
        for attribute in attributes:
            _refuse_breaks("a cookie's attribute", attribute, ";")
        self._attributes = "".join(f"; {attribute}" for attribute in attributes)

    def __str__(self) -> str:
        return self.value + self._attributes


def _check_same_site(value: object, *, secure: bool) -> None:
    if not isinstance(value, str):
        message = f"a cookie's same_site must be text, not {value!r}"
        raise TypeError(message)
    if value not in {"Strict", "Lax", "None"}:
        message = f"a cookie's same_site must be 'Strict', 'Lax' or 'None', not {value!r}"
        raise ValueError(message)
    if value == "None" and not secure:
        message = "a cookie with same_site='None' needs secure=True, or browsers drop it"
        raise ValueError(message)


class Response:
    """An answer with a status, headers, cookies and a media type of its own."""

    __slots__ = ("body", "cookies", "headers", "media_type", "status")

    def __init__(
        self,
        body: Any = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str | Cookie] | None = None,
        media_type: str | None = None,
    ) -> None:
        """Make the answer.

        Args:
            body: What a handler may return: dict, list, str, bytes, None or an iterator.
            status: The HTTP status.
            headers: Further headers; a `Content-Type` among them counts as the media type.
            cookies: Cookies to set, by their names.
            media_type: The body's type; by default the one its Python type has.

        Raises:
            TypeError, ValueError: Something that Orthanc could not send, or not safely.
        """
        self.body = body
        self.status = check_status(status)
        self.headers = check_headers(headers)
        check_allow(self.status, self.headers)
        _refuse_body(self.status, body)
        for name in tuple(self.headers):
            if name.lower() == "content-type":
                media_type = media_type or self.headers[name]
                del self.headers[name]
        if media_type is not None:
            _refuse_breaks("the media type", media_type)
        self.media_type = media_type
        self.cookies: dict[str, str] = {}
        for name, value in _items("cookies", cookies):
            _check_name("a cookie", name)
            plain = value.value if isinstance(value, Cookie) else value
            _refuse_breaks(f"the cookie {name}", plain, ";")
            self.cookies[name] = str(value)


class Multipart:
    """An answer in parts, each sent as soon as it is there and the client has taken the last."""

    __slots__ = ("content_type", "items", "subtype")

    def __init__(
        self,
        items: AsyncIterable[bytes | str] | Iterable[bytes | str],
        *,
        content_type: str = "application/octet-stream",
        subtype: str = "related",
    ) -> None:
        """Make the answer.

        Args:
            items: The parts, also from an asynchronous generator.
            content_type: The media type of each part.
            subtype: What follows `multipart/`: `related`, `mixed` or its like.

        Raises:
            TypeError: The items are none that can be iterated over, or one whole answer.
            ValueError: One of the types holds a line break.
        """
        if isinstance(items, (str, bytes)) or not isinstance(items, (AsyncIterable, Iterable)):
            message = f"rest.Multipart needs a list or an iterator of parts, not {items!r:.80}"
            raise TypeError(message)
        _refuse_breaks("the content type", content_type)
        _refuse_breaks("the subtype", subtype)
        self.items = items
        self.content_type = content_type
        self.subtype = subtype
