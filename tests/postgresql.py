"""A PostgreSQL server of the tests' own, reached by a socket in a temporary folder only."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from orthanc_async._durable.postgres import PostgresStore
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "postgres"  # the superuser in the database; in the system only if the tests run as root


@dataclass(frozen=True)
class Database:
    """A schema of its own for each test; it need not exist yet."""

    url: str
    schema: str

    def store(self, server: str = "one", schema: str | None = None) -> PostgresStore:
        """Return a store, not opened."""
        return PostgresStore(self.url, server=server, schema=schema or self.schema)

    def execute(self, text: str) -> list[tuple[object, ...]]:
        """Run a statement; `{schema}` stands for the schema."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(text.format(schema=self.schema).encode())
            return cursor.fetchall() if cursor.description else []


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs: Debian does not put it on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(shutil.which("initdb") or "")
    ]
    if not found[-1].is_file():
        raise RuntimeError("PostgreSQL is not installed: run scripts/setup")
    return found[-1].parent


@contextmanager
def postgresql(*, durable: bool = False) -> Iterator[Path]:
    """Run a server; give the folder of its socket, which is its host name too.

    Args:
        durable: Whether it shall wait for the disk.
    """
    folder = Path(tempfile.mkdtemp(prefix="orthanc-async-pg-"))
    account: dict[str, Any] = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses
        entry = pwd.getpwnam(USER)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        folder.chmod(0o755)
        account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    try:
        subprocess.run(
            [
                binaries() / "initdb",
                f"--pgdata={folder / 'data'}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd="/",
            **account,
        )
        log = (folder / "log").open("wb")
        with log:
            process = subprocess.Popen(
                [
                    binaries() / "postgres",
                    "-D",
                    folder / "data",
                    "-k",
                    folder,
                    "-c",
                    "listen_addresses=",
                    "-c",
                    f"fsync={'on' if durable else 'off'}",
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                **account,
            )
        try:
            wait_until(lambda: _answers(folder, process), "PostgreSQL to start", timeout=60.0)
            yield folder
        finally:
            process.send_signal(signal.SIGINT)  # ends the sessions that are left
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def url(folder: Path, database: str = "postgres") -> str:
    """Return the URL of a database of the server."""
    return f"postgresql://{USER}@/{database}?host={folder}"


def _answers(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (folder / "log").read_text()
    try:
        psycopg.connect(url(folder)).close()
    except psycopg.OperationalError:
        return False
    return True
