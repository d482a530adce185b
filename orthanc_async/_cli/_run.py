"""`orthanc-async run`: a real Orthanc with the plugin and a script, until Ctrl-C."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from orthanc_async import _server_config
from orthanc_async._cli import _log_lines, _orthanc_json
from orthanc_async._cli._options import Exit, Port, Script, option, refuse_same_names
from orthanc_async._server import OrthancServer, ServerError, StartError
from orthanc_async._server_net import port_owner, port_taken

if TYPE_CHECKING:
    from types import FrameType


@click.command()
@click.argument("scripts", metavar="SCRIPT…", nargs=-1, required=True, type=Script())
@option("--http-port", type=Port(), default=8042, help="Port of the REST API; 0: a free one.")
@option("--dicom-port", type=Port(), default=4242, help="Port of the DICOM server; 0: a free one.")
@option(
    "--storage",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("OrthancStorage"),
    help="Folder of the DICOM files and the index. Made when missing, never deleted.",
)
@option(
    "--config",
    "config_path",
    type=click.Path(exists=True, path_type=Path),
    help="A further configuration file of Orthanc (or a folder of them), laid over the rest.",
)
@option(
    "--public",
    is_flag=True,
    help="Let other machines connect. Without it, only this machine can.",
)
@option("--verbose", is_flag=True, help="Let Orthanc tell more.")
def run(  # noqa: PLR0917 - click passes options by name
    scripts: tuple[Path, ...],
    http_port: int,
    dicom_port: int,
    storage: Path,
    config_path: Path | None,
    public: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
) -> None:
    """Start Orthanc with one or more Python SCRIPTs and show its log.

    Ctrl-C ends it; a second Ctrl-C ends it at once.
    """
    refuse_same_names(scripts)
    try:
        extra = _orthanc_json.read(config_path) if config_path else {}
        _obey_command_line(extra)
        _refuse_ports(extra, http_port, dicom_port)
        _refuse_unwritable(extra.get("StorageDirectory", storage))
        _guard(extra, public=public)
        server = OrthancServer(
            scripts,
            config=extra,
            http_port=http_port,
            dicom_port=dicom_port,
            storage=storage,
            public=public,
            verbose=verbose,
            on_log=_log_lines.printer(with_place=verbose),
        )
    except _orthanc_json.ConfigError as error:
        _fail(str(error), Exit.USAGE)
    except (ServerError, FileNotFoundError) as error:
        _fail(str(error), Exit.NOT_STARTED)
    sys.exit(_serve(server))


def _serve(server: OrthancServer) -> Exit:
    stopping: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stopping.append(number)
        # Orthanc runs in a session of its own: it gets one signal, this one, and can end in
        # peace. Whoever asks again has lost patience. (No kill() here: it waits, and the
        # main thread that this handler interrupts waits already, holding subprocess's lock.)
        if len(stopping) == 1:
            click.echo("Ending Orthanc (Ctrl-C again ends it at once) …", err=True)
            server.send_signal(number)
        else:
            server.send_signal(signal.SIGKILL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        server.start()
        _banner(server)
        code = server.wait()
    except StartError as error:
        if stopping:
            return Exit.OK if len(stopping) == 1 else Exit.FAILED
        _fail(f"{error}: see the lines above", Exit.NOT_STARTED)
    finally:
        server.close()
    if code == 0:
        return Exit.OK
    what = "was ended at once" if len(stopping) > 1 else f"ended with exit code {code}"
    click.echo(f"orthanc-async: Orthanc {what}", err=True)
    return Exit.FAILED


def _obey_command_line(extra: dict[str, Any]) -> None:
    """Take out of a configuration file what was said on the command line (or a variable)."""
    context = click.get_current_context()
    decides = {
        "http_port": ("HttpPort",),
        "dicom_port": ("DicomPort", "DicomServerEnabled"),
        "storage": ("StorageDirectory", "IndexDirectory"),
    }
    for parameter, keys in decides.items():
        if context.get_parameter_source(parameter) is not click.core.ParameterSource.DEFAULT:
            for key in keys:
                extra.pop(key, None)
    if "StorageDirectory" in extra:
        extra.setdefault("IndexDirectory", extra["StorageDirectory"])
    if "Plugins" in extra:
        extra["Plugins"] = [str(_server_config.plugin_library()), *extra["Plugins"]]


def _refuse_ports(extra: dict[str, Any], http_port: int, dicom_port: int) -> None:
    if extra.get("HttpServerEnabled") is False:
        _fail(
            'the configuration file sets "HttpServerEnabled" to false, but a script\'s routes and '
            "this command need the HTTP server: take that key out",
            Exit.USAGE,
        )
    http = extra.get("HttpPort", http_port)
    _refuse_taken(http, "HTTP")
    if extra.get("DicomServerEnabled") is False:
        return
    dicom = extra.get("DicomPort", dicom_port)
    if http == dicom != 0:
        _fail(f"port {http} cannot be both the HTTP and the DICOM port", Exit.USAGE)
    _refuse_taken(dicom, "DICOM")


def _refuse_unwritable(storage: Any) -> None:
    """Say at once when nothing can be stored: Orthanc itself names its database only."""
    try:
        folder = Path(storage)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        _fail(
            f"the storage folder {storage} cannot be made: {reason}; choose another one with "
            "--storage",
            Exit.NOT_STARTED,
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        _fail(
            f"the storage folder {folder} cannot be written to: change its rights, or choose "
            "another one with --storage",
            Exit.NOT_STARTED,
        )


def _refuse_taken(port: int, kind: str) -> None:
    """Say at once, and by whom, when a port is taken: Orthanc itself says it late and long."""
    if port == 0 or not port_taken(port):
        return
    owner = port_owner(port)
    who = f"{owner[1]} (process {owner[0]})" if owner else "a process of another user"
    _fail(
        f"the {kind} port {port} is taken by {who}: end that one, or choose another port with "
        f"--{kind.lower()}-port",
        Exit.NOT_STARTED,
    )


def _guard(extra: dict[str, Any], *, public: bool) -> None:
    """Keep a configuration file from letting in others unasked, or anybody without password."""
    if public:
        if not extra.get("RegisteredUsers") and extra.get("AuthenticationEnabled", True):
            # Orthanc itself would invent the user orthanc with the password orthanc.
            extra["RegisteredUsers"] = {"orthanc": secrets.token_urlsafe(12)}
        return
    for key, value in _server_config.LOOPBACK_ONLY.items():
        if extra.get(key, value) != value:
            del extra[key]
            click.echo(
                f'orthanc-async: "{key}" of the configuration file would let other machines '
                f"in and is left out: give --public if they shall",
                err=True,
            )


def _banner(server: OrthancServer) -> None:
    config = server.config
    public = bool(config.get("RemoteAccessAllowed"))
    where = "for everybody who reaches this machine" if public else "for this machine only"
    rows = [
        ("REST API", f"{server.url}   {where}"),
        ("Explorer", f"{server.url}/app/explorer.html"),
    ]
    if config.get("AuthenticationEnabled", public):
        users = config.get("RegisteredUsers", {})
        rows.append(("Users", ", ".join(f"{user} (password {users[user]})" for user in users)))
    if config["DicomServerEnabled"]:
        title = config.get("DicomAet", "ORTHANC")
        known = (
            "" if public else "; answers only DCMTK's tools on this machine, and DicomModalities"
        )
        rows.append(("DICOM", f"{title} on port {server.dicom_port}{known}"))
    rows += [
        ("Storage", str(server.storage)),
        ("Configuration", str(server.config_path)),
        ("Plugin", str(config["Plugins"][0])),
        ("Environment", sys.prefix),
        ("Scripts", ", ".join(map(str, server.scripts))),
    ]
    width = max(len(name) for name, _ in rows)
    click.echo("\n".join(["", *(f"  {name:{width}}  {value}" for name, value in rows)]))
    click.echo("\n  Ctrl-C ends it.\n")


def _fail(message: str, code: Exit) -> NoReturn:
    click.echo(f"orthanc-async: {message}", err=True)
    sys.exit(code)
