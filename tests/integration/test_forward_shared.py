"""Two Orthancs on one PostgreSQL share the deliveries; one of them is killed in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgresql
import psycopg
import pytest
from integration.forward_receiver import Receiver
from integration.test_forward_kill import make_studies
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

INDEX = "/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so"
STUDIES, FILES = 24, 2

SCRIPT = """
    import os
    from orthanc_async import forward, on_stable_study

    archive = forward.to_http(os.environ["RECEIVER"], path="/{instance}", concurrency=2)
    on_stable_study(archive, durable="archive")
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Run PostgreSQL; give the folder of its socket."""
    with postgresql.postgresql() as folder:
        yield str(folder)


def start(
    factory: OrthancFactory, database: str, folder: Path, receiver: Receiver, name: str
) -> Orthanc:
    """Start an Orthanc whose index lies in the database."""
    from orthanc_async import _server_config

    return factory(
        SCRIPT,
        name=f"{name}.py",
        plugins=[_server_config.plugin_library(), INDEX],
        storage=folder / "storage",
        environment={"RECEIVER": f"http://127.0.0.1:{receiver.port}"},
        errors=[".*"],
        exit_code=None,
        config={
            "StableAge": 1,
            "DatabaseServerIdentifier": name,
            "PostgreSQL": postgresql.orthanc_index(database),
        },
    )


def query(database: str, text: str) -> list[tuple[object, ...]]:
    """Ask the store's tables."""
    with psycopg.connect(postgresql.url(database)) as connection:  # type: ignore[arg-type]
        return connection.execute(text.encode()).fetchall()


@pytest.mark.timeout(240)
def test_one_of_two_is_killed(
    orthanc_server: OrthancFactory, tmp_path: Path, dicom_file: Path, database: str
) -> None:
    """Both work; what the killed one had begun is delivered by the other; no key comes twice."""
    wanted: dict[str, bytes] = {}
    with Receiver() as receiver:
        receiver.delay = 0.4
        servers = [
            start(orthanc_server, database, tmp_path, receiver, name) for name in ("one", "two")
        ]
        for number, files in enumerate(make_studies(dicom_file, STUDIES, FILES)):
            for data in files:
                wanted[servers[number % 2].upload(data)["ID"]] = data
        text = "SELECT DISTINCT server FROM orthanc_async.entry WHERE state = 'done'"
        wait_until(lambda: query(database, text), "both to deliver", done=lambda n: len(n) == 2)
        mine = "SELECT id FROM orthanc_async.entry WHERE state = 'running' AND server = 'one'"
        wait_until(lambda: query(database, mine), "the first to have attempts that run")
        servers[0].kill()
        left = {row[0] for row in query(database, mine)}
        assert left
        # All were stable before the first was delivered, and the other one knows their events.
        wait_until(
            lambda: len(receiver.files),
            "the other one to deliver what is left",
            done=lambda count: count == len(wanted),
            timeout=120,
        )
        text = "SELECT count(*) FROM orthanc_async.entry WHERE state <> 'done'"
        wait_until(
            lambda: query(database, text)[0][0], "the end", done=lambda n: n == 0, timeout=90
        )
        assert {path.strip("/"): data for path, data in receiver.files.items()} == wanted
        text = "SELECT id, server, interruptions FROM orthanc_async.entry"
        rows = {row[0]: row[1:] for row in query(database, text)}
        assert all(rows[number] == ("two", 1) for number in left)
        sent = [headers["Idempotency-Key"] for headers in receiver.headers]
        assert len(set(sent)) == len(wanted)
        # Twice came at most what was under way when the first one was killed.
        assert len(sent) - len(wanted) <= FILES * len(left)
