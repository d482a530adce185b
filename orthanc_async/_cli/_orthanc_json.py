"""Read Orthanc's configuration files as Orthanc does: comments, variables, folders."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Strings come first, so that what looks like a comment inside one stays.
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")

# Orthanc reads relative paths in these from the folder of the configuration file.
_PATHS = (
    "StorageDirectory",
    "IndexDirectory",
    "TemporaryDirectory",
    "SslCertificate",
    "SslTrustedClientCertificates",
    "HttpsCACertificates",
    "DicomTlsCertificate",
    "DicomTlsPrivateKey",
    "DicomTlsTrustedCertificates",
)
_PATH_LISTS = ("Plugins", "LuaScripts")
_PORTS = ("HttpPort", "DicomPort")


class ConfigError(Exception):
    """A configuration that Orthanc would not accept; the text names file and reason."""


def parse(text: str, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the object in a configuration's text.

    Args:
        text: JSON, with `//` and `/* */` comments and `${NAME}` or `${NAME:-default}`.
        environment: the variables.

    Raises:
        ValueError: it is no JSON object.
    """

    def blank(found: re.Match[str]) -> str:
        token = found[0]
        # Line ends stay: an error names the line in the user's file.
        return token if token.startswith('"') else re.sub(r"[^\n]", " ", token)

    def variable(found: re.Match[str]) -> str:
        return environment.get(found[1], found[2] or "")

    value = json.loads(_TOKEN.sub(blank, _VARIABLE.sub(variable, text)))
    if not isinstance(value, dict):
        raise ValueError("the configuration must be one JSON object { … }")  # noqa: TRY004 - wrong data
    return value


def read(path: Path) -> dict[str, Any]:
    """Return the configuration in a file, or in all `*.json` files of a folder.

    Relative paths are made absolute, so that the result may be written elsewhere.

    Raises:
        ConfigError: a file cannot be read or parsed, or two files hold the same key.
    """
    if not path.is_dir():
        return _read_file(path)
    result: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for file in sorted(path.glob("*.json")):
        for key, value in _read_file(file).items():
            if key in result:
                raise ConfigError(
                    f'both {origin[key]} and {file} hold "{key}": Orthanc refuses that, '
                    f"keep it in one of them"
                )
            result[key], origin[key] = value, file
    return result


def _read_file(path: Path) -> dict[str, Any]:
    try:
        value = parse(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    folder = path.absolute().parent
    for key in _PATHS:
        if isinstance(value.get(key), str) and value[key]:
            value[key] = str(folder / value[key])
    for key in _PATH_LISTS:
        items = value.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ConfigError(f'{path}: "{key}" must be a list of paths, not {items!r}')
        if key in value:
            value[key] = [str(folder / item) for item in items]
    for key in _PORTS:
        if key in value and not _is_port(value[key]):
            raise ConfigError(
                f'{path}: "{key}" must be a number from 1 to 65535, not {value[key]!r}'
            )
    return value


def _is_port(value: object) -> bool:
    """Tell whether a value of a configuration is the number of a port."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
