"""Build and test on every supported system, each in a folder of its own made by debootstrap.

Folders, packages, build folders and environments are kept between runs, in
$ORTHANC_ASYNC_MATRIX (default: orthanc-async/matrix in $XDG_CACHE_HOME or ~/.cache). A folder is
made anew when its list of packages has changed, or when making it was interrupted.

Called by scripts/matrix, with any Python 3.11 and nothing installed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import _chroot
import _sum_up
from _chroot import MatrixError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROJECT = Path(__file__).resolve().parent.parent
# What the tests want beside the packages of scripts/setup.
FURTHER = ("ca-certificates", "orthanc-python", "procps", "python3")
STAMP = "root.stamp"
TAIL = 60  # lines of a failed command's log that are shown


@dataclass(frozen=True)
class System:
    """One system to build and test on."""

    name: str
    suite: str
    title: str


SYSTEMS = (
    System("debian12", "bookworm", "Debian 12"),
    System("debian13", "trixie", "Debian 13"),
    System("unstable", "sid", "Debian unstable"),
)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    system: str
    orthanc: str = "-"
    header: str = "-"
    python: str = "-"
    official: str = "-"
    native: str = "-"
    tests: str = "not run"
    minutes: float = 0.0
    good: bool = False


class Place:
    """The folders of one system in the cache, locked until its end as a context manager.

    Args:
        system: which one.
        cache: the folder for all of them.
    """

    def __init__(self, system: System, cache: Path) -> None:
        self.system = system
        self.debs = cache / "packages"
        self.pip = cache / "pip"
        folder = cache / system.name
        self.root = folder / "root"
        self.project = folder / "project"
        self.log = folder / "log"
        self._stamp = folder / STAMP
        self._mark = folder / "made-by-scripts-matrix"
        for item in (folder, self.debs, self.pip, self.project):
            item.mkdir(parents=True, exist_ok=True)
        if self.root.exists() and not self._mark.exists():
            raise MatrixError(f"{self.root} is there, but was not made by this script: move it")
        self._lock = self._mark.open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise MatrixError(f"another run of this script is using {folder}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def is_ready(self, packages: Sequence[str]) -> bool:
        """Tell whether the root is finished and has these packages."""
        wanted = self._stamp_text(packages)
        return self._stamp.exists() and self._stamp.read_text("utf-8") == wanted

    def make(self, packages: Sequence[str]) -> None:
        """Make the root, from nothing."""
        self._stamp.unlink(missing_ok=True)
        self.log.write_text("")
        _chroot.remove(self.root)
        _chroot.bootstrap(self.system.suite, self.root, self.debs, self.log)
        _chroot.install(self.root, packages, self.log)
        self._stamp.write_text(self._stamp_text(packages), "utf-8")

    def copy_project(self) -> None:
        """Bring the copy of the project up to date.

        By content: a file that has not changed keeps its time, and what was built from it is not
        built again. What is in .gitignore, such as build and .venv, is left alone.
        """
        command = ["rsync", "-rlp", "--checksum", "--delete", "--exclude=.git"]
        command += ["--filter=:- .gitignore", f"{PROJECT}/", f"{self.project}/"]
        _chroot.run(command, self.log)

    def capture(self, command: str) -> str:
        """Return what a shell command prints inside, or a dash."""
        done = subprocess.run(
            ["chroot", str(self.root), "sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            env=_chroot.plain_environment(),
        )
        return done.stdout.strip() or "-"

    def _stamp_text(self, packages: Sequence[str]) -> str:
        return "\n".join([self.system.suite, *packages, ""])


def wanted_packages() -> list[str]:
    """Return the Debian packages that a root gets."""
    listed = subprocess.run(
        [PROJECT / "scripts/setup", "--packages"], capture_output=True, text=True, check=True
    )
    return sorted({*listed.stdout.split(), *FURTHER})


def test(place: Place, row: Row, options: argparse.Namespace) -> Row:
    """Build and test inside; return the finished row."""
    place.log.write_text("")
    place.copy_project()
    results = place.project / "build/test-results"
    shutil.rmtree(results, ignore_errors=True)
    command = ["scripts/test", "--plain"]
    command += ["--quick"] if options.quick else []
    with _chroot.PipSettings(place.root) as pip:
        code = _chroot.enter(
            place.root,
            [*command, *options.pytest],
            place.log,
            binds={place.project: "/project", place.pip: "/root/.cache/pip", **pip.binds},
            environment=pip.environment,
            folder="/project",
        )
    if not (results / "pytest.xml").exists():
        return replace(row, tests=f"broke off with exit code {code}")
    passed, failed = _sum_up.native(results / "native-plain.log")
    python = _sum_up.python(results / "pytest.xml")
    return replace(
        row,
        native=f"{passed} passed, {failed} failed" if failed else f"{passed} passed",
        tests="{} passed, {} failed, {} skipped".format(*python),
        good=code == 0 and not failed and not python[1] and python[0] > 0,
    )


def one_system(system: System, options: argparse.Namespace) -> Row:
    """Do everything for one system and tell its result."""
    start = time.monotonic()
    row = Row(system.title)
    try:
        packages = wanted_packages()
        with Place(system, options.cache) as place:
            row = in_place(place, packages, row, options)
    except MatrixError as error:
        say(f"{system.title}: {error}")
    return replace(row, minutes=(time.monotonic() - start) / 60)


def in_place(place: Place, packages: Sequence[str], row: Row, options: argparse.Namespace) -> Row:
    """Make the root where needed, build and test; show the log's end if something failed."""
    title = place.system.title
    try:
        if not place.is_ready(packages):
            say(f"{title}: making {place.root} ({place.log})")
            place.make(packages)
        row = described(place, row)
        say(f"{title}: building and testing ({place.log})")
        row = test(place, row, options)
    finally:
        if not row.good:
            show_tail(place.log)
    return row


def choose(options: argparse.Namespace) -> list[System]:
    """Return the systems to test, and say which ones are left out."""
    chosen = [item for item in SYSTEMS if not options.only or item.name in options.only]
    if options.ready_only:
        for system in list(chosen):
            folder = options.cache / system.name
            built = folder / "project/.venv/orthanc-async.stamp"
            if not ((folder / STAMP).exists() and built.exists()):
                say(f"{system.title} is left out: {folder} has not been filled by scripts/matrix")
                chosen.remove(system)
    return chosen


def described(place: Place, row: Row) -> Row:
    """Add the versions that are installed."""
    header = "/usr/include/orthanc/OrthancCPlugin.h"
    numbers = f"sed -n 's/^#define ORTHANC_PLUGINS_MINIMAL_.*_NUMBER *//p' {header}"
    package = "dpkg-query -W -f '${{Version}}' {} | sed 's/[+-].*//'"
    return replace(
        row,
        orthanc=place.capture(package.format("orthanc")),
        header=".".join(place.capture(numbers).split()),
        python=place.capture("python3 -c 'import platform; print(platform.python_version())'"),
        official=place.capture(package.format("orthanc-python")),
    )


def show_tail(log: Path) -> None:
    """Show the end of a log of something that failed."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    for line in lines[-TAIL:]:
        print(f"    {line}")
    say(f"the whole log is {log}")


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Give the table's lines."""
    head = ("system", "Orthanc", "SDK header", "Python", "official", "C++ tests", "Python tests")
    cells: list[tuple[str, ...]] = [(*head, "minutes")]
    for row in rows:
        versions = (row.orthanc, row.header, row.python, row.official)
        cells.append((row.system, *versions, row.native, row.tests, f"{row.minutes:.1f}"))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    cells.insert(1, tuple("-" * width for width in widths))
    for line in cells:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def default_cache() -> Path:
    """Return the folder for everything that is kept."""
    chosen = os.environ.get("ORTHANC_ASYNC_MATRIX")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "orthanc-async" / "matrix"


def say(text: str) -> None:
    """Print a line at once."""
    print(f"matrix: {text}", flush=True)


def main() -> int:
    """Run the matrix; return 1 when something failed."""
    parser = argparse.ArgumentParser(
        prog="scripts/matrix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every other argument goes to pytest.",
        allow_abbrev=False,
    )
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--only", action="append", choices=names, help="this system; repeatable")
    parser.add_argument("--quick", action="store_true", help="the quick part of pytest only")
    parser.add_argument(
        "--ready-only",
        action="store_true",
        help="leave out what no earlier run has made yet, also for lack of root or debootstrap",
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no system after so many"
    )
    options, further = parser.parse_known_args()
    options.pytest = further
    options.cache = default_cache()
    missing = _chroot.missing_tools()
    if missing:
        say(missing)
        return 0 if options.ready_only else 1
    start = time.monotonic()
    rows = []
    for system in choose(options):
        if time.monotonic() - start > 60 * options.minutes:
            say(f"{system.title} is left out: {options.minutes:g} minutes are over")
            continue
        rows.append(one_system(system, options))
    if rows:
        print(*table(rows), sep="\n")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
