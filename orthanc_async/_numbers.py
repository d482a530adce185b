"""The numbers that decorators and destinations are given, looked at."""

from __future__ import annotations

import math

__all__ = ["seconds", "whole"]


def seconds(where: str, name: str, value: object, why: str = "") -> float:
    """Return a number of seconds above 0.

    Args:
        where: The decorator or destination that was given it, for the error's text.
        name: The argument's name, for the error's text.
        value: What was given.
        why: What else the error's text tells when the number is infinite or not above 0.

    Raises:
        TypeError, ValueError: It is no number, not finite, or not above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"{where}: {name} must be a number of seconds, not {value!r}"
        raise TypeError(message)
    try:
        number = float(value)
    except OverflowError:  # a whole number larger than any float
        number = math.inf
    if not (math.isfinite(number) and number > 0):
        message = f"{where}: {name} must be above 0 and finite, not {value!r}"
        raise ValueError(f"{message}: {why}" if why else message)
    return number


def whole(where: str, name: str, value: object) -> int:
    """Return a whole number from 1 on.

    Args:
        where: The decorator or destination that was given it, for the error's text.
        name: The argument's name, for the error's text.
        value: What was given.

    Raises:
        TypeError, ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        message = f"{where}: {name} must be a whole number, not {value!r}"
        raise TypeError(message)
    if value < 1:
        message = f"{where}: {name} must be at least 1, not {value}"
        raise ValueError(message)
    return value
