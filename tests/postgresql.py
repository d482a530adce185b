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


class Server:
    """A server that can be stopped and started again.

    Args:
        durable: Whether it shall wait for the disk.
        options: Settings, each as `name=value`.
    """

    def __init__(self, *options: str, durable: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="orthanc-async-pg-"))
        self._options = ("listen_addresses=", f"fsync={'on' if durable else 'off'}", *options)
        self._process: subprocess.Popen[bytes] | None = None
        give_away(self.folder)
        self._account: dict[str, Any] = {"cwd": "/"}
        if os.geteuid() == 0:  # which PostgreSQL refuses
            entry = pwd.getpwnam(USER)
            self._account |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return url(self.folder)

    def create(self) -> None:
        """Make its files."""
        subprocess.run(
            [
                binaries() / "initdb",
                f"--pgdata={self.folder / 'data'}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            **self._account,
        )

    def start(self) -> None:
        """Start it; return once it answers."""
        command = [binaries() / "postgres", "-D", self.folder / "data", "-k", self.folder]
        for option in self._options:
            command += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            process = self.popen(*command, stdout=log, stderr=log)
        self._process = process
        wait_until(lambda: _answers(self.folder, process), "PostgreSQL to start", timeout=60.0)

    def popen(self, *command: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program as the server's user."""
        return subprocess.Popen([str(part) for part in command], **options, **self._account)

    def stop(self, *, crash: bool = False) -> None:
        """Stop it, which ends the sessions that are left.

        Args:
            crash: Whether it ends without tidying up, as by `pg_ctl stop -m immediate`.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.folder)


def give_away(folder: Path) -> None:
    """Make a folder the server's own."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(USER)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        folder.chmod(0o755)


@contextmanager
def server(*options: str, durable: bool = False) -> Iterator[Server]:
    """Run a server that is the caller's, to do with what he likes."""
    running = Server(*options, durable=durable)
    try:
        running.create()
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        running.remove()


@contextmanager
def postgresql(*, durable: bool = False) -> Iterator[Path]:
    """Run a server; give the folder of its socket, which is its host name too.

    Args:
        durable: Whether it shall wait for the disk.
    """
    with server(durable=durable) as running:
        yield running.folder


def url(folder: Path, database: str = "postgres") -> str:
    """Return the URL of a database of the server."""
    return f"postgresql://{USER}@/{database}?host={folder}"


def orthanc_index(folder: Path | str, password: str = "") -> dict[str, object]:
    """Return the section of Orthanc's configuration for an index in the server's database."""
    return {
        "EnableIndex": True,
        "EnableStorage": False,
        "Host": str(folder),
        "Database": "postgres",
        "Username": USER,
        "Password": password,
        "Lock": False,
    }


def _answers(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (folder / "log").read_text()
    try:
        psycopg.connect(url(folder)).close()
    except psycopg.OperationalError:
        return False
    return True
