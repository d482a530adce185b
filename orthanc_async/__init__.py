"""Asynchronous plugins for Orthanc: routes, events, forwarding, DICOM services, lifecycle.

Everything is imported when it is first used, so that a script that needs only the routes
does not pay for the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthanc_async import (
        audit,
        dicom,
        events,
        forward,
        http_access,
        images,
        incoming,
        jobs,
        lifecycle,
        metrics,
        resources,
        rest,
        storage,
        tasks,
        webdav,
    )
    from orthanc_async.audit import AuditLog, on_audit_log
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
    from orthanc_async.http_access import (
        Authentication,
        FilteredRequest,
        Forbidden,
        Granted,
        HttpRequest,
        Redirect,
        Unauthorized,
        http_authentication,
        http_filter,
    )
    from orthanc_async.images import (
        DecodeRequest,
        TranscodeRequest,
        as_image,
        image_decoder,
        transcoder,
    )
    from orthanc_async.incoming import (
        Discard,
        ReceivedInstance,
        c_store_filter,
        instance_filter,
        on_received_instance,
    )
    from orthanc_async.lifecycle import background, every, on_shutdown, on_startup, run_coroutine
    from orthanc_async.resources import Instance, Patient, Resource, Series, Study

__all__ = [
    "AuditLog",
    "Authentication",
    "Change",
    "DecodeRequest",
    "Discard",
    "FilteredRequest",
    "Forbidden",
    "Granted",
    "HttpRequest",
    "Instance",
    "Patient",
    "ReceivedInstance",
    "Redirect",
    "Resource",
    "Series",
    "Study",
    "TranscodeRequest",
    "Unauthorized",
    "as_image",
    "audit",
    "background",
    "c_store_filter",
    "dicom",
    "events",
    "every",
    "forward",
    "http_access",
    "http_authentication",
    "http_filter",
    "image_decoder",
    "images",
    "incoming",
    "instance_filter",
    "jobs",
    "lifecycle",
    "metrics",
    "on_audit_log",
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
    "on_received_instance",
    "on_shutdown",
    "on_stable_patient",
    "on_stable_series",
    "on_stable_study",
    "on_startup",
    "on_stored_instance",
    "resources",
    "rest",
    "run_coroutine",
    "storage",
    "tasks",
    "transcoder",
    "webdav",
]

_MODULES = frozenset(
    {
        "audit",
        "dicom",
        "events",
        "forward",
        "http_access",
        "images",
        "incoming",
        "jobs",
        "lifecycle",
        "metrics",
        "resources",
        "rest",
        "storage",
        "tasks",
        "webdav",
    }
)
_NAMES = {
    "audit": (
        "AuditLog",
        "on_audit_log",
    ),
    "events": (
        "Change",
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
        "on_stable_patient",
        "on_stable_series",
        "on_stable_study",
        "on_stored_instance",
    ),
    "http_access": (
        "Authentication",
        "FilteredRequest",
        "Forbidden",
        "Granted",
        "HttpRequest",
        "Redirect",
        "Unauthorized",
        "http_authentication",
        "http_filter",
    ),
    "images": (
        "DecodeRequest",
        "TranscodeRequest",
        "as_image",
        "image_decoder",
        "transcoder",
    ),
    "incoming": (
        "Discard",
        "ReceivedInstance",
        "c_store_filter",
        "instance_filter",
        "on_received_instance",
    ),
    "lifecycle": (
        "background",
        "every",
        "on_shutdown",
        "on_startup",
        "run_coroutine",
    ),
    "resources": (
        "Instance",
        "Patient",
        "Resource",
        "Series",
        "Study",
    ),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
        value: object = getattr(module, name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
