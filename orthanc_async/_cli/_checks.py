"""Checks of the installation: Orthanc, the plugin, its Python, the configuration, the ports."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orthanc_async import _server_config
from orthanc_async._cli._findings import Finding, error, ok, warning
from orthanc_async._cli._sdk import check_sdk
from orthanc_async._server import ServerError, find_orthanc
from orthanc_async._server_net import port_owner, port_taken

_OFFICIAL = "libOrthancPython"
_TOOL_TIMEOUT = 20


def check_orthanc(sdk_version: str | None) -> Iterator[Finding]:
    """Look for Orthanc, and whether it fits the SDK that the plugin was built with.

    Args:
        sdk_version: the header's version, None when unknown.
    """
    try:
        executable = find_orthanc()
    except ServerError as problem:
        text, _, mend = str(problem).partition(": ")
        yield error(text, mend or "correct the variable or unset it")
        return
    version = orthanc_version(executable)
    if version is None:
        yield error(
            f"{executable} --version gives no version", "is that Orthanc? Reinstall it (apt)"
        )
        return
    yield ok(f"Orthanc {version} at {executable}")
    if sdk_version is not None:
        yield from check_sdk(sdk_version, version)


def orthanc_version(executable: Path) -> str | None:
    """Return what `Orthanc --version` says, such as `1.10.1`; None when it says nothing."""
    try:
        answer = subprocess.run(
            [executable, "--version"],
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # A build from the main line calls itself "mainline (hash)".
    found = re.search(r"\A.*? (?P<version>\d+(?:\.\d+)+|mainline\S*)\n", answer.stdout)
    return found["version"] if found else None


def build_info() -> Mapping[str, str]:
    """Return what the build noted about itself (empty in a tree that was never built)."""
    try:
        module = importlib.import_module("orthanc_async._build_info")
    except ImportError:
        return {}
    names = ("PYTHON_VERSION", "LIBPYTHON", "SDK_VERSION", "COMPILER")
    return {name: str(getattr(module, name)) for name in names if hasattr(module, name)}


def check_plugin(info: Mapping[str, str]) -> Iterator[Finding]:
    """Look for the plugin and for the libpython that it was built with."""
    try:
        library = _server_config.plugin_library()
    except FileNotFoundError as problem:
        text, _, mend = str(problem).rpartition(": ")
        yield error(text, mend)
        return
    yield ok(f"plugin {library}")
    rebuild = f"build it again for this one: {sys.executable} -m pip install --force-reinstall ."
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    built = info.get("PYTHON_VERSION", "")
    if built and ".".join(built.split(".")[:2]) != here:
        yield error(
            f"the plugin was built with Python {built}, this environment is {here}", rebuild
        )
    loaded = loaded_libpython(library)
    wanted = info.get("LIBPYTHON", "")
    if loaded is None:
        yield error("the plugin's libpython is not found by the loader", rebuild)
    elif wanted and _real(loaded) != _real(wanted):
        yield warning(
            f"the plugin was built with {wanted} and gets {loaded}",
            "harmless when both are the same release; else unset LD_LIBRARY_PATH or build again",
        )
    else:
        yield ok(f"libpython {loaded}")


def loaded_libpython(library: Path) -> str | None:
    """Return the libpython that the dynamic loader would take for a library."""
    try:
        answer = subprocess.run(
            ["ldd", library], capture_output=True, text=True, timeout=_TOOL_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"libpython[\w.]+ => (/\S+)", answer.stdout)
    return found[1] if found else None


def check_config(config: Mapping[str, Any], *, named: bool) -> Iterator[Finding]:
    """Look at an existing server's configuration.

    Args:
        config: the whole of it.
        named: the user asked about this one (else it is just the one that was found).
    """
    plugins = [Path(item) for item in config.get("Plugins") or [] if isinstance(item, str)]
    python = config.get("Python")
    python = python if isinstance(python, Mapping) else {}
    official = [item for item in plugins if _holds(item, _OFFICIAL)]
    ours = [item for item in plugins if _holds(item, Path(_server_config.LIBRARY).stem)]
    keys = [key for key, value in (
        ('"PythonScript"', config.get("PythonScript")),
        ('"Path" in section "Python"', python.get("Path")),
    ) if value]  # fmt: skip
    if official and keys and (ours or named):
        yield error(
            f"the official Python plugin is loaded too ({official[0]}) and {keys[0]} wakes it",
            'two Pythons in one process abort it; move the script to "Scripts" in section '
            '"Python" and take that key out',
        )
    elif official and ours:
        yield ok(f"the official Python plugin ({official[0]}) is loaded too and stays idle")
    if ours:
        yield ok(f"the configuration loads the plugin ({ours[0]})")
        if not keys and not python.get("Scripts"):
            yield warning(
                "the configuration names no script",
                "the plugin stays idle; 'orthanc-async config SCRIPT' prints what to add",
            )
    elif named:
        yield warning(
            "the configuration does not load the plugin",
            "'orthanc-async config SCRIPT' prints what to add",
        )


def check_ports(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Look whether the HTTP and the DICOM port are free."""
    for kind, key, default in (("HTTP", "HttpPort", 8042), ("DICOM", "DicomPort", 4242)):
        port = config.get(key, default)
        if config.get(f"{kind.title()}ServerEnabled", True) is False:
            continue
        if not port_taken(port):
            yield ok(f"{kind} port {port} is free")
        else:
            yield _taken(kind, port)


def _taken(kind: str, port: int) -> Finding:
    option = f"--{kind.lower()}-port"
    owner = port_owner(port)
    if owner is not None and owner[1] == "Orthanc":
        return warning(
            f"an Orthanc (process {owner[0]}) serves on the {kind} port {port}",
            f"fine if it is the one you ask about (Debian's service: systemctl status orthanc); "
            f"else stop it or give {option}",
        )
    who = f"{owner[1]} (process {owner[0]})" if owner else "a process of another user"
    return error(f"the {kind} port {port} is taken by {who}", f"stop it or choose with {option}")


def _holds(entry: Path, stem: str) -> bool:
    """Tell whether an entry of "Plugins" is, or is a folder with, a certain library."""
    try:
        if entry.is_dir():
            return any(file.name.startswith(stem) for file in entry.iterdir())
    except OSError:
        return False
    return entry.name.startswith(stem)


def _real(path: str) -> str:
    return str(Path(path).resolve())
