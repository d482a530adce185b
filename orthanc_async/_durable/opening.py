"""Which store there is: `Python.Store`, or what Orthanc itself uses."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orthanc
from orthanc_async._durable.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orthanc_async._durable.store import Store

_URLS = ("postgresql://", "postgres://")


def make_store() -> Store:
    """Return the store that the configuration chooses, not opened yet.

    Raises:
        StoreError: The configuration names none that there is.
    """
    from orthanc_async._host._native import native

    configuration: dict[str, Any] = json.loads(orthanc.GetConfiguration())
    return choose(native._settings()["store"], configuration, Path.cwd())


def choose(setting: str, configuration: Mapping[str, Any], folder: Path) -> Store:
    """Return the store for a setting and a configuration.

    Args:
        setting: `Python.Store`: a folder, a URL, or nothing.
        configuration: Orthanc's, whole.
        folder: What relative folders lie in: Orthanc's working directory.

    Raises:
        StoreError: The configuration names none that there is.
    """
    server = _server_name(configuration)
    index = configuration.get("PostgreSQL")
    if setting.startswith(_URLS):
        return _postgresql(setting, server)
    if not setting and isinstance(index, dict) and index.get("EnableIndex") is True:
        return _postgresql(url_of(index), server)
    from orthanc_async._durable.sqlite import SQLiteStore

    chosen = setting or configuration.get("StorageDirectory", "OrthancStorage")
    return SQLiteStore(folder / chosen, server=server)


def url_of(index: Mapping[str, Any]) -> str:
    """Return the URL of the server that Orthanc's own section `PostgreSQL` names."""
    uri = index.get("ConnectionUri")
    if isinstance(uri, str) and uri:
        return uri
    given = {
        "host": index.get("Host", "localhost"),
        "port": index.get("Port", 5432),
        "dbname": index.get("Database"),
        "user": index.get("Username"),
        "password": index.get("Password"),
        "sslmode": "require" if index.get("EnableSsl") is True else None,
    }
    # In the query, a host may also be the folder of a socket.
    return "postgresql:///?" + urlencode(
        {name: str(value) for name, value in given.items() if value not in {None, ""}},
        quote_via=quote,
    )


def _postgresql(url: str, server: str) -> Store:
    try:
        from orthanc_async._durable.postgres import PostgresStore
    except ImportError as error:
        raise StoreError(
            "the store of durable events and tasks is to be in PostgreSQL, and psycopg cannot be "
            f'imported ({error}): pip install "orthanc-async[postgresql]", or set "Python.Store" '
            "to a folder"
        ) from None
    return PostgresStore(url, server=server)


def _server_name(configuration: Mapping[str, Any]) -> str:
    identifier = configuration.get("DatabaseServerIdentifier")
    if isinstance(identifier, str) and identifier:
        return identifier
    return f"{configuration.get('Name') or 'Orthanc'}@{socket.gethostname()}"
