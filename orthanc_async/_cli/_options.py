"""What the commands' options have in common."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

ENVIRONMENT_PREFIX = "ORTHANC_ASYNC_"

if TYPE_CHECKING:
    # Generic only for the type checker: older releases of click cannot be subscripted.
    PortType = click.ParamType[int]
    ScriptType = click.ParamType[Path]
else:
    PortType = ScriptType = click.ParamType

Command = TypeVar("Command", bound=Callable[..., Any])


# A script of such a name would hide the module that it imports.
_HIDING = {"orthanc.py": "orthanc", "orthanc_async.py": "orthanc_async"}


class Exit(enum.IntEnum):
    """The command's exit codes."""

    OK = 0
    FAILED = 1  # doctor found an error; Orthanc ended with one after it had served
    USAGE = 2  # click's own for a wrong command line; here also for a missing script
    NOT_STARTED = 3


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """Declare an option that an environment variable can set, and show both in the help.

    Args:
        names: as for click, the long name first.
        settings: as for click.
    """
    variable = ENVIRONMENT_PREFIX + names[0].lstrip("-").replace("-", "_").upper()
    settings.setdefault("envvar", variable)
    settings.setdefault("show_envvar", True)
    settings.setdefault("show_default", settings.get("default") is not None)
    return click.option(*names, **settings)


class Port(PortType):
    """A TCP port; 0 takes a free one."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, or fail with the range."""
        try:
            port = int(value)
        except (TypeError, ValueError):
            port = -1
        if not 0 <= port <= 65535:
            self.fail(
                f"{value!r} is not a port: a number from 0 (a free one) to 65535", param, ctx
            )
        return port


class Script(ScriptType):
    """A Python script for Orthanc."""

    name = "script"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the absolute path, or fail saying what is wrong with the file."""
        path = Path(value).absolute()
        if path.suffix != ".py":
            self.fail(f"{value!r} does not end in .py", param, ctx)
        if hidden := hidden_module(path):
            self.fail(
                f"{value!r} would hide the module {hidden!r} that it imports: rename it",
                param,
                ctx,
            )
        if not path.is_file():
            reason = "is a folder" if path.is_dir() else "does not exist"
            self.fail(f"script {value!r} {reason}", param, ctx)
        try:
            path.open("rb").close()
        except OSError as error:
            self.fail(f"script {value!r} cannot be read: {error.strerror}", param, ctx)
        return path


def hidden_module(script: Path) -> str | None:
    """Return the module that a script of this name would hide, None when it hides none."""
    return _HIDING.get(script.name)


def refuse_same_names(scripts: Sequence[Path]) -> None:
    """Refuse two scripts that would become the same module.

    Raises:
        click.UsageError: naming both.
    """
    by_name: dict[str, Path] = {}
    for script in scripts:
        other = by_name.setdefault(script.stem, script)
        if other == script and other is not script:
            raise click.UsageError(f"{script} is named twice: name it once")
        if other is not script:
            raise click.UsageError(
                f"{other} and {script} have the same name, and a script's name is its "
                f"module's: rename one"
            )
