"""Reads the C header with libclang."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from clang.cindex import (
    Cursor,
    CursorKind,
    Diagnostic,
    Index,
    LibclangError,
    TranslationUnit,
    Type,
    TypeKind,
)

from .doxygen import parse_comment, trailing_comment
from .errors import CodegenError
from .model import Enumeration, Function, Header, Member, Parameter
from .naming import PREFIX, member_name, parameter_name, strip_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONTAINERS = (CursorKind.LINKAGE_SPEC, CursorKind.UNEXPOSED_DECL)
_CONTEXT_TYPES = ("OrthancPluginContext*", "const OrthancPluginContext*")
_SINCE = "ORTHANC_PLUGIN_SINCE_SDK "
# Every enumeration ends in such a value, which makes compilers give it 32 bits.
_SENTINEL = re.compile(r"_INTERNAL$", re.IGNORECASE)


def _builtin_headers() -> str:
    """Ask the C compiler for its own headers: libclang from PyPI comes without."""
    try:
        found = subprocess.run(
            ["cc", "-print-file-name=include"],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        msg = f"no C compiler 'cc' to ask for its headers (install gcc or clang): {error}"
        raise CodegenError(msg) from error
    return found.stdout.strip()


def _parse(path: Path) -> TranslationUnit:
    arguments = ["-xc++", "-std=c++17", f"-I{_builtin_headers()}"]
    if not path.is_file():
        msg = f"no header {path}: install Orthanc's SDK (Debian: orthanc-dev)"
        raise CodegenError(msg)
    try:
        unit = Index.create().parse(str(path), args=arguments)
    except LibclangError as error:
        msg = f"libclang cannot be loaded (pip install libclang): {error}"
        raise CodegenError(msg) from error
    errors = [str(item) for item in unit.diagnostics if item.severity >= Diagnostic.Error]
    if errors:
        msg = f"{path} does not compile:\n" + "\n".join(errors)
        raise CodegenError(msg)
    return unit


def _declarations(cursor: Cursor) -> Iterator[Cursor]:
    for child in cursor.get_children():
        if child.kind in _CONTAINERS:
            yield from _declarations(child)
        else:
            yield child


def _version(text: str, path: Path) -> str:
    numbers: list[str] = []
    for part in ("MAJOR", "MINOR", "REVISION"):
        match = re.search(rf"#define ORTHANC_PLUGINS_MINIMAL_{part}_NUMBER\s+(\d+)", text)
        if match is None:
            msg = f"{path} does not say its version: is it OrthancCPlugin.h?"
            raise CodegenError(msg)
        numbers.append(match[1])
    return ".".join(numbers)


def _spelling(c_type: Type) -> str:
    return re.sub(r"\s*\*\s*", "*", c_type.spelling)


def _is_callback(c_type: Type) -> bool:
    canonical = c_type.get_canonical()
    return bool(
        canonical.kind == TypeKind.POINTER
        and canonical.get_pointee().kind == TypeKind.FUNCTIONPROTO
    )


def _function(cursor: Cursor) -> Function:
    arguments = list(cursor.get_arguments())
    if not arguments or _spelling(arguments[0].type) not in _CONTEXT_TYPES:
        msg = f"{cursor.spelling}() does not begin with the context: a shape of a new header"
        raise CodegenError(msg)
    since = ""
    for child in cursor.get_children():
        if child.kind == CursorKind.ANNOTATE_ATTR and child.spelling.startswith(_SINCE):
            since = child.spelling.removeprefix(_SINCE)
    return Function(
        name=strip_prefix(cursor.spelling),
        returns=_spelling(cursor.result_type),
        parameters=tuple(
            Parameter(
                name=parameter_name(item.spelling),
                type=_spelling(item.type),
                is_callback=_is_callback(item.type),
            )
            for item in arguments[1:]
        ),
        documentation=parse_comment(cursor.raw_comment),
        since=since,
    )


def _enumeration(cursor: Cursor) -> Enumeration:
    name = strip_prefix(cursor.spelling)
    return Enumeration(
        name=name,
        members=tuple(
            Member(
                name=member_name(name, item.spelling),
                value=item.enum_value,
                documentation=trailing_comment(item.raw_comment),
            )
            for item in cursor.get_children()
            if item.kind == CursorKind.ENUM_CONSTANT_DECL and not _SENTINEL.search(item.spelling)
        ),
        documentation=parse_comment(cursor.raw_comment),
    )


def read_header(path: Path) -> Header:
    """Read the header at `path`.

    Raises:
        CodegenError: It is missing, does not compile, or is not Orthanc's.

    """
    unit = _parse(path)
    version = _version(path.read_text(encoding="utf-8", errors="replace"), path)
    functions: list[Function] = []
    enumerations: list[Enumeration] = []
    handles: set[str] = set()
    for cursor in _declarations(unit.cursor):
        if not cursor.spelling.startswith(PREFIX):
            continue  # what begins with an underscore is the header's own
        # What is only declared is for plugins to define (OrthancPluginInitialize).
        if cursor.kind == CursorKind.FUNCTION_DECL and cursor.is_definition():
            functions.append(_function(cursor))
        elif cursor.kind == CursorKind.ENUM_DECL:
            enumerations.append(_enumeration(cursor))
        elif cursor.kind == CursorKind.TYPEDEF_DECL:
            target = cursor.underlying_typedef_type.get_canonical().get_declaration()
            if target.kind == CursorKind.STRUCT_DECL and target.get_definition() is None:
                handles.add(strip_prefix(cursor.spelling))
    return Header(version, tuple(enumerations), tuple(functions), frozenset(handles))
