"""Docstrings, signatures and literals of the generated files."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

from . import tables
from .naming import PREFIX

if TYPE_CHECKING:
    from .model import Enumeration
    from .operations import Argument, Operation

_WIDTH = 99

# What the header says of these functions is that they return 0.
_OUTPUTS = {
    "bytes": "What the SDK puts into its target buffer.",
    "tuple[int, dict[str, str], bytes]": "The HTTP status, the answer's headers, and its body.",
    "tuple[int, int]": "The group and the element.",
    "tuple[bytes, int] | tuple[None, None]": (
        "The value and its identifier; None for both when there is none."
    ),
    "tuple[str, str, StoreStatus]": (
        "Orthanc's identifier of the instance, the UUID of the attachment, and what became of it."
    ),
}


def c_string(text: str) -> str:
    """Return a C++ string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def docstring(text: str, indent: int) -> str:
    """Return a Python docstring whose further lines are indented, for a line that is already."""
    text = text.replace("\\", "\\\\").replace('"""', "'''").strip()
    if not text:
        return '"""Part of the Orthanc SDK."""'
    space = " " * indent
    lines: list[str] = []
    for line in text.splitlines():
        inner = len(line) - len(line.lstrip())
        wrapped = textwrap.wrap(
            line.strip(),
            _WIDTH - indent - inner,
            break_long_words=False,
            break_on_hyphens=False,
            subsequent_indent="    " if inner else "",
        )
        lines += [f"{' ' * inner}{part}" for part in wrapped] or [""]
    if lines[-1].endswith('"'):
        lines[-1] += " "
    if len(lines) == 1:
        return f'"""{lines[0]}"""'
    body = "\n".join(f"{space}{line}" if line else "" for line in lines[1:])
    return f'"""{lines[0]}\n{body}\n{space}"""'


def enumeration_text(enumeration: Enumeration) -> str:
    """Return the text for an enumeration's docstring."""
    documentation = enumeration.documentation
    return documentation.brief or documentation.details or f"{enumeration.name} of the SDK."


def full_text(operation: Operation) -> str:
    """Return the header's documentation in the order of a Python docstring."""
    documentation = operation.documentation
    parts = [documentation.brief or f"Call {PREFIX}{operation.name}()."]
    if documentation.details:
        parts.append(documentation.details)
    if operation.arguments:
        lines = [
            f"    {item.name}: {' '.join(item.documentation.split())}".rstrip()
            for item in operation.arguments
        ]
        parts.append("\n".join(["Args:", *lines]))
    if operation.python_result != "None" and documentation.returns:
        text = " ".join(documentation.returns.split())
        if text.startswith("0 if success"):
            text = _OUTPUTS.get(operation.python_result, "What the SDK hands out.")
        elif text.startswith("The NULL value in case of error, or the "):
            text = f"The {text.split(' or the ', 1)[1].split('.', 1)[0]}."
        parts.append(f"Returns:\n    {text}")
    raised = tables.RAISED.get(operation.name, "The call failed.")
    parts.append(f"Raises:\n    OrthancException: {raised}")
    parts += [f"Note: {note}" for note in documentation.notes]
    if documentation.deprecated:
        parts.append(f"Deprecated: {documentation.deprecated}")
    if operation.since:
        parts.append(f"Since Orthanc {operation.since}.")
    if function := tables.DERIVED.get(operation.name, operation.name):
        parts.append(f"SDK function: {PREFIX}{function}().")
    return "\n\n".join(parts)


def _positional(names: list[str]) -> str:
    return ", ".join([*names, "/"]) if names else ""


def arguments(operation: Operation) -> str:
    """Return the parameters of a function."""
    return _positional([item.name for item in operation.arguments])


def method_arguments(operation: Operation) -> str:
    """Return the parameters of a method."""
    return _positional(["self", *(item.name for item in operation.arguments)])


def _typed(item: Argument) -> str:
    return f"{item.name}: {'_Data' if item.python_type == 'Data' else item.python_type}"


def typed_arguments(operation: Operation) -> str:
    """Return the parameters of a function with their types."""
    return _positional([_typed(item) for item in operation.arguments])


def typed_method_arguments(operation: Operation) -> str:
    """Return the parameters of a method with their types."""
    return _positional(["self", *(_typed(item) for item in operation.arguments)])


def official(operation: Operation) -> Operation:
    """Return the operation as its CamelCase form gives its result."""
    if not operation.official_python:
        return operation
    documentation = replace(operation.documentation, returns=operation.official_returns)
    return replace(operation, python_result=operation.official_python, documentation=documentation)


def result_type(operation: Operation) -> str:
    """Return the type of the result."""
    return operation.python_result


def native_docstring(operation: Operation) -> str:
    """Return a docstring from which Python also reads the signature."""
    names = [item.name for item in operation.arguments]
    if operation.class_name:
        names.insert(0, "$self")
    documentation = operation.documentation
    text = documentation.brief or f"Call {PREFIX}{operation.name}()."
    signature = f"{operation.name}({_positional(names)})"
    return f"{signature}\n--\n\n{text}\n\nSDK function: {PREFIX}{operation.name}()."
