"""Importing the configured scripts, as modules named by their files."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, ModuleType


class ScriptError(Exception):
    """A script cannot be loaded. The text names file, line and reason."""


@dataclass(frozen=True)
class Script:
    """A script that is there and can be read."""

    path: Path
    name: str


_plain_path: list[str] = []  # sys.path as it was before the first script
_folders: set[str] = set()  # whose modules belong to the scripts
_names: dict[str, str] = {}  # of the scripts, by their paths


def find(names: Sequence[str]) -> list[Script]:
    """Check all scripts before the first one runs.

    Args:
        names: Paths, relative ones counted from Orthanc's working directory.

    Raises:
        ScriptError: One is missing, unreadable, or has the name of another one.
    """
    scripts: dict[str, Script] = {}
    for name in names:
        path = Path(name).absolute()
        if not path.exists():
            if path.is_symlink():
                raise ScriptError(
                    f"script {path} is a link to {path.readlink()}, which does not exist"
                )
            where = "" if Path(name).is_absolute() else f" (relative to {Path.cwd()})"
            raise ScriptError(f"script {name}{where} does not exist")
        if not path.is_file():
            raise ScriptError(f"script {name} is not a file")
        if not os.access(path, os.R_OK):
            raise ScriptError(
                f"script {path} cannot be read by the user that runs Orthanc (uid {os.getuid()}): "
                "give that user the right to read it and to enter its folders"
            )
        script = Script(path, path.stem)
        if script.name in scripts:
            raise ScriptError(
                f"two scripts are called {script.name!r}: {scripts[script.name].path} and {path}; "
                "a script is a module named by its file, so rename one"
            )
        scripts[script.name] = script
    return list(scripts.values())


def load(scripts: Sequence[Script]) -> None:
    """Import the scripts afresh, in order. Thread: owner, before the loop runs.

    Raises:
        ScriptError: One has a syntax error or raises.
    """
    _forget()
    _names.update((str(script.path), script.name) for script in scripts)
    for script in scripts:
        folder = str(script.path.parent)
        _folders.add(folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    # The plugin may have imported a module before; a script in its place would be its ruin.
    for script in scripts:
        if script.name in sys.modules:
            origin = getattr(sys.modules[script.name], "__file__", None) or "built in"
            raise ScriptError(
                f"script {script.path} has the name of the module {script.name!r} ({origin}), "
                "which is in use already: rename the script"
            )
    importlib.invalidate_caches()
    for script in scripts:
        _load_one(script)


def caller() -> bytes:
    """Return the name of the script whose code calls into the SDK. Called by the native half.

    It is the outermost one on the stack: what a module does while a script imports it, the script
    does. Where no script is on the stack, as in a thread of a module beside it, the name is empty
    if there are several.
    """
    found = ""
    if len(_names) == 1:
        (found,) = _names.values()
    else:
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            found = _names.get(frame.f_code.co_filename, found)
            frame = frame.f_back
    return found.encode(errors="surrogateescape")


def is_script_module(name: str) -> bool:
    """Tell whether a module is a script or lies in a script's folder."""
    module = sys.modules.get(name)
    return module is not None and _belongs(module)


def _load_one(script: Script) -> None:
    spec = importlib.util.spec_from_file_location(script.name, script.path)
    if spec is None or spec.loader is None:
        raise ScriptError(f"script {script.path} cannot be imported: is it a Python file?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[script.name]
        raise ScriptError(_explain(script, error)) from error


def _explain(script: Script, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        lines = traceback.format_exception_only(error)
        where = f"{error.filename}, line {error.lineno}"
        return f"{''.join(lines).rstrip()}\nscript {script.path} has a syntax error: {where}: " + (
            error.msg or "invalid syntax"
        )
    # The frames of this module and of importlib tell a script's author nothing.
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != str(script.path):
        frames = frames.tb_next
    shown = error.with_traceback(frames or error.__traceback__)
    text = "".join(traceback.format_exception(shown)).rstrip()
    stack = traceback.extract_tb(frames)
    place = f", line {stack[0].lineno}" if stack else ""
    if isinstance(error, SystemExit):
        reason = f"it called sys.exit({error.code!r})"
    elif isinstance(error, UnicodeDecodeError):
        reason = f"it is not UTF-8 text ({error})"
    else:
        reason = f"{type(error).__name__}: {error}"
    if stack and stack[-1].filename != str(script.path):
        reason += f" (raised in {stack[-1].filename}, line {stack[-1].lineno})"
    return f"{text}\nscript {script.path}{place} cannot be loaded: {reason}"


def _belongs(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if not file or "site-packages" in file or "dist-packages" in file:
        return False
    return any(Path(file).is_relative_to(folder) for folder in _folders) and not Path(
        file
    ).is_relative_to(Path(__file__).parent.parent)


def _forget() -> None:
    """Drop what the scripts of an earlier start have imported."""
    if not _plain_path:
        _plain_path.extend(sys.path)
        return
    for name, module in list(sys.modules.items()):
        if _belongs(module):
            del sys.modules[name]
    _folders.clear()
    _names.clear()
    sys.path[:] = _plain_path
    # Modules and their functions are cycles: whatever they hold goes before the new ones come.
    gc.collect()
