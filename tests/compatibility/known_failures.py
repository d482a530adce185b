"""Where the official plugin fails and ours does not: the one list, by its versions.

Debian 12 has version 4.0, Debian 13 has 5.0, Debian unstable 7.1. A version that is not named is
compared with ours like any other.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import NoReturn

import pytest


@dataclass(frozen=True)
class Failure:
    """One failure of the official plugin.

    Args:
        reason: what it does; shown where tests are told as expected failures.
        versions: in which it has been seen.
    """

    reason: str
    versions: tuple[str, ...]


# Python's own, as nothing here has chosen another.
DEFAULT_METHOD = multiprocessing.get_all_start_methods()[0]

ALL = ("4.0", "5.0", "7.1")

FAILURES = {
    "processes without fork": Failure(
        "processes that a script starts at import by forkserver, which is Python 3.14's default, "
        "or by spawn fail: Orthanc does not start, or the pool hangs or is broken",
        ALL,
    ),
    "pool used at import": Failure("a pool that is used at import hangs Orthanc's start", ALL),
    "ends of processes": Failure(
        "a process started in a callback cannot be terminated, as it keeps Orthanc's handlers of "
        "signals; before Python 3.13 it ends with 1 whatever it gives to sys.exit()",
        ALL,
    ),
    "stop inside a job": Failure(
        "a change handler that waits for a job when Orthanc stops keeps it from ending (4.0), or "
        "Orthanc aborts there (7.1)",
        ("4.0", "7.1"),
    ),
    "Pillow in a route": Failure(
        "Pillow imported in a route is a 500: Orthanc's HTTP threads have a stack of 100 KB, and "
        "Python 3.14 refuses to parse with what is left of it",
        ("7.1",),
    ),
    "three arguments": Failure(
        "SendHttpStatus refuses a third argument, the size, which version 4.0 demands",
        ("5.0", "7.1"),
    ),
    "two arguments": Failure(
        "SendHttpStatus demands a third argument, the size, which later versions refuse", ("4.0",)
    ),
    "not UTF-8": Failure("a path or a header that is not UTF-8 is a 500", ALL),
    "failed handler lets through": Failure(
        "what a handler of received instances failed on is stored, and its sender told success",
        ALL,
    ),
    "memory usage": Failure(
        "Python.DisplayMemoryUsage aborts Orthanc now and then while the script imports modules",
        ("5.0",),
    ),
}


class KnownFailures:
    """The part of the list for one version.

    Args:
        version: of the official plugin that is installed.
    """

    def __init__(self, version: str) -> None:
        self.version = version

    def __contains__(self, name: str) -> bool:
        return self.version in FAILURES[name].versions

    def with_fork(self, script: str) -> str:
        """Give a script that makes pools at import in a form that the official plugin can start.

        Args:
            script: its text.
        """
        if DEFAULT_METHOD == "fork":
            return script
        return f'import multiprocessing\nmultiprocessing.set_start_method("fork")\n{script}'

    def tell(self, name: str) -> NoReturn:
        """End a test as an expected failure, after it has seen ours succeed.

        Args:
            name: a key of the list.
        """
        assert name in self
        pytest.xfail(f"official plugin {self.version}: {FAILURES[name].reason}")
