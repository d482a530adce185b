"""The command `orthanc-async`."""

from __future__ import annotations

from importlib import metadata

import click
from orthanc_async._cli._config_command import config, plugin_path
from orthanc_async._cli._doctor import doctor
from orthanc_async._cli._run import run

__all__ = ["main"]


def _show_version(context: click.Context, _: click.Parameter, value: object) -> None:
    if not value or context.resilient_parsing:
        return
    try:
        version = metadata.version("orthanc-async")
    except metadata.PackageNotFoundError:
        version = "unknown: the package has been copied here; pip install makes it known"
    click.echo(f"orthanc-async, version {version}")
    context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 99})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Python scripts with `async def` handlers inside the DICOM server Orthanc."""


for command in (run, config, plugin_path, doctor):
    main.add_command(command)
