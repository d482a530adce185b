"""Where the store of a real Orthanc lies, and what a wrong setting does."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SHARED = Path(__file__).with_name("durable_script.py")
FILE = "orthanc-async.db"
SCRIPT = """
    from orthanc_async import on_new_instance, rest, tasks

    @on_new_instance(durable="instances", since="all")
    async def deliver(instance):
        pass

    @tasks.task(queue="plain")
    async def plain():
        pass

    @rest.post("/enqueue")
    async def enqueue(request):
        try:
            await plain.enqueue()
        except Exception as error:
            return {"error": str(error)}
        return {}
"""


def kept(file: Path) -> list[tuple[Any, ...]]:
    """Return the queues and states of the entries in a file."""
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT queue, state FROM entry").fetchall()
    connection.close()
    return rows


def start(orthanc_server: OrthancFactory, config: dict[str, Any], **more: Any) -> Orthanc:
    """Start an Orthanc."""
    return orthanc_server([SHARED, SCRIPT], config=config, **more)


def delivered(server: Orthanc, dicom_file: Path) -> None:
    """Have one instance delivered, and stop."""
    server.upload(dicom_file)
    server.wait_json("/entries", lambda all_: [one["state"] for one in all_] == ["done"])
    server.stop()


def test_a_folder(orthanc_server: OrthancFactory, dicom_file: Path, tmp_path: Path) -> None:
    """`Python.Store` names a folder, which is made: the file is there and nowhere else."""
    config = {"Python": {"Store": str(tmp_path / "state")}}
    server = start(orthanc_server, config, storage=tmp_path / "storage")
    delivered(server, dicom_file)
    assert kept(tmp_path / "state" / FILE) == [("instances", "done")]
    assert list(tmp_path.rglob(FILE)) == [tmp_path / "state" / FILE]


def test_relative_folders(
    orthanc_server: OrthancFactory, dicom_file: Path, tmp_path: Path
) -> None:
    """A relative StorageDirectory counts from the configuration, as it does for Orthanc."""
    server = orthanc_server([SHARED, SCRIPT], config={"StorageDirectory": "images"})
    server.upload(dicom_file)
    server.wait_json("/entries", lambda all_: [one["state"] for one in all_] == ["done"])
    assert (server.folder / "images" / FILE).is_file()
    assert not (tmp_path / "images").exists()


def test_a_wrong_value(orthanc_server: OrthancFactory, dicom_file: Path) -> None:
    """A database that there is not: the error names the key, and Orthanc receives all the same."""
    config = {"Python": {"Store": "mysql://me:geheim@db/images"}}
    server = start(orthanc_server, config, errors=["cannot be opened"])
    [line] = server.wait_log(r"^E.*cannot be opened.*")
    assert '"Python.Store" must be a folder or a URL that begins with "postgresql://"' in line
    assert 'not with "mysql://"' in line
    server.upload(dicom_file)
    assert len(server.http.get("/instances").json()) == 1
    assert '"Python.Store" must be' in server.http.post("/enqueue").json()["error"]
    server.stop()
    assert "geheim" not in server.log_text()


def test_a_wrong_type(orthanc_server: OrthancFactory) -> None:
    """What is no text at all stops Orthanc's start, naming the key."""
    error = orthanc_server.fails(SCRIPT, config={"Python": {"Store": 5}})
    assert '"Python.Store"' in error.log
    assert "string" in error.log
