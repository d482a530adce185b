"""The clock of the whole server is set back, while Orthanc runs and while it does not."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.durable_lines import lines
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.conftest import Orthanc, OrthancFactory

SHARED = Path(__file__).with_name("durable_script.py")
SOURCE = Path(__file__).parents[1] / "clock.c"
SCRIPT = """
    from durable_script import hold, note
    from orthanc_async import on_new_instance, on_stable_study, tasks

    @on_new_instance(durable="instances", retry=tasks.Retry(10, tasks.Backoff(2, 2)))
    async def instance(instance):
        note("begin", id=instance.id)
        await hold()
        note("end", id=instance.id)

    @on_stable_study(durable="studies")
    async def study(study):
        note("study", id=study.id, instances=len(await study.instances()))
"""
HOURS = 3600


class Clock:
    """The clock of the Orthancs of a test."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        library = folder / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self._file = folder / "clock"
        self.set(0)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._file)}

    def set(self, seconds: int) -> None:
        """Let it differ by so many seconds."""
        if self._file.exists():
            with self._file.open("r+b") as file:  # in place: it is mapped
                file.write(struct.pack("q", seconds))
        else:
            self._file.write_bytes(struct.pack("q", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that can be set."""
    return Clock(tmp_path)


@pytest.fixture
def start(orthanc_server: OrthancFactory, tmp_path: Path, clock: Clock) -> Callable[..., Orthanc]:
    """Give a function that starts an Orthanc which has that clock."""
    shutil.copy(SHARED, tmp_path)

    def start(**more: Any) -> Orthanc:
        server = orthanc_server(
            [tmp_path / SHARED.name, SCRIPT],
            config={"StableAge": 1},
            storage=tmp_path / "storage",
            environment=clock.environment,
            **more,
        )
        server.wait_json("/subscribed", lambda _: True, timeout=30)
        return server

    return start


def ended(folder: Path, identifier: str) -> None:
    """Wait until an instance has been delivered."""
    wait_until(
        lambda: [line["id"] for line in lines(folder, "end")],
        f"the delivery of {identifier}",
        done=lambda found: identifier in found,
        timeout=30,
    )


def test_set_back(
    start: Callable[..., Orthanc], clock: Clock, dicom_files: list[Path], tmp_path: Path
) -> None:
    """Nothing waits for the hours to pass again, and what seems older than before is delivered."""
    server = start(exit_code=-9)
    (tmp_path / "fail").touch()
    first = server.upload(dicom_files[0])["ID"]
    server.wait_json("/entries", lambda all_: failed(all_, first))
    clock.set(-2 * HOURS)
    (tmp_path / "fail").unlink()
    ended(tmp_path, first)
    wait_study(tmp_path, 1)
    ended(tmp_path, server.upload(dicom_files[1])["ID"])
    (tmp_path / "fail").touch()
    third = server.upload(dicom_files[2])["ID"]
    server.wait_json("/entries", lambda all_: failed(all_, third))
    server.kill()  # before the study is called stable
    clock.set(-4 * HOURS)
    (tmp_path / "fail").unlink()
    server = start()
    ended(tmp_path, third)
    wait_study(tmp_path, 3)
    server.wait_log("Orthanc's clock was set back: the sweep looks at everything again")
    ended(tmp_path, server.upload(dicom_files[3])["ID"])
    wait_study(tmp_path, 4)
    server.wait_json("/entries", lambda all_: {one["state"] for one in all_} == {"done"})


def failed(entries: list[dict[str, Any]], identifier: str) -> bool:
    """Tell whether an instance's delivery has failed and is to be tried again."""
    return any(one["attempts"] and one["resource"].endswith(identifier) for one in entries)


def wait_study(folder: Path, instances: int) -> None:
    """Wait until the study has been delivered with so many instances."""
    wait_until(
        lambda: [line["instances"] for line in lines(folder, "study")],
        f"the study with {instances} instances",
        done=lambda found: instances in found,
        timeout=30,
    )
