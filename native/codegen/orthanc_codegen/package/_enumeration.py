"""The kind of enumeration that scripts written for Orthanc expect."""

from __future__ import annotations

from enum import EnumType, IntEnum
from types import MappingProxyType
from typing import Any


class _Type(EnumType):
    """Shows only the members in `__dict__`.

    Scripts look names up by turning `ChangeType.__dict__` around. What the enum module keeps
    there besides stands in the way: lists cannot be keys, and `_use_args_`, being True, would
    take the place of the member that equals 1.
    """

    def __init__(cls, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        cls._complete_ = True  # until here the enum module reads and needs the whole `__dict__`

    def __setattr__(cls, name: str, value: Any) -> None:
        # The enum module looks for members in `__dict__`, after creation in vain.
        if name in cls._member_map_ and cls._member_map_[name] is not value:
            msg = f"cannot reassign member {name!r} of {cls.__name__}"
            raise AttributeError(msg)
        super().__setattr__(name, value)

    @property  # type: ignore[misc]  # final in the type checker's eyes
    def __dict__(cls) -> MappingProxyType[str, Any]:  # type: ignore[override]
        own = type.__dict__["__dict__"].__get__(cls)
        if "_complete_" not in own or not own["_member_map_"]:
            return own  # type: ignore[no-any-return]  # in the making, or the base class
        shown = {
            name: value
            for name, value in own.items()
            if not name.startswith("_") or name in {"__doc__", "__module__"}
        }
        return MappingProxyType(shown)


class Enumeration(IntEnum, metaclass=_Type):
    """An IntEnum whose `__dict__` holds its members and nothing that equals them."""
