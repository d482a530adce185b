"""Checks of the SDK: what the installed Orthanc or this build of the plugin does not have."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orthanc_async._cli._findings import Finding, note, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_Version = tuple[int, ...]
_Details = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """What the build knows of the SDK's history; empty in a tree that was never built."""

    since: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def check_sdk(sdk: str, orthanc: str) -> Iterator[Finding]:
    """Look for functions that are missing because of the versions.

    Args:
        sdk: the version of the header that the plugin was built with.
        orthanc: the version of the installed Orthanc.
    """
    table = _table()
    built, installed = _number(sdk), _number(orthanc)
    lacking = _between(table, installed, None)
    if built > installed:
        yield warning(
            f"the plugin was built with SDK {sdk}, newer than Orthanc {orthanc}",
            "SDK functions that this Orthanc does not have raise an error; update Orthanc",
        )
    elif unbound := _between(table, built, installed):
        yield warning(
            f"the plugin was built with SDK {sdk}, older than Orthanc {orthanc}, and lacks what "
            "came in between",
            "update orthanc-dev and build again",
            unbound,
        )
    elif built == installed:
        yield ok(f"the plugin was built with the same SDK, {sdk}")
    else:
        yield ok(f"the plugin was built with SDK {sdk}; Orthanc {orthanc} has no more functions")
    if lacking:
        yield note(
            f"Orthanc {orthanc} does not have what later versions have",
            "scripts that need it get an error that names the version",
            lacking,
        )


def _between(table: _Table, after: _Version, until: _Version | None) -> _Details:
    """Return the functions that came after one version and until another, by version."""
    return tuple(
        (version, _grouped(names, table.features))
        for version, names in table.since.items()
        if after < _number(version) and (until is None or _number(version) <= until)
    )


def _grouped(names: tuple[str, ...], features: Mapping[str, tuple[str, ...]]) -> str:
    """Name functions, those of one feature together."""
    rest = set(names)
    parts = []
    for feature, members in features.items():
        if together := rest.intersection(members):
            parts.append(f"{feature} ({', '.join(sorted(together))})")
            rest -= together
    return "; ".join([*parts, *([", ".join(sorted(rest))] if rest else [])])


def _table() -> _Table:
    try:
        module = importlib.import_module("orthanc._since")
    except ImportError:
        return _Table()
    return _Table(module.SINCE, module.FEATURES)


def _number(version: str) -> _Version:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version))
    # A build from the main line calls itself "mainline (hash)": it has everything.
    return numbers if version[:1].isdigit() else (99,)
