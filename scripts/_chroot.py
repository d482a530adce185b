"""Folders with a Debian of their own: made with debootstrap, entered with chroot.

Everything inside runs in a mount and process namespace of its own: when it has ended, however it
ended, no mount and no process is left.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PIP_FILE = "etc/pip.conf"
# Variables that say how the network is reached, for apt and pip.
NETWORK = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
TOOLS = {
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "chroot": "coreutils",
    "rsync": "rsync",
    "apt-get": "apt",
}

# Arguments: root, folder inside, pairs of outer and inner path to an empty one, the command.
_ENTER = """
root=$1 folder=$2
shift 2
# Not from debootstrap, and nobody else makes it where no network is set up.
[[ -e $root/etc/hosts ]] || echo "127.0.0.1 localhost" >"$root/etc/hosts"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/tmp"
while [[ $1 != "" ]]; do
    if [[ -d $1 ]]; then
        mkdir -p "$root$2"
    elif [[ ! -e $root$2 ]]; then
        mkdir -p "$root${2%/*}"
        touch "$root$2"
    fi
    # What appears at its own path is this system's: to be read only.
    if [[ $1 == "$2" ]]; then mount -o bind,ro "$1" "$root$2"; else mount --bind "$1" "$root$2"; fi
    shift 2
done
shift
# What a shell starts in the background ignores Ctrl-C; the tests send it.
exec env --default-signal=INT,QUIT chroot "$root" bash -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""
_NO_SERVICES = "#!/bin/sh\n# No package may start a service in here.\nexit 101\n"


class MatrixError(Exception):
    """A system could not be made or tested; the text is the reason."""


def missing_tools() -> str:
    """Return what is missing for making and entering a root, or an empty string."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian: apt install {package})"
    if os.geteuid() != 0:
        return "this needs root, for debootstrap and chroot: run it as root or with sudo"
    if subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode:
        return "no mount namespace can be made here (in a container: it needs CAP_SYS_ADMIN)"
    return ""


def plain_environment() -> dict[str, str]:
    """Return the environment of everything inside."""
    kept = {name: os.environ[name] for name in (*NETWORK, "CI") if name in os.environ}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **kept}


def run(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] = {}) -> None:
    """Run a command outside, its output into the log.

    Raises:
        MatrixError: It failed.
    """
    with log.open("a") as output:
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            env={**os.environ, **environment},
        ).returncode
    if code:
        raise MatrixError(f"{command[0]} failed with exit code {code}")


def enter(
    root: Path,
    command: Sequence[str],
    log: Path,
    *,
    binds: Mapping[Path, str] = {},
    environment: Mapping[str, str] = {},
    folder: str = "/",
) -> int:
    """Run a command inside a root and return its exit code.

    Args:
        root: The root.
        command: A program inside, and its arguments.
        log: Takes all output.
        binds: Files and folders of this system and where they appear inside.
        environment: Added to the plain one.
        folder: The working folder inside.
    """
    pairs = [str(part) for pair in binds.items() for part in pair]
    with log.open("a") as output:
        return subprocess.run(
            [*NAMESPACES, "bash", "-euc", _ENTER, "bash", root, folder, *pairs, "", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            env={**plain_environment(), **environment},
        ).returncode


def remove(root: Path) -> None:
    """Delete a root, and nothing that is mounted there.

    Raises:
        MatrixError: Something is mounted below it.
    """
    if not root.exists():
        return
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        if Path(line.split()[4]).is_relative_to(root):
            raise MatrixError(f"{line.split()[4]} is a mount point: unmount it first")
    subprocess.run(["rm", "-rf", "--one-file-system", root], check=True)


def apt_settings() -> tuple[str, str]:
    """Return the mirror of this system's own apt, and its settings for the network.

    The mirror is empty where apt has none: debootstrap then takes Debian's own.
    """
    if shutil.which("apt-get") is None:
        return "", ""
    targets = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    sites = _output([*targets, "Origin: Debian", "Label: Debian"]).splitlines()
    lines = _output(["apt-config", "dump"]).splitlines()
    network = [line for line in lines if line.startswith(("Acquire::http::", "Acquire::https::"))]
    return (sites[0] if sites else ""), "".join(f"{line}\n" for line in network)


def bootstrap(suite: str, root: Path, packages: Path, log: Path) -> None:
    """Make a minimal Debian.

    Args:
        suite: Its name on the mirror.
        root: The folder, which is not there yet.
        packages: A folder that keeps what was downloaded.
        log: Takes all output.

    Raises:
        MatrixError: It failed; most often the mirror cannot be reached.
    """
    mirror, network = apt_settings()
    proxy = [line.split('"')[1] for line in network.splitlines() if "http::Proxy " in line]
    command: list[str | Path] = ["debootstrap", "--variant=minbase", f"--cache-dir={packages}"]
    command += [suite, root, mirror] if mirror else [suite, root]
    try:
        run(command, log, {"http_proxy": proxy[0]} if proxy and proxy[0] else {})
    except MatrixError as error:
        raise MatrixError(
            f"debootstrap failed ({error}): is Debian's mirror reached from here?"
        ) from error
    configure(root, network)


def configure(root: Path, network: str) -> None:
    """Set apt up in a root, and let no package start a service there."""
    configuration = root / "etc/apt/apt.conf.d/90matrix"
    # A mirror may show a snapshot that is older than its Release file allows.
    valid = 'Acquire::Check-Valid-Until "false";\nAPT::Install-Recommends "false";\n'
    configuration.write_text(valid + network, "utf-8")
    services = root / "usr/sbin/policy-rc.d"
    services.write_text(_NO_SERVICES, "utf-8")
    services.chmod(0o755)


def install(root: Path, packages: Sequence[str], log: Path) -> None:
    """Install packages in a root.

    Raises:
        MatrixError: It failed.
    """
    for command in (["update"], ["install", "--yes", *packages], ["clean"]):
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        if enter(root, ["apt-get", *command], log, environment=environment):
            raise MatrixError(f"apt-get {command[0]} failed")


class PipSettings:
    """How this system's pip reaches its packages, handed on to the pip inside a root.

    pip's whole configuration goes into one file there; the files and folders that it names, and
    the certificates, appear inside at their own paths.

    Args:
        root: The root.
    """

    def __init__(self, root: Path) -> None:
        names = [name for name in os.environ if name.startswith("PIP_")]
        names += [name for name in CERTIFICATES if name in os.environ]
        self.environment = {name: os.environ[name] for name in names}
        self._file = root / PIP_FILE
        self._sections: dict[str, dict[str, str]] = {}
        listed = _output([sys.executable, "-m", "pip", "config", "list"])
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            section, _, name = key.partition(".")
            if not section.startswith(":"):
                self._sections.setdefault(section, {})[name] = str(ast.literal_eval(value))
        self.binds: dict[Path, str] = {}
        texts = [text for values in self._sections.values() for text in values.values()]
        for text in (*texts, *self.environment.values()):
            for word in text.split():
                self._bind(word.removeprefix("file://"))

    def __enter__(self) -> Self:
        lines = []
        for section, values in self._sections.items():
            lines.append(f"[{section}]")
            lines += [f"{name} = {' '.join(value.split())}" for name, value in values.items()]
        self._file.write_text("\n".join([*lines, ""]), "utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)

    def _bind(self, text: str) -> None:
        path = Path(text)
        if not path.is_absolute() or not path.exists() or path == Path("/"):
            return
        target = path
        # An index lies beside the files that it links to.
        if (path / "../packages").is_dir() or path.name == "simple":
            target = path.parent
        self.binds[target] = str(target)


def _output(command: Sequence[str]) -> str:
    """Return what a command prints, or nothing if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
