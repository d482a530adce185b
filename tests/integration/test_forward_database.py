"""Deliveries while the PostgreSQL server of the store, and of Orthanc's index, is in trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

    from integration.conftest import Orthanc, OrthancFactory

PASSWORD = "a-password-that-nobody-may-see"
FILES = 2
SCRIPT = """
    import os
    from orthanc_async import forward, on_stable_study

    archive = forward.to_http(
        os.environ["RECEIVER"], path="/{instance}", concurrency=2, at_once=1,
        retry=forward.Retry(attempts=1, backoff=forward.Backoff(0.2, 2)),
    )
    on_stable_study(archive, durable="archive")
"""


@pytest.fixture
def server() -> Iterator[postgresql.Server]:
    """Run a server that the test may stop; named first, it ends after Orthanc."""
    with postgresql.server() as server:
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


def upload(orthanc: Orthanc, dicom_file: Path, studies: int) -> dict[str, bytes]:
    """Store studies; return what the receiver must have."""
    files = [data for study in make_studies(dicom_file, studies, FILES) for data in study]
    return {f"/{orthanc.upload(data)['ID']}": data for data in files}


@pytest.mark.timeout(240)
def test_restarted(
    server: postgresql.Server,
    orthanc_server: OrthancFactory,
    tmp_path: Path,
    dicom_file: Path,
    long_form: bool,  # noqa: FBT001
) -> None:
    """Restarts of the index's and the store's server hold deliveries up; none fails or is lost."""
    from orthanc_async import _server_config

    studies = 40 if long_form else 6
    with Receiver() as receiver:
        receiver.delay = 0.2
        orthanc = orthanc_server(
            SCRIPT,
            plugins=[_server_config.plugin_library(), INDEX],
            storage=tmp_path / "storage",
            environment={"RECEIVER": receiver.url},
            errors=[".*"],
            config={
                "StableAge": 1,
                "PostgreSQL": postgresql.orthanc_index(server.folder, PASSWORD),
            },
        )
        wanted = upload(orthanc, dicom_file, studies)
        for number in range(1, 8 if long_form else 3):
            wait_until(
                lambda: len(receiver.files),
                "files",
                done=lambda count, number=number: count >= number * 4,  # type: ignore[misc]
                timeout=30,
            )
            server.stop(crash=number % 2 == 0)
            server.start()
        wait_until(
            lambda: rows(server, "state"),
            "all to be done",
            done=lambda found: found == [("done",)] * studies,
            timeout=90,
        )
        assert receiver.files == wanted
        # One attempt each is all that they have.
        assert rows(server, "attempts, reason") == [(0, None)] * studies
        assert PASSWORD not in orthanc.log_text()


def start(
    factory: OrthancFactory, server: postgresql.Server, receiver: Receiver, **more: Any
) -> Orthanc:
    """Start an Orthanc whose store is in the database, and whose index is not."""
    url = server.url.replace("@", f":{PASSWORD}@")
    return factory(
        SCRIPT,
        environment={"RECEIVER": receiver.url},
        config={"StableAge": 1, "Python": {"Store": url}},
        **more,
    )


def test_away_at_start(
    server: postgresql.Server, orthanc_server: OrthancFactory, dicom_file: Path
) -> None:
    """Orthanc starts and receives without its store's server, and delivers once that is there."""
    server.stop()
    with Receiver() as receiver:
        orthanc = start(orthanc_server, server, receiver, errors=["cannot be opened"])
        wanted = upload(orthanc, dicom_file, 2)
        orthanc.wait_json(
            "/changes", lambda page: "StableStudy" in str(page), timeout=30
        )  # before there was a store
        shown = f"cannot be opened: postgresql://{postgresql.USER}@{server.folder}"
        wait_until(lambda: shown in orthanc.log_text(), "the error")
        server.start()
        wait_until(lambda: receiver.files == wanted, "the deliveries", timeout=60)
        assert "is open now" in orthanc.log_text()
        assert PASSWORD not in orthanc.log_text()


def test_takes_no_writes(
    server: postgresql.Server, orthanc_server: OrthancFactory, dicom_file: Path
) -> None:
    """While the store cannot be written Orthanc receives; then all of it is delivered."""
    with Receiver() as receiver:
        orthanc = start(orthanc_server, server, receiver, errors=["fails, postgresql://"])
        wait_until(lambda: has_store(server), "the store")
        change(server, "ALTER SYSTEM SET default_transaction_read_only = on")
        wanted = upload(orthanc, dicom_file, 2)
        wait_until(
            lambda: "default_transaction_read_only is on" in orthanc.log_text(), "the error"
        )
        change(server, "ALTER SYSTEM RESET default_transaction_read_only")
        wait_until(lambda: receiver.files == wanted, "the deliveries", timeout=60)
        wait_until(lambda: "works again" in orthanc.log_text(), "the log to say so")


def change(server: postgresql.Server, statement: str) -> None:
    """Change a setting."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(statement.encode())
        connection.execute("SELECT pg_reload_conf()")


def has_store(server: postgresql.Server) -> bool:
    """Tell whether Orthanc has opened its store, and subscribed."""
    text = b"SELECT 1 FROM orthanc_async.subscription"
    try:
        with psycopg.connect(server.url) as connection:
            return connection.execute(text).fetchone() is not None
    except psycopg.Error:
        return False
