"""What decorators of durable things are given, looked at."""

from __future__ import annotations

import datetime as dt

from orthanc_async import _checks
from orthanc_async._durable.attempt import Backoff, Gate, Policy, Retry

__all__ = ["backoff", "policy", "retry", "since", "timeout"]

TIME = "%Y%m%dT%H%M%S"  # as Orthanc writes times, always in UTC


def timeout(where: str, value: object) -> float | None:
    """Return the timeout of an attempt: seconds, or None.

    Raises:
        TypeError, ValueError: It is neither; `where` names the decorator in the text.
    """
    return None if value is None else _checks.seconds(where, "timeout", value)


def backoff(where: str, value: object) -> Backoff:
    """Return a backoff: as it was given, or always so many seconds, or the usual one for None.

    Raises:
        TypeError, ValueError: It is none of these.
    """
    if value is None:
        return Backoff()
    if isinstance(value, Backoff):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"{where}: backoff must be a Backoff or a number of seconds, not {value!r}"
        raise TypeError(message)
    fixed = _checks.duration(where, "backoff", value)
    return Backoff(first=fixed, longest=fixed, factor=1.0, jitter=0.0)


def retry(where: str, value: object, default: Retry) -> Retry:
    """Return a retry: as it was given, or the default for None.

    Raises:
        TypeError: It is neither.
    """
    if value is None:
        return default
    if not isinstance(value, Retry):
        message = f"{where}: retry must be a Retry, such as Retry(attempts=5), not {value!r}"
        raise TypeError(message)
    return value


def policy(
    where: str,
    handler: object,
    again: object = None,
    limit: object = None,
    concurrency: object = None,
) -> Policy:
    """Return the policy of a handler, with what its decorator was given laid over it.

    Raises:
        TypeError, ValueError: Something is not of its kind.
    """
    own = getattr(handler, "__durable_policy__", None)
    if own is None:
        own = Policy()
    gate: Gate | None = own.gate
    return Policy(
        retry(where, again, own.retry),
        own.timeout if limit is None else timeout(where, limit),
        own.concurrency
        if concurrency is None
        else _checks.whole(where, "concurrency", concurrency),
        gate,
    )


def since(where: str, value: object) -> str | None:
    """Return from when on resources matter, as Orthanc writes times; None: from now on.

    Raises:
        TypeError, ValueError: It is neither "all", nor a date, a datetime or None.
    """
    if value is None:
        return None
    if value == "all":
        return ""
    if isinstance(value, dt.date):
        moment = value if isinstance(value, dt.datetime) else dt.datetime.combine(value, dt.time())
        try:
            utc = moment.astimezone(dt.UTC)
        except (ValueError, OverflowError):  # in UTC it is outside of what a datetime can be
            message = f'{where}: since={value!r} is too far away: use "all" for all there is'
            raise ValueError(message) from None
        # Before there was DICOM; and `strftime` writes no four digits for the first thousand.
        return utc.strftime(TIME) if utc.year >= 1900 else ""
    message = f'{where}: since must be "all", a date or a datetime, not {value!r}'
    raise (ValueError if isinstance(value, str) else TypeError)(message)
