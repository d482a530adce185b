"""Numbers and texts that scripts give to decorators and destinations, looked at."""

from __future__ import annotations

__all__ = ["LONGEST", "count", "duration", "number", "seconds", "text", "whole"]

LONGEST = 100 * 366 * 86400.0  # seconds: databases cannot add what is much longer to a time
_MOST = 2**31 - 1


def number(where: str, name: str, value: object, least: float, most: float) -> float:
    """Return a number within limits.

    Raises:
        TypeError, ValueError: It is none; `where` names who was given it in the text.
    """
    value = _typed(where, name, value, "a number")
    # Compared before it is converted: an int may be too large for a float. NaN is not within.
    if not least <= value <= most:
        message = f"{where}: {name} must be from {least:g} to {most:g}, not {value!r:.30}"
        raise ValueError(message)
    return float(value)


def duration(where: str, name: str, value: object) -> float:
    """Return a number of seconds from 0 on, of 100 years at most.

    Raises:
        TypeError, ValueError: It is none.
    """
    value = _typed(where, name, value, "a number of seconds")
    if not 0 <= value <= LONGEST:
        message = (
            f"{where}: {name} must be finite and from 0 to {LONGEST:.0f} seconds (100 years), "
            f"not {value!r:.30}"
        )
        raise ValueError(message)
    return float(value)


def seconds(where: str, name: str, value: object, why: str = "") -> float:
    """Return a number of seconds above 0, of 100 years at most.

    Args:
        where: Who was given it, for the error's text.
        name: The argument's name.
        value: What was given.
        why: Why no other number will do, where the reader may wonder.

    Raises:
        TypeError, ValueError: It is none.
    """
    value = _typed(where, name, value, "a number of seconds")
    if not 0 < value <= LONGEST:
        message = (
            f"{where}: {name} must be above 0 and finite, {LONGEST:.0f} (100 years) at most, not "
            f"{value!r:.30}"
        )
        raise ValueError(f"{message}: {why}" if why else message)
    return float(value)


def count(where: str, name: str, value: object) -> int:
    """Return a whole number from 0 on that a database can hold.

    Raises:
        TypeError, ValueError: It is none.
    """
    value = _whole(where, name, value)
    if not 0 <= value < 2**63:
        message = f"{where}: {name} must be from 0 to 2**63 - 1, not {value}"
        raise ValueError(message)
    return value


def whole(where: str, name: str, value: object) -> int:
    """Return a whole number from 1 on.

    Raises:
        TypeError, ValueError: It is none.
    """
    value = _whole(where, name, value)
    if not 1 <= value <= _MOST:
        limit = f"at least 1, not {value}" if value < 1 else f"at most {_MOST}"
        message = f"{where}: {name} must be {limit}"
        raise ValueError(message)
    return value


def text(where: str, name: str, value: object) -> str:
    """Return a text that is not empty.

    Raises:
        TypeError, ValueError: It is none.
    """
    if not isinstance(value, str):
        message = f"{where}: {name} must be a text, not {type(value).__name__}"
        raise TypeError(message)
    if not value:
        message = f"{where}: {name} must not be empty"
        raise ValueError(message)
    return value


def _typed(where: str, name: str, value: object, what: str) -> float:
    # Not converted: see `number`.
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"{where}: {name} must be {what}, not {value!r}"
        raise TypeError(message)
    return value


def _whole(where: str, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        message = f"{where}: {name} must be a whole number, not {value!r}"
        raise TypeError(message)
    return value
