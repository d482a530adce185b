"""URLs as scripts give them, looked at."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from orthanc_async.forward._errors import shown

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}")


def check_url(url: object, where: str) -> str:
    """Return a URL without a slash at its end.

    Args:
        url: What was given.
        where: For errors.

    Raises:
        TypeError: It is no text.
        ValueError: It is no URL of HTTP, or holds user and password.
    """
    if not isinstance(url, str):
        raise TypeError(f"{where} needs a URL, not {type(url).__name__}")
    parts = _parts(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{where} needs a URL such as 'https://pacs.example/dicom-web'")
    if "@" in parts.netloc:
        raise ValueError(f"{where}: user and password belong into auth=forward.Basic(…)")
    if "{" in url or "}" in url:
        raise ValueError(
            f"{where}: {shown(url)!r} holds braces: fields such as {{study}} are filled in path= "
            "(of to_http), not in the URL"
        )
    if parts.fragment or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError(
            f"{where}: {shown(url)!r} holds what no URL can: a space, a fragment (#…), or a "
            "character that cannot be printed"
        )
    if not url.isascii():
        raise ValueError(
            f"{where}: {shown(url)!r} holds letters beyond ASCII: write a host as xn--…, and in "
            "a path each byte as %XX"
        )
    host, colon, port = _divided(parts.netloc)
    if not _is_host(host):
        raise ValueError(f"{where}: {host!r} is no name of a host")
    if colon and not (port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{where}: the port must be 1 to 65535, not {port!r}")
    return url.rstrip("/") if not parts.query else url


def _is_host(host: str) -> bool:
    if host.startswith("[") or re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return "%" not in host  # a zone, which is of this machine only
    return all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))


def _parts(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:  # such as "http://[::1/x"
        return None


def _divided(netloc: str) -> tuple[str, str, str]:
    end = netloc.rfind("]")
    host, colon, port = netloc[end + 1 :].partition(":")
    return netloc[: end + 1] + host, colon, port
