"""From operations to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import tables, texts
from .handwritten import all_stubs
from .naming import snake_case

if TYPE_CHECKING:
    from .operations import HandleClass, Operation, Sdk

_HERE = Path(__file__).parent
# So many files that two cores compile them in parallel without one core's memory running out.
_PARTS = 4
_COPIED = ("_enumeration.py", "_outside.py", "_without_copy.py")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C++ and Python, not HTML
    )
    environment.filters.update(
        snake=snake_case,
        c_string=texts.c_string,
        c_doc=texts.native_docstring,
        py_doc=texts.docstring,
        enum_doc=texts.enumeration_text,
        full_doc=texts.full_text,
        arguments=texts.arguments,
        method_arguments=texts.method_arguments,
        typed_arguments=texts.typed_arguments,
        typed_method_arguments=texts.typed_method_arguments,
        result_type=texts.result_type,
        official=texts.official,
    )
    return environment


def output_names() -> tuple[str, ...]:
    """Return the names of the generated files, which never change."""
    return (
        "sdk_handles.hpp",
        "sdk_ops.hpp",
        "sdk_generated.cpp",
        *(f"sdk_generated_{number}.cpp" for number in range(1, _PARTS + 1)),
        "orthanc/__init__.py",
        "orthanc/__init__.pyi",
        "orthanc/py.typed",
        "orthanc/_since.py",
        *(f"orthanc/{name}" for name in _COPIED),
    )


def public_names(sdk: Sdk) -> list[str]:
    """Return what `from orthanc import *` gives, sorted."""
    names = [item.name for item in sdk.enumerations]
    names += [item.name for item in sdk.classes]
    for operation in sdk.functions:
        names += [operation.name, operation.awaitable]
    names += [item.name for item in sdk.stubs if item.kind != "alias"]
    return sorted([*names, "OrthancException"])


def _outside_classes(sdk: Sdk) -> dict[str, list[str]]:
    """Return the method names of each class, for where there is no native module."""
    classes: dict[str, list[str]] = {}
    for item in sdk.classes:
        names = [name for op in item.operations for name in (op.name, op.awaitable)]
        if item.name == "RestOutput":
            names += ["SendHttpStatus", "send_http_status"]
        classes[item.name] = names
    classes |= {item.name: list(item.methods) for item in sdk.stubs if item.kind == "class"}
    return classes


def _absent(sdk: Sdk) -> dict[str, str]:
    """Return why each function is missing that scripts may look for."""
    known = {item.name for item in sdk.functions} | set(sdk.hand_written)
    absent = dict(sdk.excluded)
    # A stub may have the name of another function of the header (RegisterMoveCallback2).
    have = {item.name for item in sdk.stubs}
    for name, since in tables.LATER.items():
        # The classes of methods have a message of their own.
        if "." not in name and name not in known and name not in have:
            absent[name] = absent[snake_case(name)] = (
                f"it needs the SDK of Orthanc {since} or newer, and this plugin was built with "
                f"that of {sdk.version}"
            )
    for item in all_stubs():
        later = [tables.LATER[name] for name in item.functions if name in tables.LATER]
        if item.name not in have and later:
            absent[item.name] = (
                f"it needs the SDK of Orthanc {later[0]} or newer, and this plugin was built with "
                f"that of {sdk.version}"
            )
    return absent


def python_since(sdk: Sdk) -> dict[str, str]:
    """Return the first Orthanc with each function, bound or known, by its CamelCase name."""
    operations = (*sdk.functions, *(op for item in sdk.classes for op in item.operations))
    since = {op.full_name: op.since for op in operations if op.since}
    by_hand = {name for stub in all_stubs() for name in stub.functions}
    since = {name: text for name, text in tables.LATER.items() if name not in by_hand} | since
    for stub in all_stubs():
        versions = [tables.LATER[name] for name in stub.functions if name in tables.LATER]
        if versions and stub.kind == "function" and stub.name[0].isupper():
            since[stub.name] = max(versions, key=version_number)
    return since


def version_number(text: str) -> tuple[int, ...]:
    """Return a version so that it compares as versions do: 1.12.10 is after 1.12.9."""
    return tuple(int(part) for part in text.split("."))


def _since_by_version(sdk: Sdk) -> dict[str, list[str]]:
    since = python_since(sdk)
    versions = sorted(set(since.values()), key=version_number)
    return {
        version: sorted(name for name, text in since.items() if text == version)
        for version in versions
    }


def _parts(sdk: Sdk) -> list[tuple[tuple[Operation, ...], tuple[HandleClass, ...]]]:
    """Spread functions evenly, and the classes over the files from the end."""
    own = [item for item in sdk.classes if not item.hand_written]
    return [
        (sdk.functions[number::_PARTS], tuple(own[_PARTS - 1 - number :: _PARTS]))
        for number in range(_PARTS)
    ]


def render(sdk: Sdk) -> dict[str, str]:
    """Return the text of every generated file by its name."""
    environment = _environment()
    operations = (*sdk.functions, *(op for item in sdk.classes for op in item.operations))

    def text(template: str, **values: object) -> str:
        return environment.get_template(template).render(sdk=sdk, **values)

    files = {
        "sdk_handles.hpp": text("sdk_handles.hpp.j2"),
        "sdk_ops.hpp": text("sdk_ops.hpp.j2", operations=operations),
        "sdk_generated.cpp": text("sdk_generated.cpp.j2", numbers=range(1, _PARTS + 1)),
        "orthanc/__init__.py": text(
            "init.py.j2",
            all_names=public_names(sdk),
            outside_classes=_outside_classes(sdk),
            absent=_absent(sdk),
        ),
        "orthanc/__init__.pyi": text(
            "init.pyi.j2",
            all_names=public_names(sdk),
            awaited_output=tables.AWAITED_OUTPUT,
        ),
        "orthanc/py.typed": "",
        "orthanc/_since.py": text(
            "since.py.j2", since=_since_by_version(sdk), features=tables.FEATURES
        ),
    }
    for number, (functions, classes) in enumerate(_parts(sdk), start=1):
        files[f"sdk_generated_{number}.cpp"] = text(
            "sdk_generated_part.cpp.j2", number=number, functions=functions, classes=classes
        )
    for name in _COPIED:
        files[f"orthanc/{name}"] = (_HERE / "package" / name).read_text(encoding="utf-8")
    return {name: files[name] for name in output_names()}
