"""The configuration of an Orthanc that is started from here, and the plugin it loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orthanc_async

LIBRARY = "libOrthancAsync.so"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# Orthanc opens its DICOM port on all addresses and cannot be told otherwise. What it can do is
# refuse every peer that it does not know by title *and* address; these are the titles that
# DCMTK's tools give themselves, known from this machine only.
_LOCAL_TITLES = ("STORESCU", "ECHOSCU", "FINDSCU", "MOVESCU", "GETSCU")
LOOPBACK_ONLY: dict[str, Any] = {
    "RemoteAccessAllowed": False,
    "DicomCheckModalityHost": True,
    "DicomAlwaysAllowEcho": False,
    "DicomAlwaysAllowStore": False,
    "DicomAlwaysAllowFind": False,
    "DicomAlwaysAllowFindWorklist": False,
    "DicomAlwaysAllowGet": False,
    "DicomAlwaysAllowMove": False,
}


def plugin_library() -> Path:
    """Return the plugin's library inside the installed package.

    Raises:
        FileNotFoundError: the package was imported from a folder where it has not been built.
    """
    # An editable install spreads the package over two folders; the path knows both.
    for folder in orthanc_async.__path__:
        library = Path(folder) / LIBRARY
        if library.is_file():
            return library.absolute()
    raise FileNotFoundError(
        f"{LIBRARY} is not in {' or '.join(orthanc_async.__path__)}: "
        f"build it with 'pip install .' in the project's folder"
    )


def build(
    *,
    scripts: Sequence[Path],
    plugins: Sequence[str | Path],
    storage: Path,
    http_port: int,
    dicom_port: int | None,
    public: bool,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the whole configuration of one run.

    Args:
        scripts: absolute paths for `Python.Scripts`.
        plugins: libraries or folders for `Plugins`.
        storage: folder of the files and the index.
        http_port: the REST API's port.
        dicom_port: the DICOM server's port, None for no DICOM server.
        public: other machines may connect; without it, only this one.
        extra: laid over all of it; sections are merged, everything else is replaced.
    """
    base: dict[str, Any] = {
        "Name": "Orthanc",
        "StorageDirectory": str(storage),
        "IndexDirectory": str(storage),
        "Plugins": [str(plugin) for plugin in plugins],
        "HttpPort": http_port,
        "DicomServerEnabled": dicom_port is not None,
    }
    if _CERTIFICATES.is_file():
        # Left empty, Orthanc 1.10 takes the configuration's own folder for a file of them.
        base["HttpsCACertificates"] = str(_CERTIFICATES)
    if scripts:
        base["Python"] = {"Scripts": [str(script) for script in scripts]}
    if dicom_port is not None:
        base["DicomPort"] = dicom_port
    if public:
        base.update(RemoteAccessAllowed=True)
    else:
        base.update(LOOPBACK_ONLY)
        base["DicomModalities"] = {
            f"local-{title.lower()}": [title, "127.0.0.1", 104] for title in _LOCAL_TITLES
        }
    return merged(base, extra)


def merged(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `extra` laid over it, objects merged key by key."""
    result = dict(base)
    for key, value in extra.items():
        known = result.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            result[key] = merged(known, value)
        else:
            result[key] = value
    return result
