"""Asynchronous plugins for Orthanc: routes, events, resources and lifecycle.

Everything is imported when it is first used, so that a script that needs only the routes
does not pay for the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthanc_async import events, jobs, lifecycle, resources, rest
    from orthanc_async.events import (
        Change,
        on_change,
        on_completed_series,
        on_deleted,
        on_deleted_instance,
        on_deleted_patient,
        on_deleted_series,
        on_deleted_study,
        on_new_instance,
        on_new_patient,
        on_new_series,
        on_new_study,
        on_stable_patient,
        on_stable_series,
        on_stable_study,
        on_stored_instance,
    )
    from orthanc_async.lifecycle import (
        background,
        every,
        on_shutdown,
        on_startup,
        run_coroutine,
    )
    from orthanc_async.resources import Instance, Patient, Resource, Series, Study

__all__ = [
    "Change",
    "Instance",
    "Patient",
    "Resource",
    "Series",
    "Study",
    "background",
    "events",
    "every",
    "jobs",
    "lifecycle",
    "on_change",
    "on_completed_series",
    "on_deleted",
    "on_deleted_instance",
    "on_deleted_patient",
    "on_deleted_series",
    "on_deleted_study",
    "on_new_instance",
    "on_new_patient",
    "on_new_series",
    "on_new_study",
    "on_shutdown",
    "on_stable_patient",
    "on_stable_series",
    "on_stable_study",
    "on_startup",
    "on_stored_instance",
    "resources",
    "rest",
    "run_coroutine",
]

_MODULES = frozenset({"events", "jobs", "lifecycle", "resources", "rest"})
_HOMES = {
    **dict.fromkeys(("Instance", "Patient", "Resource", "Series", "Study"), "resources"),
    **dict.fromkeys(
        ("background", "every", "on_shutdown", "on_startup", "run_coroutine"), "lifecycle"
    ),
}

if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name: str) -> object:
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        # What is in neither list above is an event: those are the many.
        module = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'events')}")
        value: object = getattr(module, name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
