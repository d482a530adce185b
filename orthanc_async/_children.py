"""What child processes of scripts get of the SDK, forked ones and others.

The host imports this at each start, so it imports little: what only workers need is in `_worker`.
"""

from __future__ import annotations

import functools
import os
import sys
from multiprocessing import spawn
from typing import TYPE_CHECKING, Any

import orthanc

if TYPE_CHECKING:
    from collections.abc import Callable

# What scripts ask at their top level, without arguments; Orthanc's own process hands it on.
FACTS = (
    "GetConfiguration",
    "GetConfigurationPath",
    "GetOrthancDirectory",
    "GetOrthancPath",
    "GenerateRestApiAuthorizationToken",
    "GetExpectedDatabaseVersion",
    "GetCommandLineArgumentsCount",
)
# Under this name the standard library prepares the process that forks children for forkserver.
_NO_CHILD = "ignore"


def hand_on(facts: Callable[[], dict[str, object]]) -> None:
    """Let the children of this process that are not forked begin with what they need.

    Args:
        facts: gives the facts; called for each child, on the thread that starts it.
    """
    # What the standard library imports late: a script may have replaced the path by then.
    if sys.version_info >= (3, 14):  # where forkserver is the default
        import hmac  # noqa: F401
    standard = spawn.get_preparation_data
    plain_path = list(sys.path)

    def prepare(name: str) -> Any:
        data: dict[str, Any] = standard(name)
        # A script may have replaced the path after its imports; the child has them still to do.
        data["sys_path"] += [folder for folder in plain_path if folder not in data["sys_path"]]
        if name != _NO_CHILD:
            data["sys_argv"] = [*data["sys_argv"], facts()]
        return data

    spawn.get_preparation_data = prepare


def stand_in(facts: dict[str, object]) -> None:
    """Let the SDK be of use in a process that is no Orthanc: for its log and what never changes.

    Args:
        facts: what each function of `FACTS` gives.
    """
    for name in ("LogError", "LogWarning", "LogInfo"):
        setattr(orthanc, name, functools.partial(_log, name[3]))
    for name, value in facts.items():
        setattr(orthanc, name, functools.partial(_fact, value))
    orthanc.GenerateUuid = _new_uuid


def _log(level: str, message: str, /) -> None:
    if level != "I":  # as Orthanc does when it is not verbose
        print(f"{level} (process {os.getpid()}): {message}", file=sys.__stderr__, flush=True)


def _fact(value: object) -> object:
    return value


def _new_uuid() -> str:
    import uuid

    return str(uuid.uuid4())
