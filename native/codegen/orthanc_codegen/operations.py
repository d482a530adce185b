"""What is bound: one operation a function, with the C++ and the Python side of each argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .naming import snake_case

if TYPE_CHECKING:
    from .handwritten import Stub
    from .model import Documentation, Enumeration


@dataclass(frozen=True)
class Argument:
    """One argument that Python passes."""

    name: str
    cpp_type: str
    python_type: str
    documentation: str
    parse: str = ""  # further C++ arguments of parse()
    hidden: bool = False  # passwords stay out of messages


@dataclass(frozen=True)
class Output:
    """One member that takes what the SDK hands out."""

    name: str
    cpp_type: str
    initial: str = ""  # arguments of its constructor

    @property
    def memory(self) -> bool:
        """Whether it is memory that the SDK allocates."""
        return self.cpp_type in {"MemoryBufferResult", "MemoryBuffer64Result"}


@dataclass(frozen=True)
class Operation:
    """One function or method of the SDK as Python sees it."""

    name: str
    class_name: str  # empty: a function of the module
    self_type: str  # C++ type of the object, without the star
    arguments: tuple[Argument, ...]
    outputs: tuple[Output, ...]
    statement: str  # C++ of run()
    result: str  # C++ of result()
    python_result: str
    documentation: Documentation
    pure: bool
    since: str = ""
    official_result: str = ""  # C++ of official_result(), where the CamelCase form has its own
    official_python: str = ""
    official_returns: str = ""  # for its docstring
    hand_written: bool = False  # the C++ structure is in native/sdk/structures.hpp

    @property
    def awaitable(self) -> str:
        """The name of the awaitable twin."""
        return snake_case(self.name)

    @property
    def short(self) -> str:
        """The name without that of the class: KeysValuesIterator.Next; empty where it has none.

        Versions of the official plugin differ in which of the two names they give.
        """
        bare = self.name.removeprefix(self.class_name)
        return "" if bare == self.name else bare

    @property
    def short_awaitable(self) -> str:
        """The awaitable twin's name without that of the class."""
        return snake_case(self.short)

    @property
    def op_name(self) -> str:
        """The name of the C++ structure."""
        return self.name

    @property
    def gives_memory(self) -> bool:
        """Whether the result is one memory buffer and nothing else."""
        return self.result in {f"{item.name}_.take()" for item in self.outputs if item.memory}

    @property
    def full_name(self) -> str:
        """The name in messages: Image.DrawText."""
        return f"{self.class_name}.{self.name}" if self.class_name else self.name

    @property
    def full_awaitable(self) -> str:
        """The awaitable twin's name in messages."""
        return f"{self.class_name}.{self.awaitable}" if self.class_name else self.awaitable


@dataclass(frozen=True)
class HandleClass:
    """A class whose objects wrap a pointer of the SDK."""

    name: str
    free: str  # the SDK's function, without prefix; empty for what is always borrowed
    operations: tuple[Operation, ...]
    hand_written: bool


@dataclass(frozen=True)
class Sdk:
    """Everything that is rendered."""

    version: str
    enumerations: tuple[Enumeration, ...]
    functions: tuple[Operation, ...]
    classes: tuple[HandleClass, ...]
    stubs: tuple[Stub, ...]  # what is bound by hand
    hand_written: tuple[str, ...]  # header functions
    excluded: dict[str, str]  # header functions, with the reason
