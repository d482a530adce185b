"""The store's disk is full, its file is in use, damaged or moved, the clock is set back.

Each time the log names the file and says what to do, Orthanc receives, and nothing is lost.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import disks
import pytest
from integration.durable_lines import lines, wait_lines
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.conftest import Orthanc, OrthancFactory

SHARED = Path(__file__).with_name("durable_script.py")
FILE = "orthanc-async.db"
SCRIPT = """
    from durable_script import hold, note
    from orthanc_async import on_new_instance
    from orthanc_async._durable import engine, worker

    engine.LOOK_AFTER = 0.5
    worker.RENEW = 1

    @on_new_instance(durable="instances")
    async def deliver(instance):
        note("begin", id=instance.id)
        await hold()
        note("end", id=instance.id)
"""
FAILS = [r"the store of durable events and tasks (fails|cannot be opened)", r"it is begun again"]


@pytest.fixture
def start(orthanc_server: OrthancFactory, tmp_path: Path) -> Callable[..., Orthanc]:
    """Give a function that starts an Orthanc with its store in a folder of its own."""
    shutil.copy(SHARED, tmp_path)

    def start(store: Path, until: str = "/subscribed", **more: Any) -> Orthanc:
        more.setdefault("storage", tmp_path / "storage")
        server = orthanc_server(
            [tmp_path / SHARED.name, SCRIPT],
            config={"Python": {"Store": str(store)}, "StableAge": 1},
            errors=FAILS,
            **more,
        )
        server.wait_json(until, lambda _: True, timeout=30)
        return server

    return start


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of 2 MB; to be named before `start`, so that it is there until Orthanc has ended."""
    with disks.small_disk() as folder:
        yield folder


def told(server: Orthanc, file: Path, *words: str) -> None:
    """Wait for the error; it names the file and what helps, and is said once."""
    [line] = server.wait_log(r"^E.*the store of durable events and tasks .*", timeout=40)
    for word in (str(file), "What is received is stored by Orthanc nevertheless", *words):
        assert word in line


def upload(server: Orthanc, files: list[Path]) -> list[str]:
    """Store files, each of which must be accepted; return Orthanc's identifiers."""
    return [server.upload(file)["ID"] for file in files]


def all_delivered(folder: Path, wanted: list[str]) -> list[str]:
    """Wait until all have been delivered; return what was, in order, with what came twice."""
    wait_until(
        lambda: {line["id"] for line in lines(folder, "end")},
        "all deliveries",
        done=lambda found: found == set(wanted),
        timeout=60,
    )
    return [line["id"] for line in lines(folder, "end")]


def test_full_disk(
    disk: Path, start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """The disk fills up during a delivery: with room again all goes on, and none is repeated."""
    server = start(disk)
    wanted = upload(server, dicom_files[:1])
    wait_lines(tmp_path, 1, "end")
    (tmp_path / "hold").touch()
    wanted += upload(server, dicom_files[1:2])
    wait_lines(tmp_path, 2, "begin")
    disks.fill_up(disk / "ballast")
    wanted += upload(server, dicom_files[2:6])
    told(server, disk / FILE, "the disk is full", "make room, and it goes on")
    # Its end cannot be written, but it has come.
    (tmp_path / "hold").unlink()
    wait_lines(tmp_path, 2, "end")
    wanted += upload(server, dicom_files[6:])
    (disk / "ballast").unlink()
    all_delivered(tmp_path, wanted)
    server.wait_log(rf"^W.*the store {disk / FILE} works again after", timeout=40)
    server.wait_json("/entries", lambda all_: {one["state"] for one in all_} == {"done"})
    assert sorted(line["id"] for line in lines(tmp_path, "end")) == sorted(wanted)


def test_full_disk_at_the_start(
    disk: Path, start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """A store that cannot be made is made once there is room, with what came before that."""
    disks.fill_up(disk / "ballast")
    server = start(disk, until="/system")
    told(server, disk / FILE, "cannot be opened", "room")
    wanted = upload(server, dicom_files)
    (disk / "ballast").unlink()
    assert sorted(all_delivered(tmp_path, wanted)) == sorted(wanted)
    assert "is open now: work goes on" in server.log_text()


def test_in_use(start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path) -> None:
    """While another program has locked the file nothing is delivered, and then all of it."""
    store = tmp_path / "store"
    store.mkdir()
    other = sqlite3.connect(store / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    server = start(store, until="/system")
    told(server, store / FILE, "is in use by another program: stop that")
    wanted = upload(server, dicom_files)
    other.close()
    assert sorted(all_delivered(tmp_path, wanted)) == sorted(wanted)


def test_two_on_one_folder(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """The second of two Orthancs names the first, and delivers all of its own once that stops."""
    store = tmp_path / "store"
    first = start(store)
    upload(first, dicom_files[:2])
    second = start(store, until="/system", storage=tmp_path / "other")
    told(second, store / FILE, f"is in use by process {first.pid} on", '"Python.Store"')
    wanted = upload(second, dicom_files[2:5])
    # The first goes further in every respect: its numbers are higher, and its times later.
    wait_until(lambda: second.http.get("/tools/now").text, "a second", done=_after(second))
    wanted += upload(first, dicom_files[5:])
    before = [line["id"] for line in wait_lines(tmp_path, len(dicom_files) - 3, "end")]
    assert not set(before) & set(wanted[:3])
    first.stop()
    all_delivered(tmp_path, [*before, *wanted])


def _after(server: Orthanc) -> Callable[[str], bool]:
    now = server.http.get("/tools/now").text
    return lambda text: text > now


def test_damaged_at_the_start(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """A damaged file is left alone; once it is moved away, what came meanwhile is delivered."""
    store = tmp_path / "store"
    server = start(store)
    before = upload(server, dicom_files[:2])
    all_delivered(tmp_path, before)
    server.stop()
    damaged = b"\xa5" * (store / FILE).stat().st_size
    (store / FILE).write_bytes(damaged)
    server = start(store, until="/system")
    told(server, store / FILE, "is damaged", "move it away", "is lost", f'"{FILE}-wal"')
    wanted = upload(server, dicom_files[2:])
    assert (store / FILE).read_bytes() == damaged
    (store / FILE).rename(tmp_path / "away")
    assert sorted(all_delivered(tmp_path, before + wanted)) == sorted(before + wanted)
    assert "is open now: work goes on" in server.log_text()


def test_damage_found_later(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """What is damaged while it is open is left once it is moved away, without a restart."""
    store = tmp_path / "store"
    server = start(store)
    before = upload(server, dicom_files[:3])
    all_delivered(tmp_path, before)
    server.stop()
    with sqlite3.connect(store / FILE) as connection:  # what only reading the entry finds
        connection.execute("UPDATE entry SET state = 'waiting', payload = '{' WHERE id = 2")
    connection.close()
    server = start(store, until="/system")
    wanted = upload(server, dicom_files[3:])
    told(server, store / FILE, "is damaged", "move it away", "also while Orthanc runs")
    for file in store.glob(f"{FILE}*"):
        if not file.name.endswith(".lock"):
            file.rename(tmp_path / f"away-{file.name}")
    assert set(all_delivered(tmp_path, before + wanted)) == set(before + wanted)
    server.wait_log(rf"^W.*{store / FILE} was moved away or replaced while it was open")
    kept = sqlite3.connect(store / FILE, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        kept.execute("SELECT * FROM entry")
    kept.close()
