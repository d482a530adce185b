"""Secrets: read when they are used, and taken out of every text that somebody may read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from orthanc_async import _checks
from orthanc_async._durable.attempt import RetryLater

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST = 4  # characters: something shorter would blank out half of a text


class SecretSource:
    """A secret that is read each time it is used. Made by `secret_from_env` and `_file`."""

    def __init__(self, described: str, read: Callable[[], str]) -> None:
        self._described = described
        self._read = read

    def __repr__(self) -> str:
        return self._described

    def read(self) -> str:
        """Return the secret. Blocks: it may read a file."""
        return self._read()


Secret = str | SecretSource


def secret_from_env(name: str) -> SecretSource:
    """Take a secret from an environment variable of Orthanc's process.

    Args:
        name: The variable's name.

    Returns:
        What destinations take in place of the secret itself.

    Raises:
        LookupError: There is no such variable, or it is empty.
        TypeError, ValueError: This is no name.
    """
    _checks.text("secret_from_env", "the name of the variable", name)

    def read() -> str:
        value = os.environ.get(name)
        if not value:
            raise LookupError(f"the environment variable {name}, which holds a secret, is not set")
        return value

    read()  # a script that cannot work says so when it is loaded
    return SecretSource(f"secret_from_env({name!r})", read)


def secret_from_file(path: str | os.PathLike[str]) -> SecretSource:
    """Take a secret from a file, such as one that a container's runtime mounts.

    It is read each time it is used, so that it can be changed while Orthanc runs. The line's end
    after it is no part of it.

    Args:
        path: The file's.

    Returns:
        What destinations take in place of the secret itself.

    Raises:
        TypeError, ValueError: This is no path.
    """
    file = Path(_checks.text("secret_from_file", "the path", os.fspath(path)))

    def read() -> str:
        try:
            value = file.read_text("utf-8-sig").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise RetryLater(f"the file {file}, which holds a secret: {reason}") from None
        if not value:
            raise RetryLater(f"the file {file}, which should hold a secret, is empty")
        return value

    return SecretSource(f"secret_from_file({str(file)!r})", read)


def check_secret(value: object, where: str) -> None:
    """Refuse what is no secret.

    Raises:
        TypeError: It is neither a text nor made by `secret_from_env` or `secret_from_file`.
        ValueError: It is empty.
    """
    if not isinstance(value, Secret):
        raise TypeError(
            f"{where} must be a str, forward.secret_from_env(…) or forward.secret_from_file(…), "
            f"not {type(value).__name__}"
        )
    if not value:
        raise ValueError(f"{where} must not be empty")


def is_header(value: str) -> bool:
    """Tell whether a header can hold this: another line would be another header."""
    return value.isascii() and value.isprintable()


class Secrets:
    """The secrets of one destination as far as they have been read. Thread: the loop's."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    async def reveal(self, secret: Secret) -> str:
        """Return a secret."""
        if isinstance(secret, str):
            value = secret
        else:
            value = await asyncio.to_thread(secret.read)
        self.hide(value)
        return value

    def hide(self, value: str) -> None:
        """Take this out of texts from now on."""
        if len(value) >= _LEAST:
            self._seen.add(value)

    def scrub(self, text: str) -> str:
        """Return a text without the secrets that a peer may have repeated in it."""
        for value in sorted(self._seen, key=len, reverse=True):
            text = text.replace(value, "…")
        return text
