"""Durable subscriptions: what was received is delivered, whatever happens to Orthanc."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
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

    def start(script: str = STABLE, **more: Any) -> Orthanc:
        config = {"StableAge": 1, **more.pop("config", {})}
        more.setdefault("storage", tmp_path / "storage")
        server = orthanc_server([tmp_path / SHARED.name, script], config=config, **more)
        # A route is served once the store is open: new subscriptions have begun.
        server.wait_json("/entries", lambda _: True, timeout=30)
        return server

    return start


def _deliveries(folder: Path, kind: str = "end") -> list[dict[str, Any]]:
    file = folder / "deliveries.jsonl"
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def _wait(folder: Path, count: int, kind: str = "end") -> list[dict[str, Any]]:
    return wait_until(
        lambda: _deliveries(folder, kind),
        f"{count} deliveries",
        done=lambda found: len(found) >= count,
        timeout=30,
    )


def _all_done(entries: list[dict[str, Any]]) -> bool:
    return bool(entries) and all(entry["state"] == "done" for entry in entries)


def test_delivered_once(
    start: Callable[..., Orthanc], dicom_files: list[Path], tmp_path: Path
) -> None:
    """A stable study is delivered, once, with its key; a restart delivers nothing again."""
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
    server = start()
    # The first sweep comes after StableAge; it is over when the subscription has looked twice.
    server.wait_json("/entries", _all_done)
    assert len(_deliveries(tmp_path)) == 1
