"""`orthanc-async config` and `plugin-path`: what an existing server needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from orthanc_async import _server_config
from orthanc_async._cli._options import Exit, Script, refuse_same_names


def existing_server_config(scripts: tuple[Path, ...], library: Path) -> dict[str, Any]:
    """Return the sections that load the plugin and the scripts into an existing server.

    Args:
        scripts: absolute paths.
        library: the plugin.
    """
    # Never the official plugin's own key PythonScript: if its library lies in another folder
    # of "Plugins", it stays idle without that key.
    python: dict[str, Any] = {"Scripts": [str(script) for script in scripts]}
    if not library.is_relative_to(Path(sys.prefix).absolute()):
        # By itself the plugin takes the environment that it lies in.
        python["Executable"] = sys.executable
    return {"Plugins": [str(library)], "Python": python}


@click.command("config")
@click.argument("scripts", metavar="SCRIPT…", nargs=-1, required=True, type=Script())
def config(scripts: tuple[Path, ...]) -> None:
    """Print the JSON that makes an existing Orthanc load SCRIPTs.

    Put it into a file of its own in Orthanc's configuration folder; if "Plugins" is there
    already, add the line to that list.
    """
    refuse_same_names(scripts)
    click.echo(json.dumps(existing_server_config(scripts, _library()), indent=2))


@click.command("plugin-path")
def plugin_path() -> None:
    """Print the path of the plugin's library."""
    click.echo(_library())


def _library() -> Path:
    try:
        return _server_config.plugin_library()
    except FileNotFoundError as error:
        click.echo(f"orthanc-async: {error}", err=True)
        sys.exit(Exit.FAILED)
