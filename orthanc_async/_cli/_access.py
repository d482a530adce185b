"""Checks of files: whether the service's user may read the scripts and the environment."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orthanc_async import _server_config
from orthanc_async._cli._findings import Finding, error, ok, warning
from orthanc_async._cli._options import hidden_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine, with the groups that count for files."""

    name: str
    uid: int
    groups: frozenset[int]

    @classmethod
    def find(cls, name: str) -> User | None:
        """Return the user with a name, None when there is none."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        groups = os.getgrouplist(name, entry.pw_gid)
        return cls(name, entry.pw_uid, frozenset(groups))


def obstacle(path: Path, user: User) -> Path | None:
    """Return the file or folder that keeps a user from reading a path, None when none does.

    Only permission bits are looked at, not access control lists.

    Args:
        path: absolute; symbolic links are followed.
        user: whose rights count.
    """
    if user.uid == 0:
        return None
    real = path.resolve()
    for folder in reversed(real.parents):
        if not _allowed(folder, user, stat.S_IXOTH):
            return folder
    wanted = stat.S_IROTH | (stat.S_IXOTH if real.is_dir() else 0)
    return None if _allowed(real, user, wanted) else real


def _allowed(path: Path, user: User, wanted: int) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    mode = status.st_mode
    if status.st_uid == user.uid:
        mode >>= 6
    elif status.st_gid in user.groups:
        mode >>= 3
    return mode & wanted == wanted


def check_scripts(scripts: Iterable[Path]) -> Iterator[Finding]:
    """Look at the scripts themselves: there, readable, named well, valid Python."""
    by_name: dict[str, Path] = {}
    for script in scripts:
        other = by_name.setdefault(script.stem, script)
        if other is not script:
            yield error(
                f"{other} and {script} have the same name, and a script is a module named by its "
                "file",
                "give each script once" if other == script else "rename one",
            )
            continue
        if hidden := hidden_module(script):
            yield error(f"{script} would hide the module {hidden!r} that it imports", "rename it")
            continue
        if script.suffix != ".py":
            yield error(f"{script} does not end in .py", "rename it")
            continue
        try:
            compile(script.read_bytes(), str(script), "exec", dont_inherit=True)
        except OSError as problem:
            yield error(f"script {script}", f"{problem.strerror}; correct the path or its rights")
        except (SyntaxError, ValueError) as problem:
            line = getattr(problem, "lineno", None)
            place = f"{script}:{line}" if line else str(script)
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            reason = getattr(problem, "msg", None) or str(problem)
            yield error(f"{place} is not valid Python {version}", reason)
        else:
            yield ok(f"script {script}")


def check_user(
    name: str, scripts: Sequence[Path], info: Mapping[str, str], *, asked: bool
) -> Iterator[Finding]:
    """Look whether the service's user may read what the plugin needs.

    Args:
        name: the user, on Debian `orthanc`.
        scripts: absolute paths.
        info: what the build noted about itself.
        asked: the user was named on the command line; else what is found are warnings.
    """
    bad = error if asked else warning
    user = User.find(name)
    if user is None:
        if asked:
            yield error(
                f"there is no user {name!r}", "name the one that Orthanc's service runs as"
            )
        return
    well = True
    for what, path in [*_environment(info), *(("script", script) for script in scripts)]:
        blocked = obstacle(path, user) if path.exists() else None
        if blocked is not None:
            well = False
            yield bad(
                f"the user {name} cannot read the {what} {path} (stopped at {blocked}, "
                f"{_rights(blocked)})",
                f"put it where {name} may read, such as /opt, or give the right with chmod",
            )
    if well:
        yield ok(f"the user {name} can read the environment" + (" and scripts" if scripts else ""))


def _environment(info: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    yield "environment", Path(sys.prefix)
    yield "environment's packages", Path(_server_config.__file__).parent
    yield "Python library", Path(os.__file__).parent
    if info.get("LIBPYTHON"):
        yield "libpython", Path(info["LIBPYTHON"])
    try:
        yield "plugin", _server_config.plugin_library()
    except FileNotFoundError:
        return


def _rights(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as problem:
        return str(problem.strerror)
    try:
        owner = f"{pwd.getpwuid(status.st_uid).pw_name}:{grp.getgrgid(status.st_gid).gr_name}"
    except KeyError:
        owner = f"{status.st_uid}:{status.st_gid}"
    return f"{stat.filemode(status.st_mode)} {owner}"
