"""Durable subscriptions: what was received is delivered, whatever happens to Orthanc."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from integration.durable_lines import lines, wait_lines
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.conftest import Orthanc, OrthancFactory

SHARED = Path(__file__).with_name("durable_script.py")
STABLE = """
    from durable_script import hold, note
    from orthanc_async import on_stable_study, tasks

    @on_stable_study(durable="archive", retry=tasks.Retry(3, tasks.Backoff(0.05, 0.05)))
    async def deliver(study):
        note("begin", id=study.id)
        await hold()
        note("end", id=study.id, instances=len(await study.instances()))
"""
KILLED = -9


@pytest.fixture
def start(orthanc_server: OrthancFactory, tmp_path: Path) -> Callable[..., Orthanc]:
    """Give a function that starts an Orthanc on the test's one storage folder."""
    shutil.copy(SHARED, tmp_path)

    def start(script: str = STABLE, until: str = "/subscribed", **more: Any) -> Orthanc:
        config = {"StableAge": 1, **more.pop("config", {})}
        more.setdefault("storage", tmp_path / "storage")
        server = orthanc_server([tmp_path / SHARED.name, script], config=config, **more)
        # A route is served once the store is open: new subscriptions have begun.
        server.wait_json(until, lambda _: True, timeout=30)
        return server

    return start


def _deliveries(folder: Path, kind: str = "end") -> list[dict[str, Any]]:
    return lines(folder, kind)


def _wait(folder: Path, count: int, kind: str = "end") -> list[dict[str, Any]]:
    return wait_lines(folder, count, kind, timeout=30)


def _all_done(entries: list[dict[str, Any]]) -> bool:
    return bool(entries) and all(entry["state"] == "done" for entry in entries)


def test_delivered_once(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """A stable study is delivered, once, with its key; the sweep after a restart adds nothing."""
    server = start()
    for file in dicom_files:
        server.upload(file)
    [delivered] = _wait(tmp_path, 1)
    [entry] = server.wait_json("/entries", _all_done)
    study = server.http.get("/studies?expand").json()[0]
    assert delivered["key"] == f"Study/{study['ID']}/{study['LastUpdate']}"
    assert (delivered["instances"], delivered["number"]) == (11, 1)
    assert entry["resource"] == f"/studies/{study['ID']}"
    assert entry["payload"]["type"] == "StableStudy"
    server.stop()
    server = start(STABLE + WITNESS)
    # Both are swept together: once the new one has its study, the old one has been looked at.
    _wait(tmp_path, 1, "witness")
    assert len(_deliveries(tmp_path)) == 1


WITNESS = """
    @on_stable_study(durable="witness", since="all")
    async def witness(study):
        note("witness", id=study.id)
"""


def test_killed_before_the_event_is_read(
    start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path
) -> None:
    """What Orthanc has logged while nobody read it is delivered after a kill."""
    start().stop()
    server = start("", exit_code=KILLED)
    server.upload(dicom_file)
    server.wait_json("/changes", _has_stable_study)
    server.kill()
    start()
    [delivered] = _wait(tmp_path, 1)
    assert delivered["number"] == 1


def test_killed_during_the_delivery(
    start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path
) -> None:
    """A delivery that a kill has cut off is made again, with the same key, and not counted."""
    (tmp_path / "hold").touch()
    server = start(exit_code=KILLED)
    server.upload(dicom_file)
    [first] = _wait(tmp_path, 1, "begin")
    server.kill()
    (tmp_path / "hold").unlink()
    server = start()
    [second] = _wait(tmp_path, 1)
    assert (second["key"], second["number"]) == (first["key"], 2)
    [entry] = server.wait_json("/entries", _all_done)
    assert (entry["attempts"], entry["interruptions"]) == (0, 1)


def test_killed_before_the_event(
    start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path
) -> None:
    """A study whose stable event was never logged is found by the sweep."""
    server = start(config={"StableAge": 60}, exit_code=KILLED)
    server.upload(dicom_file)
    server.kill()
    server = start()
    assert not _has_stable_study(server.http.get("/changes").json())
    [delivered] = _wait(tmp_path, 1)
    assert delivered["instances"] == 1
    assert not _has_stable_study(server.http.get("/changes").json())


def test_study_that_grows(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """A study that grew after its delivery is delivered again, with another key."""
    server = start()
    server.upload(dicom_files[0])
    _wait(tmp_path, 1)
    server.upload(dicom_files[1])
    first, second = _wait(tmp_path, 2)
    assert (first["instances"], second["instances"]) == (1, 2)
    assert first["key"] != second["key"]
    assert first["id"] == second["id"]


def test_begins_now(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """A new subscription leaves alone what was there, unless it says since when."""
    server = start("")
    server.upload(dicom_files[0])
    server.wait_json("/changes", _has_stable_study)
    server.stop()
    script = (
        STABLE
        + WITNESS
        + """
    import datetime
    from orthanc_async import on_new_instance
    yesterday = datetime.date.today() - datetime.timedelta(days=1)
    tomorrow = datetime.date.today() + datetime.timedelta(days=2)

    @on_stable_study(durable="yesterday", since=yesterday)
    async def from_yesterday(study):
        note("yesterday")

    @on_stable_study(durable="tomorrow", since=tomorrow)
    async def from_tomorrow(study):
        note("tomorrow")

    @on_new_instance(durable="instances")
    def instance(instance):
        note("instance")

    @on_new_instance(durable="all-instances", since="all")
    def any_instance(instance):
        note("any instance")

    @on_new_instance(durable="instances-of-tomorrow", since=tomorrow)
    def late_instance(instance):
        note("late instance")
    """
    )
    server = start(script)
    for kind in ("witness", "yesterday", "any instance"):
        _wait(tmp_path, 1, kind)
    for kind in ("begin", "tomorrow", "instance", "late instance"):
        assert _deliveries(tmp_path, kind) == []
    other: Any = pydicom.dcmread(dicom_files[1])
    other.StudyInstanceUID = other.SeriesInstanceUID = "1.2.3"
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    file = io.BytesIO()
    other.save_as(file)
    server.upload(file.getvalue())
    for kind in ("end", "instance", "late instance"):
        _wait(tmp_path, 1, kind)
    _wait(tmp_path, 2, "witness")
    _wait(tmp_path, 2, "any instance")


def test_changes_are_cleared(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """Clearing /changes loses no study, whether its event was read or not."""
    start().stop()
    server = start("")
    server.upload(dicom_files[0])
    server.wait_json("/changes", _has_stable_study)
    assert server.http.delete("/changes").status == 200
    server.stop()
    server = start()
    _wait(tmp_path, 1)
    assert server.http.delete("/changes").status == 200
    server.upload(dicom_files[1])
    _wait(tmp_path, 2)


@pytest.mark.parametrize("meanwhile", [False, True])
def test_index_is_replaced(
    start: Callable[..., Orthanc],
    dicom_files: list[Path],
    tmp_path: Path,
    meanwhile: bool,  # noqa: FBT001
) -> None:
    """An index that begins anew is read from its beginning, also where its numbers are higher."""
    script = """
        from durable_script import note
        from orthanc_async import on_new_instance

        @on_new_instance(durable="instances")
        async def deliver(instance):
            note("end", id=instance.id)
    """
    server = start(script)
    for file in dicom_files[:2]:
        server.upload(file)
    _wait(tmp_path, 2)
    server.stop()
    for file in (tmp_path / "storage").glob("index*"):
        file.unlink()
    errors = ["was not stored because an error"]
    server = start("" if meanwhile else script, errors=errors)
    for file in dicom_files:
        server.upload(file)
    if meanwhile:
        server.stop()
        server = start(script)
    found = _wait(tmp_path, 13)
    server.wait_json("/entries", _all_done)
    assert len({line["key"] for line in found}) == 13
    assert len({line["id"] for line in found[2:]}) == 11


def test_deleted_before_its_delivery(
    start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path
) -> None:
    """A study that is gone when it should be delivered is a dead letter that says so."""
    (tmp_path / "hold").touch()
    server = start()
    server.upload(dicom_file)
    [begun] = _wait(tmp_path, 1, "begin")
    assert server.http.delete(f"/studies/{begun['id']}").status == 200
    (tmp_path / "hold").unlink()
    entries = server.wait_json("/entries", _all_dead)
    # One more where the event was just being read when the study went.
    assert {(entry["reason"], entry["attempts"]) for entry in entries} == {("gone", 1)}, entries


def test_dead_letter_and_retry(
    start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path
) -> None:
    """A delivery that fails for good is kept, over a restart too, and can be tried again."""
    (tmp_path / "fail").touch()
    server = start()
    server.upload(dicom_file)
    [entry] = server.wait_json("/entries", _all_dead)
    assert (entry["reason"], entry["attempts"]) == ("exhausted", 3)
    assert entry["error"] == "OSError: the file is there"
    server.stop()
    (tmp_path / "fail").unlink()
    server = start()
    assert server.http.post(f"/retry/{entry['id']}").json() == {"done": True}
    server.wait_json("/entries", _all_done)
    assert len({line["key"] for line in _deliveries(tmp_path, "begin")}) == 1


def test_stop_with_a_running_delivery(
    start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path
) -> None:
    """A stop gives running deliveries back at once; the next start begins them again."""
    (tmp_path / "hold").touch()
    server = start()
    server.upload(dicom_file)
    _wait(tmp_path, 1, "begin")
    assert server.stop() == 0
    (tmp_path / "hold").unlink()
    server = start()
    [delivered] = _wait(tmp_path, 1)
    assert delivered["number"] == 2
    [entry] = server.wait_json("/entries", _all_done)
    assert (entry["attempts"], entry["interruptions"]) == (0, 1)


def test_reset_with_a_running_delivery(
    start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path
) -> None:
    """/tools/reset opens the same store again, and the delivery begins again."""
    (tmp_path / "hold").touch()
    server = start()
    server.upload(dicom_file)
    _wait(tmp_path, 1, "begin")
    server.http.post("/tools/reset")
    server.wait_started(2)
    _wait(tmp_path, 2, "begin")
    (tmp_path / "hold").unlink()
    [delivered] = _wait(tmp_path, 1)
    assert delivered["number"] == 2
    server.wait_json("/entries", _all_done)


def test_name_that_is_gone(
    start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path
) -> None:
    """Deliveries of a subscription that no script has are kept until one has it again."""
    (tmp_path / "hold").touch()
    server = start()
    server.upload(dicom_file)
    _wait(tmp_path, 1, "begin")
    server.stop()
    (tmp_path / "hold").unlink()
    server = start("""
        from orthanc_async import tasks

        @tasks.task(queue="other")
        async def other():
            pass
    """)
    [entry] = server.http.get("/entries").json()
    assert (entry["queue"], entry["state"]) == ("archive", "waiting")
    assert "archive" in server.http.get("/subscriptions").json()
    server.stop()
    start()
    _wait(tmp_path, 1)


def test_store_is_locked(start: Callable[..., Orthanc], dicom_file: Path, tmp_path: Path) -> None:
    """A second server on one store says so, receives nevertheless, and takes over once it can."""
    first = start("")
    first.stop()
    first = start()
    script = STABLE.replace('durable="archive"', 'durable="second"')
    settings = {"Python": {"Store": str(tmp_path / "storage")}}
    second = start(
        script,
        storage=tmp_path / "other",
        config=settings,
        errors=["cannot be opened"],
        until="/system",
    )
    [line] = second.wait_log(r"^E.*cannot be opened.*")
    assert str(tmp_path / "storage" / "orthanc-async.db") in line
    second.upload(dicom_file)
    assert _deliveries(tmp_path) == []
    first.stop()
    [delivered] = _wait(tmp_path, 1)
    assert delivered["instances"] == 1


def test_two_alike(orthanc_server: OrthancFactory) -> None:
    """Two subscriptions of one name stop Orthanc's start, naming both places."""
    error = orthanc_server.fails("""
        from orthanc_async import on_stable_series, on_stable_study

        @on_stable_study(durable="archive")
        async def one(study):
            pass

        @on_stable_series(durable="archive")
        async def two(series):
            pass
    """)
    assert "two durable things are called 'archive'" in error.log
    assert "script.py:4" in error.log
    assert "script.py:8" in error.log


def test_two_destinations_alike(orthanc_server: OrthancFactory) -> None:
    """Of destinations, the error names where the script uses them, not where they are written."""
    error = orthanc_server.fails("""
        from orthanc_async import forward, on_stable_study

        archive = forward.to_http("http://localhost")
        on_stable_study(archive, durable="archive")
        on_stable_study(archive, durable="archive")
    """)
    assert "script.py:5" in error.log
    assert "script.py:6" in error.log
    assert "_destination.py" not in error.log


def test_many_instances(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """Changes of several types reach their subscriptions, each once and with a key of its own."""
    server = start("""
        from durable_script import note
        import orthanc
        from orthanc_async import on_change, on_new_study

        @on_change(orthanc.ChangeType.NEW_INSTANCE, orthanc.ChangeType.NEW_SERIES,
                   orthanc.ChangeType.COMPLETED_SERIES, durable="all", concurrency=20)
        async def changed(change):
            note("change", type=change.type.name, level=change.level.name, id=change.id)

        @on_new_study(durable="studies")
        def study(study):
            note("study", id=study.id)
    """)
    for file in dicom_files:
        server.upload(file)
    names = {
        "NewInstance": "NEW_INSTANCE",
        "NewSeries": "NEW_SERIES",
        "CompletedSeries": "COMPLETED_SERIES",
    }

    expected = sorted(
        (
            f"change/{change['Seq']}/{change['Date']}/{change['ID']}",
            names[change["ChangeType"]],
            change["ID"],
        )
        for change in server.http.get("/changes?limit=1000").json()["Changes"]
        if change["ChangeType"] in names
    )

    def delivered() -> list[tuple[str, str, str]]:
        lines = _deliveries(tmp_path, "change")
        return sorted((line["key"], line["type"], line["id"]) for line in lines)

    wait_until(delivered, "all deliveries", done=lambda found: found == expected)
    assert {type_ for _, type_, _ in expected} == set(names.values())
    server.wait_json("/entries", _all_done)
    assert len(_deliveries(tmp_path, "study")) == 1


def _has_stable_study(changes: dict[str, Any]) -> bool:
    return any(change["ChangeType"] == "StableStudy" for change in changes["Changes"])


def _all_dead(entries: list[dict[str, Any]]) -> bool:
    return bool(entries) and all(entry["state"] == "dead" for entry in entries)
