"""From what a handler returned or raised to the calls that answer the client."""

from __future__ import annotations

import inspect
import json
import logging
import sys
from typing import Any

import orthanc
from orthanc_async import _error_body
from orthanc_async.rest._response import HTTPError, Multipart, Response, check_response

_log = logging.getLogger("orthanc_async.rest")

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


def _refuse_type(value: object) -> None:
    kind = type(value)
    message = f"{kind.__module__}.{kind.__qualname__} is no JSON type"
    raise TypeError(message)


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_refuse_type).encode

# The HTTP status that Orthanc's core gives each of its errors; 500 for those not listed. By
# number: an older header knows fewer names than a newer server uses.
_STATUS_OF_ERROR: dict[int, int] = {
    3: 400,  # ParameterOutOfRange
    5: 400,  # BadParameterType
    7: 404,  # InexistentItem
    8: 400,  # BadRequest
    12: 400,  # UriSyntax
    13: 404,  # InexistentFile
    15: 400,  # BadFileFormat
    17: 404,  # UnknownResource
    21: 404,  # InexistentTag
    28: 400,  # BadJson
    29: 401,  # Unauthorized
    34: 406,  # NotAcceptable
    36: 503,  # DatabaseUnavailable
    41: 416,  # BadRange
    42: 503,  # DatabaseCannotSerialize
    43: 409,  # Revision
    45: 403,  # ForbiddenAccess
    46: 409,  # DuplicateResource
    **dict.fromkeys(range(2019, 2026), 400),  # CreateDicom…
    3000: 415,  # UnsupportedMediaType
}


class Unsendable(Exception):  # noqa: N818 - never leaves this package
    """A handler returned what cannot be sent; the text says what."""


class Broken(Exception):  # noqa: N818 - only the host sees it
    """An answer in parts failed on its way: nothing else can be answered."""


def plain(output: Any, result: object) -> bool:
    """Answer with a value that is there as a whole; False when it has to be sent in parts.

    Raises:
        Unsendable: The value cannot be sent. Nothing has been sent then.
    """
    # The exact types first: they are what nearly every handler returns.
    kind = type(result)
    if kind is dict or kind is list:
        output.AnswerBuffer(_to_json(result), _JSON)
    elif isinstance(result, Response):
        return _response(output, result)
    elif result is None:
        output.SendHttpStatus(204, b"")
    else:
        content = _content(result)
        if content is None:
            return False
        output.AnswerBuffer(*content)
    return True


def error(output: Any, failure: BaseException, handler: str, method: str, uri: str) -> None:
    """Answer with the error that a handler raised, and log what its author has to know.

    Args:
        output: The answer's `RestOutput`.
        failure: What was raised.
        handler: The handler's name, for the log.
        method: The request's method.
        uri: The request's path.

    Raises:
        Broken: Passed on, since the answer has begun.
    """
    if isinstance(failure, Broken):
        raise failure
    failure = _alone(failure)
    if isinstance(failure, HTTPError):
        _log.debug("%s answers %s", handler, failure)
        detail = failure.detail or _error_body.reason(failure.status)
        send_error(output, failure.status, detail, method, uri, headers=failure.headers)
    elif isinstance(failure, orthanc.OrthancException):
        code, text = _code_and_text(failure)
        status = _STATUS_OF_ERROR.get(code, 500)
        # A resource that is not there is the client's affair; the rest is worth a traceback.
        level = logging.ERROR if status >= 500 else logging.INFO
        _log.log(level, "%s: %s", handler, text, exc_info=failure)
        send_error(output, status, text, method, uri)
    elif isinstance(failure, Unsendable):
        message = f"{handler} returned what cannot be sent: {failure}"
        _log.error("%s", message)
        send_error(output, 500, message, method, uri)
    else:
        _log.error("%s failed", handler, exc_info=failure)
        # The exception's own text may hold data of a patient: only the log gets it.
        message = f"{handler} raised {type(failure).__name__}; the log of Orthanc has the details"
        if sys.modules["orthanc_async.rest"]._debug:
            message = f"{handler} raised {type(failure).__name__}: {failure}"
        send_error(output, 500, message, method, uri)


def send_error(
    output: Any,
    status: int,
    message: str,
    method: str,
    uri: str,
    *,
    headers: dict[str, str] | None = None,
) -> None:
    """Answer with an error status and the JSON body that explains it."""
    if status == 405:
        output.SendMethodNotAllowed(_allowed(headers or {}))
        return
    for name, value in (headers or {}).items():
        output.SetHttpHeader(name, value)
    output.SetHttpHeader("Content-Type", _JSON)
    output.SendHttpStatus(status, _error_body.error_body(status, message, method, uri))


def _to_json(value: object) -> str:
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as problem:
        message = f"{type(value).__name__}: {problem}"
        raise Unsendable(message) from problem


def _content(result: object) -> tuple[str | bytes, str] | None:
    """Return body and media type; None for what is sent in parts."""
    if isinstance(result, str):
        try:
            return result.encode("utf-8", "surrogateescape"), _TEXT
        except UnicodeEncodeError as problem:
            message = f"str: {problem}"
            raise Unsendable(message) from problem
    if isinstance(result, bytes):
        return result, BYTES
    if isinstance(result, (dict, list)):
        return _to_json(result), _JSON
    if isinstance(result, (bytearray, memoryview)):
        return bytes(result), BYTES
    if (
        isinstance(result, Multipart)
        or hasattr(result, "__anext__")
        or hasattr(result, "__next__")
    ):
        return None
    if inspect.iscoroutine(result):
        result.close()
        message = f"the coroutine {result.__qualname__}(…): write `return await …`"
        raise Unsendable(message)
    kind = type(result)
    if isinstance(result, BaseException):
        message = f"{kind.__module__}.{kind.__qualname__}: `raise` it instead"
        raise Unsendable(message)
    message = (
        f"{kind.__module__}.{kind.__qualname__}; a handler returns dict, list, str, bytes, None, "
        "rest.Response, rest.Multipart or an iterator"
    )
    raise Unsendable(message)


def _response(output: Any, response: Response) -> bool:
    body: str | bytes = b""
    media_type = response.media_type
    if response.body is not None:
        content = _content(response.body)
        if content is None:
            return False
        body, media_type = content[0], media_type or content[1]
    send(output, response, body, media_type)
    return True


def send(output: Any, response: Response, body: str | bytes, media_type: str | None) -> None:
    """Answer with a body that is there as a whole, and what a `Response` says about it.

    Raises:
        Unsendable: The `Response` was changed to what cannot be sent. Nothing has been sent then.
    """
    check(response)
    if response.status == 405:
        output.SendMethodNotAllowed(_allowed(response.headers))
        return
    send_headers(output, response)
    if response.status == 200:
        output.AnswerBuffer(body, media_type or BYTES)
        return
    if media_type is not None:
        output.SetHttpHeader("Content-Type", media_type)
    output.SendHttpStatus(response.status, body)


def _allowed(headers: dict[str, str]) -> str:
    # SendHttpStatus refuses 405, and the call for it drops all headers but this one.
    return next((value for name, value in headers.items() if name.lower() == "allow"), "")


def check(response: Response) -> None:
    """Refuse what a handler made of a `Response` after its constructor had checked it.

    Raises:
        Unsendable: It cannot be sent, or not safely.
    """
    try:
        check_response(response)
    except (TypeError, ValueError) as problem:
        message = f"rest.Response: {problem}"
        raise Unsendable(message) from problem


def send_headers(output: Any, response: Response) -> None:
    """Set the headers and cookies of a `Response`."""
    for name, value in response.headers.items():
        output.SetHttpHeader(name, value)
    for name, value in response.cookies.items():
        output.SetCookie(name, value)


def _alone(failure: BaseException) -> BaseException:
    # A task group wraps even a single error; its status is meant for the client all the same.
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    return failure


def _code_and_text(failure: Exception) -> tuple[int, str]:
    arguments = failure.args
    code = arguments[0] if arguments else -1
    text = str(arguments[1]) if len(arguments) > 1 else str(failure) or type(failure).__name__
    return (int(code) if isinstance(code, int) else -1), text
