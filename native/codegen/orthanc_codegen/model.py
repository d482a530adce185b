"""What the header says, free of libclang."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Documentation:
    """A doxygen comment, cut into its parts."""

    brief: str = ""
    details: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    returns: str = ""
    notes: tuple[str, ...] = ()
    deprecated: str = ""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a C function."""

    name: str
    type: str  # as written, without superfluous spaces: "const char*"
    is_callback: bool = False


@dataclass(frozen=True)
class Function:
    """One function that the header defines, without the context among its parameters."""

    name: str  # without the prefix OrthancPlugin
    returns: str
    parameters: tuple[Parameter, ...]
    documentation: Documentation
    since: str = ""  # version of Orthanc, where the header says so


@dataclass(frozen=True)
class Member:
    """One value of an enumeration."""

    name: str  # as Python shows it: NEW_STUDY
    value: int
    documentation: str = ""


@dataclass(frozen=True)
class Enumeration:
    """One enumeration of the header."""

    name: str  # without the prefix OrthancPlugin
    members: tuple[Member, ...]
    documentation: Documentation


@dataclass(frozen=True)
class Header:
    """A whole header."""

    version: str
    enumerations: tuple[Enumeration, ...]
    functions: tuple[Function, ...]
    handles: frozenset[str]  # opaque structures, without the prefix OrthancPlugin
