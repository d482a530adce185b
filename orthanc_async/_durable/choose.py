"""Which store there is: `Python.Store`, or one where Orthanc's own database is."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orthanc_async._durable.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orthanc_async._durable.store import Store

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_NAMES = {type(None): "null", bool: "a boolean", int: "a number", float: "a number"} | {
    str: "a string", list: "an array", dict: "an object",
}  # fmt: skip


def choose(
    setting: str,
    configuration: Mapping[str, Any],
    folder: Path,
    configuration_path: Path | None = None,
) -> Store:
    """Return the store for a setting and a configuration, not opened yet.

    Args:
        setting: `Python.Store`: a folder or a URL; empty: where Orthanc's own database is.
        configuration: Orthanc's, whole.
        folder: What a relative `Python.Store` lies in: Orthanc's working directory.
        configuration_path: Orthanc's file or folder of configurations: a relative
            `StorageDirectory` lies there. None: it lies in `folder`.

    Raises:
        StoreError: They name none; the text says which key, and what would do.
    """
    server = server_name(configuration)
    scheme = _URL.match(setting)
    if scheme:
        # The URL is not shown: it may hold a password.
        if scheme[1].lower() not in ("postgresql", "postgres"):
            raise StoreError(
                'configuration: "Python.Store" must be a folder or a URL that begins with '
                f'"postgresql://", not with "{scheme[0]}"'
            )
        return _postgresql(setting, server, "Python.Store")
    if setting:
        return _sqlite(folder / setting, server)
    section = _read(configuration, "PostgreSQL", dict, {}, "")
    if _read(section, "EnableIndex", bool, False, "PostgreSQL."):
        return _postgresql(url_of(section), server, "PostgreSQL")
    storage = _read(configuration, "StorageDirectory", str, "OrthancStorage", "")
    path = configuration_path or folder
    return _sqlite((path if path.is_dir() else path.parent) / storage, server)


def server_name(configuration: Mapping[str, Any]) -> str:
    """Return what tells this server from others on one database."""
    identifier = configuration.get("DatabaseServerIdentifier")
    if isinstance(identifier, str) and identifier:
        return identifier
    return f"{configuration.get('Name', 'Orthanc')}@{socket.gethostname()}"


def url_of(section: Mapping[str, Any]) -> str:
    """Return the URL of the database that Orthanc's `PostgreSQL` section names.

    Raises:
        StoreError: A value is of a wrong type.
    """
    within = "PostgreSQL."
    whole: str = _read(section, "ConnectionUri", str, "", within)
    if whole:
        return whole
    port = _read(section, "Port", int, 5432, within)
    if not 1 <= port <= 65535:
        raise StoreError(f'configuration: "PostgreSQL.Port" must be 1 to 65535, not {port}')
    fields = {
        "host": _read(section, "Host", str, "localhost", within),
        "port": str(port),
        "dbname": _read(section, "Database", str, "", within),
        "user": _read(section, "Username", str, "", within),
        "password": _read(section, "Password", str, "", within),
        # As Orthanc's plugin does it: without a look at the certificate.
        "sslmode": "require" if _read(section, "EnableSsl", bool, False, within) else "disable",
    }
    given = (f"{key}={quote(value, safe='')}" for key, value in fields.items() if value)
    return f"postgresql://?{'&'.join(given)}"


def _sqlite(folder: Path, server: str) -> Store:
    from orthanc_async._durable.sqlite import SQLiteStore

    return SQLiteStore(folder, server=server)


def _postgresql(url: str, server: str, key: str) -> Store:
    try:
        from orthanc_async._durable.postgres import PostgresStore
    except ImportError as error:
        raise StoreError(
            f'configuration: "{key}" names a PostgreSQL database, for which psycopg cannot be '
            f"imported ({error}): pip install 'psycopg[binary]' in Orthanc's Python environment, "
            'or set "Python.Store" to a folder'
        ) from error
    try:
        return PostgresStore(url, server=server)
    except StoreError as error:
        raise StoreError(f'configuration: "{key}": {error}') from None


def _read(section: Mapping[str, Any], key: str, kind: type, default: Any, within: str) -> Any:
    value = section.get(key, default)
    # An exact type, since a boolean is a number in Python; no value in the text: passwords.
    if type(value) is not kind:
        raise StoreError(
            f'configuration: "{within}{key}" must be {_NAMES[kind]}, not '
            f"{_NAMES.get(type(value), 'something else')}"
        )
    return value
