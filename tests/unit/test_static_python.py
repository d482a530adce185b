"""A Python without a shared libpython is refused by the build, in a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a Python that was configured without --enable-shared says of itself. Its static library is
# not there either, as with the packages that leave it out.
STATIC = """
import sysconfig

known = sysconfig.get_config_vars()
known["Py_ENABLE_SHARED"] = 0
for name in ("LDLIBRARY", "INSTSONAME", "LIBRARY"):
    known[name] = "libpython%d.%d.a" % __import__("sys").version_info[:2]
for name in ("LIBDIR", "LIBPL"):
    known[name] = "/nonexistent"
"""


@pytest.fixture(scope="module")
def static_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that tells the build that it has no shared library."""
    root = tmp_path_factory.mktemp("static")
    venv.create(root, symlinks=True, with_pip=False)
    packages = next(root.glob("lib/python3*/site-packages"))
    (packages / "without_shared_library.py").write_text(STATIC)
    (packages / "first.pth").write_text("import without_shared_library\n")
    return root / "bin" / "python"


@pytest.mark.skipif(shutil.which("cmake") is None, reason="CMake is not installed")
def test_cmake(static_python: Path, tmp_path: Path) -> None:
    """The configuration ends with the reason and with what to use instead."""
    command = ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(tmp_path / "build")]
    result = subprocess.run(
        [*command, f"-DPython_EXECUTABLE={static_python}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode != 0
    said = " ".join(result.stderr.split())
    assert f"{static_python} has no shared libpython, which a plugin needs" in said
    assert "--enable-shared" in said


def test_setup(static_python: Path, tmp_path: Path) -> None:
    """scripts/setup refuses it before anything is made."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    # No package is missing: nothing is installed here.
    dpkg = tmp_path / "bin" / "dpkg-query"
    dpkg.parent.mkdir()
    dpkg.write_text("#!/bin/sh\necho installed\n")
    dpkg.chmod(0o755)
    result = subprocess.run(
        [tmp_path / "scripts" / "setup"],
        env={
            **os.environ,
            "PATH": f"{dpkg.parent}:{os.environ['PATH']}",
            "PYTHON": str(static_python),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 1
    version = f"Python {sys.version_info.major}.{sys.version_info.minor} ({static_python})"
    assert f"setup: {version} has no shared libpython, which a plugin needs" in result.stderr
    assert not (tmp_path / ".venv").exists()
