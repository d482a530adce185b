"""What is bound by hand: read from the stubs of each family, which are its public face.

Each file in stubs/ holds the functions and classes of one family of native/callbacks or native/sdk
as they stand in the generated orthanc/__init__.pyi. A function belongs to the SDK function of its
name; one of another name says in its docstring, under "SDK function:", to which it belongs.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from .naming import PREFIX

_STUBS = Path(__file__).parent / "stubs"
_MENTIONED = re.compile(rf"{PREFIX}(\w+)\(\)")
_AFTER = re.compile(r"SDK functions?:(.*)", re.DOTALL)


@dataclass(frozen=True)
class Stub:
    """A function, a class or a type alias of one family."""

    family: str  # the file's stem
    name: str
    kind: str  # "function", "class" or "alias"
    source: str
    functions: tuple[str, ...]  # of the header, without prefix; all must be there
    methods: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Name it in messages."""
        return f"{self.family}.pyi: {self.name}"


def _functions(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> tuple[str, ...]:
    match = _AFTER.search(ast.get_docstring(node) or "")
    return tuple(dict.fromkeys(_MENTIONED.findall(match[1]))) if match else ()


def _read(path: Path) -> list[Stub]:
    text = path.read_text(encoding="utf-8")
    stubs: list[Stub] = []
    for node in ast.parse(text).body:
        source = ast.get_source_segment(text, node, padded=False) or ""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            source = "".join(f"@{ast.unparse(item)}\n" for item in node.decorator_list) + source
            found = Stub(path.stem, node.name, "function", source, _functions(node))
            if stubs and stubs[-1].name == found.name:  # another overload
                first = stubs.pop()
                joined = f"{first.source}\n{source}"
                found = replace(found, source=joined, functions=first.functions + found.functions)
        elif isinstance(node, ast.ClassDef):
            source = "".join(f"@{ast.unparse(item)}\n" for item in node.decorator_list) + source
            methods = tuple(
                item.name
                for item in node.body
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))
            )
            found = Stub(path.stem, node.name, "class", source, _functions(node), methods)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found = Stub(path.stem, node.target.id, "alias", source, ())
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found = Stub(path.stem, node.targets[0].id, "alias", source, ())
        else:
            continue  # the docstring, and imports for the editor's sake
        stubs.append(found)
    return stubs


@cache
def all_stubs() -> tuple[Stub, ...]:
    """Return everything in stubs/, by family and in the order of the files."""
    return tuple(stub for path in sorted(_STUBS.glob("*.pyi")) for stub in _read(path))


def stubs_for(header_functions: frozenset[str]) -> tuple[Stub, ...]:
    """Return what a header of these functions can have."""
    return tuple(item for item in all_stubs() if header_functions.issuperset(item.functions))
