"""Deliveries while the PostgreSQL server of the store, and of Orthanc's index, has troubles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgresql
import psycopg
import pytest
from integration.forward_receiver import Receiver
from integration.test_forward_kill import make_studies
from integration.test_forward_shared import INDEX
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import OrthancFactory

PASSWORD = "a-password-that-nobody-may-see"
STUDIES, FILES = 12, 2
SCRIPT = """
    import os
    from orthanc_async import forward, on_stable_study

    archive = forward.to_http(
        os.environ["RECEIVER"], path="/{instance}", concurrency=2, at_once=1,
        retry=forward.Retry(attempts=3, backoff=forward.Backoff(0.2, 2)),
    )
    on_stable_study(archive, durable="archive")
"""


@pytest.fixture
def server() -> Iterator[postgresql.Server]:
    """Run a server that the test may stop."""
    with postgresql.server(durable=True) as server:
        yield server


def rows(server: postgresql.Server, columns: str) -> list[tuple[object, ...]]:
    """Read the entries; none while the server does not answer."""
    try:
        with psycopg.connect(server.url) as connection:
            return connection.execute(
                f"SELECT {columns} FROM orthanc_async.entry ORDER BY id".encode()
            ).fetchall()
    except psycopg.Error:
        return []


@pytest.mark.timeout(240)
def test_restarted(
    orthanc_server: OrthancFactory, tmp_path: Path, dicom_file: Path, server: postgresql.Server
) -> None:
    """Restarts of the server, clean or not, hold deliveries up: none is lost, fails or dies."""
    with Receiver() as receiver:
        receiver.delay = 0.3
        orthanc = orthanc_server(
            SCRIPT,
            plugins=[orthanc_server.plugin, INDEX]
            if hasattr(orthanc_server, "plugin")
            else _plugins(),
            storage=tmp_path / "storage",
            environment={"RECEIVER": receiver.url},
            errors=[".*"],
            config={
                "StableAge": 1,
                "PostgreSQL": {
                    "EnableIndex": True,
                    "EnableStorage": False,
                    "Host": str(server.folder),
                    "Database": "postgres",
                    "Username": postgresql.USER,
                    "Password": PASSWORD,
                    "Lock": False,
                },
            },
        )
        wanted = {}
        for files in make_studies(dicom_file, STUDIES, FILES):
            for data in files:
                wanted[orthanc.upload(data)["ID"]] = data
        for crash, before in ((False, 3), (True, 10)):
            wait_until(
                lambda: len(receiver.files),
                "files",
                done=lambda count, before=before: count >= before,
                timeout=30,
            )
            server.stop(crash=crash)
            server.start()
        wait_until(
            lambda: rows(server, "state"),
            "the end",
            timeout=90,
            done=lambda found: found == [("done",)] * STUDIES,
        )
        print(rows(server, "state, attempts, interruptions, error"))
        print(orthanc.log_text()[-14000:])
        assert {path.strip("/"): data for path, data in receiver.files.items()} == wanted
        assert rows(server, "attempts, interruptions") == [(0, 0)] * STUDIES


def _plugins():
    from orthanc_async import _server_config

    return [_server_config.plugin_library(), INDEX]
