"""`orthanc-async doctor`: look for what goes wrong in practice, and say how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from orthanc_async._cli import _access, _checks, _orthanc_json
from orthanc_async._cli._findings import Finding, error, ok, show, warning
from orthanc_async._cli._options import Exit, option

_DEBIAN_CONFIG = Path("/etc/orthanc")
_DEBIAN_USER = "orthanc"


@click.command()
@click.argument("scripts", metavar="[SCRIPT…]", nargs=-1, type=click.Path(path_type=Path))
@option(
    "--config",
    "config_path",
    type=click.Path(exists=True, path_type=Path),
    help=f"Configuration file or folder of the server.  [default: {_DEBIAN_CONFIG} if there]",
)
@option(
    "--user",
    help=f"User that Orthanc's service runs as.  [default: {_DEBIAN_USER} if there]",
)
def doctor(scripts: tuple[Path, ...], config_path: Path | None, user: str | None) -> None:
    """Look for what keeps Orthanc from running SCRIPTs, and say how to mend it.

    Exit code 1 when there is an error.
    """
    absolute = tuple(script.absolute() for script in scripts)
    sys.exit(Exit.OK if show(_examine(absolute, config_path, user)) else Exit.FAILED)


def _examine(
    scripts: tuple[Path, ...], config_path: Path | None, user: str | None
) -> Iterator[Finding]:
    info = _checks.build_info()
    yield from _checks.check_orthanc(info.get("SDK_VERSION"))
    yield from _checks.check_plugin(info)
    config: Mapping[str, Any] = {}
    path = config_path or (_DEBIAN_CONFIG if _DEBIAN_CONFIG.is_dir() else None)
    if path is not None:
        bad = error if config_path else warning
        try:
            config = _orthanc_json.read(path)
        except _orthanc_json.ConfigError as problem:
            text, _, reason = str(problem).partition(": ")
            yield bad(text, reason)
        else:
            yield ok(f"configuration {path}")
            yield from _checks.check_config(config, named=config_path is not None)
    yield from _checks.check_ports(config)
    scripts = (*scripts, *(item for item in _configured(config) if item not in scripts))
    yield from _access.check_scripts(scripts)
    yield from _access.check_user(user or _DEBIAN_USER, scripts, info, asked=user is not None)


def _configured(config: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the scripts of the configuration whose place is certain.

    Relative ones depend on the working directory of a service that may not run.
    """
    python = config.get("Python")
    names = python.get("Scripts") if isinstance(python, Mapping) else None
    for name in names if isinstance(names, list) else []:
        if isinstance(name, str) and Path(name).is_absolute():
            yield Path(name)
