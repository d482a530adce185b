"""The command `orthanc-async`."""

from __future__ import annotations

import click
from orthanc_async._cli._config_command import config, plugin_path
from orthanc_async._cli._doctor import doctor
from orthanc_async._cli._run import run

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 99})
@click.version_option(package_name="orthanc-async", prog_name="orthanc-async")
def main() -> None:
    """Python scripts with `async def` handlers inside the DICOM server Orthanc."""


for command in (run, config, plugin_path, doctor):
    main.add_command(command)
