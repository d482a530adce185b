"""What PostgreSQL and the network say, as errors of a store that say what helps."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import psycopg
from orthanc_async._durable.store import StoreDamagedError, StoreError
from psycopg import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAMAGES = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.InvalidSchemaName,
)
_RIGHTS = (
    "the user needs the right to create a schema in the database (GRANT CREATE ON DATABASE …), or "
    "to own the one that is there"
)
_FULL = "nothing was written; make room on the disk of the database, and it goes on"
_READ_ONLY = (
    "the server takes no writes: it is a standby, or default_transaction_read_only is on; once it "
    "takes them, or the URL names the one that does, it goes on"
)
_CONNECTIONS = (
    "end other connections, or raise max_connections, or the limit of the user or the database: "
    "each Orthanc has up to 5 for this"
)
_CREDENTIALS = (
    'user and password are those of "Python.Store", or without it of "PostgreSQL", in Orthanc\'s '
    "configuration, which it reads when it starts"
)
_HELP: tuple[tuple[type[Exception], str, str], ...] = (
    (errors.InsufficientPrivilege, "", _RIGHTS),
    (errors.DiskFull, "", _FULL),
    (errors.ReadOnlySqlTransaction, "", _READ_ONLY),
    # Of a connection that is refused, libpq gives no code, only the server's words.
    (psycopg.OperationalError, "session is read-only|standby mode", _READ_ONLY),
    (
        psycopg.OperationalError,
        "too many clients|too many connections|remaining connection slots|no more connections",
        _CONNECTIONS,
    ),
    (
        psycopg.OperationalError,
        "auth.* failed|no password supplied|role .* not exist",
        _CREDENTIALS,
    ),
)


@contextlib.contextmanager
def explained(description: str) -> Iterator[None]:
    """Turn errors into those of a store.

    Args:
        description: Which database it is.

    Raises:
        StoreError, StoreDamagedError: In place of an error of PostgreSQL or of the network.
    """
    try:
        yield
    except TimeoutError as error:
        raise StoreError(
            f"{description} does not answer: see whether the server works and can be reached"
        ) from error
    except _DAMAGES as error:
        raise StoreDamagedError(
            f"{description}: the schema is not as it was made ({_text(error)}): restore it from a "
            "backup, and it goes on; or drop it and start Orthanc anew: it is then made anew, "
            "empty, and tasks and deliveries that had not ended are lost"
        ) from error
    except (psycopg.Error, OSError) as error:
        raise StoreError(f"{description}: {_text(error)}{_help(error)}") from error


def _help(error: BaseException) -> str:
    text = str(error)
    for kind, pattern, help_ in _HELP:
        if isinstance(error, kind) and re.search(pattern, text):
            return f": {help_}"
    return ""


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
