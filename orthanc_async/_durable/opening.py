"""Which store there is: `Python.Store`, or what Orthanc itself uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orthanc

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
    """
    index = configuration.get("PostgreSQL", {})
    if setting.startswith(_URLS):
        from orthanc_async._durable.postgres import PostgreSQLStore

        return PostgreSQLStore(setting, server=_server_name(configuration))
    if not setting and index.get("EnableIndex") is True:
        from orthanc_async._durable.postgres import PostgreSQLStore, url_of

        return PostgreSQLStore(url_of(index), server=_server_name(configuration))
    from orthanc_async._durable.sqlite import SQLiteStore

    chosen = setting or configuration.get("StorageDirectory", "OrthancStorage")
    return SQLiteStore(folder / chosen, server=_server_name(configuration))


def _server_name(configuration: Mapping[str, Any]) -> str:
    import socket

    identifier = configuration.get("DatabaseServerIdentifier")
    if isinstance(identifier, str) and identifier:
        return identifier
    name = configuration.get("Name", "Orthanc")
    return f"{name}@{socket.gethostname()}"
