"""Names of the C header as Python spells them."""

from __future__ import annotations

import keyword
import re

PREFIX = "OrthancPlugin"

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MEMBER_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])")


def strip_prefix(name: str) -> str:
    """Return a C name without Orthanc's prefix."""
    return name.removeprefix(PREFIX)


def snake_case(name: str) -> str:
    """Spell a CamelCase function as its awaitable twin: RestApiGet is rest_api_get."""
    return _BOUNDARY.sub("_", name).lower()


def member_name(enumeration: str, c_name: str) -> str:
    """Spell the value of an enumeration as the official plugin does: NEW_STUDY."""
    bare = c_name.removeprefix("_").removeprefix(f"{PREFIX}{enumeration}_")
    return _MEMBER_BOUNDARY.sub("_", bare).upper()


def parameter_name(name: str) -> str:
    """Return a parameter's name, changed where Python reserves it."""
    return f"{name}_" if keyword.iskeyword(name) else name
