"""The JSON body of every error answer, with the field names Orthanc itself uses."""

from __future__ import annotations

import http
import json


def reason(status: int) -> str:
    """Return the reason phrase of an HTTP status, or `HTTP 599` for one that has none."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"


def error_body(status: int, message: str, method: str, uri: str) -> bytes:
    """Build the body of an error answer.

    Args:
        status: The HTTP status that is sent with it.
        message: What is wrong, and how to mend it where that is known.
        method: The request's method, `GET` and its like.
        uri: The request's path, without its query.

    Returns:
        UTF-8 JSON, ended by a line feed for people who read it in a terminal.
    """
    fields = {
        "HttpError": reason(status),
        "HttpStatus": status,
        "Message": message,
        "Method": method,
        "Uri": uri,
    }
    return json.dumps(fields, indent=2).encode("ascii") + b"\n"
