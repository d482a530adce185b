"""scripts/matrix: what it keeps, what it deletes, what it hands on, and its table."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import _chroot
import _matrix
from _chroot import MatrixError
from _matrix import SYSTEMS, Place, Row

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def no_debian(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what would be made, instead of making it."""
    made: list[str] = []

    def bootstrap(suite: str, root: Path, *_: object) -> None:
        root.mkdir()
        made.append(suite)

    def install(root: Path, packages: Sequence[str], log: Path) -> None:
        if "broken" in packages:
            raise MatrixError("apt-get install failed")

    monkeypatch.setattr(_chroot, "bootstrap", bootstrap)
    monkeypatch.setattr(_chroot, "install", install)
    return made


def test_stamp_names_the_packages(tmp_path: Path, no_debian: list[str]) -> None:
    """A root is ready for the packages it was made with, and for no others."""
    with Place(SYSTEMS[0], tmp_path) as place:
        assert not place.is_ready(["orthanc"])
        place.make(["orthanc"])
        assert place.is_ready(["orthanc"])
        assert not place.is_ready(["orthanc", "more"])
    assert no_debian == ["bookworm"]


def test_interrupted_root_is_made_again(tmp_path: Path, no_debian: list[str]) -> None:
    """A root that was not finished is deleted and made from nothing; the project stays."""
    with Place(SYSTEMS[0], tmp_path) as place:
        place.make(["orthanc"])
        (place.project / "built").touch()
        with pytest.raises(MatrixError):
            place.make(["broken"])
        (place.root / "half").touch()
        assert not place.is_ready(["orthanc"])
        place.make(["orthanc"])
        assert not (place.root / "half").exists()
        assert (place.project / "built").exists()


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    """A folder that another program made where a root belongs is not touched."""
    root = tmp_path / "debian12" / "root"
    root.mkdir(parents=True)
    with pytest.raises(MatrixError, match="not made by this script"):
        Place(SYSTEMS[0], tmp_path)
    assert root.is_dir()


def test_two_runs_at_once(tmp_path: Path) -> None:
    """Two runs never use the same folder."""
    with Place(SYSTEMS[0], tmp_path), pytest.raises(MatrixError, match="another run"):
        Place(SYSTEMS[0], tmp_path)
    with Place(SYSTEMS[0], tmp_path):
        pass


def test_mounted_root_is_not_deleted() -> None:
    """Nothing is deleted while something is mounted below it."""
    with pytest.raises(MatrixError, match="/proc is a mount point"):
        _chroot.remove(Path("/proc"))


def test_pip_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of pip go inside with the folders that they name, and are gone afterwards."""
    wheels = tmp_path / "wheels"
    index = tmp_path / "index" / "simple"
    for folder in (wheels, index, tmp_path / "etc"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    listed = [
        ":env:.find-links='ignored'",
        "global.timeout='60'",
        f"global.extra-index-url='\\nfile://{index}\\nfile:///not/there'",
    ]
    monkeypatch.setattr(_chroot, "_output", lambda _: "\n".join(listed))
    settings = _chroot.PipSettings(tmp_path)
    assert settings.environment["PIP_FIND_LINKS"] == str(wheels)
    assert settings.binds[wheels] == str(wheels)
    assert settings.binds[index.parent] == str(index.parent)
    with settings:
        text = (tmp_path / "etc/pip.conf").read_text()
    assert text.splitlines() == [
        "[global]",
        "timeout = 60",
        f"extra-index-url = file://{index} file:///not/there",
    ]
    assert not (tmp_path / "etc/pip.conf").exists()


def test_mirror_of_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror and the proxy are those of this system's own apt."""
    answers = {
        "indextargets": "http://mirror.example/debian\nhttp://other.example/debian\n",
        "dump": 'APT::X "1";\nAcquire::http::Proxy "http://proxy.example:3128";\n',
    }
    monkeypatch.setattr(_chroot, "_output", lambda command: answers[command[1]])
    monkeypatch.setattr(shutil, "which", lambda name: name)
    mirror, network = _chroot.apt_settings()
    assert mirror == "http://mirror.example/debian"
    assert network == 'Acquire::http::Proxy "http://proxy.example:3128";\n'


def test_table() -> None:
    """Each system is a line under its heading."""
    row = Row("Debian 12", "1.10.1", "1.10.1", "3.11.2", "4.0", "9 passed", "2 passed", 1.25)
    lines = list(_matrix.table([row, Row("Debian 13")]))
    assert [line.split("  ")[0] for line in lines] == ["system", "-" * 9, "Debian 12", "Debian 13"]
    assert lines[2].endswith("9 passed   2 passed      1.2")
    assert lines[3].split()[-2:] == ["run", "0.0"]


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder follows the variable, else the cache folder of the user."""
    monkeypatch.setenv("ORTHANC_ASYNC_MATRIX", "/somewhere")
    assert _matrix.default_cache() == Path("/somewhere")
    monkeypatch.delenv("ORTHANC_ASYNC_MATRIX")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert _matrix.default_cache() == Path("/cache/orthanc-async/matrix")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert _matrix.default_cache() == Path("/home/me/.cache/orthanc-async/matrix")
