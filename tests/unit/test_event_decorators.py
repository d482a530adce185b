"""Events: filters, typed resources, and what the plugin is told of a handler."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import orthanc
import orthanc_async as oa
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from unit.conftest import Server

_TYPES = orthanc.ChangeType
_LEVELS = orthanc.ResourceType


def test_all_changes(server: Server) -> None:
    """A bare decorator takes every change, as a frozen `Change`, and returns the handler."""
    seen: list[oa.Change] = []

    async def handler(change: oa.Change) -> None:
        seen.append(change)

    assert oa.on_change(handler) is handler
    server.change(6, 1, "s")
    server.change(10, 4, "")
    assert seen == [
        oa.Change(_TYPES.NEW_STUDY, _LEVELS.STUDY, "s"),
        oa.Change(_TYPES.ORTHANC_STARTED, _LEVELS.NONE, ""),
    ]
    assert isinstance(seen[0].type, _TYPES)
    assert seen[0].resource == oa.Study("s")
    with pytest.raises(ValueError, match="no patient, study"):
        _ = seen[1].resource
    with pytest.raises(AttributeError):
        seen[0].id = "t"  # type: ignore[misc]


def test_filtered_changes(server: Server) -> None:
    """Types in the decorator filter, and the plugin can read the filter off the handler."""
    seen: list[str] = []

    @oa.on_change(_TYPES.NEW_STUDY, _TYPES.DELETED)
    def handler(change: oa.Change) -> None:
        seen.append(change.id)

    server.change(_TYPES.NEW_STUDY, 1, "a")
    server.change(_TYPES.NEW_SERIES, 2, "b")
    server.change(_TYPES.DELETED, 1, "c")
    assert seen == ["a", "c"]
    registered: Any = server.changes[0]
    assert registered.__orthanc_changes__ == {_TYPES.NEW_STUDY, _TYPES.DELETED}
    assert registered.__wrapped__ is handler
    assert registered.__orthanc_handler__.endswith("<locals>.handler (@on_change)")
    assert not inspect.iscoroutinefunction(registered)


def test_unknown_change(server: Server) -> None:
    """A change that this build does not know is handed on as its number."""
    seen: list[oa.Change] = []
    oa.on_change()(seen.append)
    server.change(1234, 1, "a")
    assert seen[0].type == 1234


@pytest.mark.parametrize(
    ("decorator", "type_", "resource"),
    [
        (oa.on_new_patient, "NEW_PATIENT", oa.Patient("x")),
        (oa.on_new_study, "NEW_STUDY", oa.Study("x")),
        (oa.on_new_series, "NEW_SERIES", oa.Series("x")),
        (oa.on_new_instance, "NEW_INSTANCE", oa.Instance("x")),
        (oa.on_stable_patient, "STABLE_PATIENT", oa.Patient("x")),
        (oa.on_stable_study, "STABLE_STUDY", oa.Study("x")),
        (oa.on_stable_series, "STABLE_SERIES", oa.Series("x")),
        (oa.on_completed_series, "COMPLETED_SERIES", oa.Series("x")),
        (oa.on_deleted_patient, "DELETED", oa.Patient("x")),
        (oa.on_deleted_study, "DELETED", oa.Study("x")),
        (oa.on_deleted_series, "DELETED", oa.Series("x")),
        (oa.on_deleted_instance, "DELETED", oa.Instance("x")),
    ],
)
def test_resource_events(server: Server, decorator: Any, type_: str, resource: Any) -> None:
    """Each decorator takes its change and level only, bare and with parentheses."""
    seen: list[oa.Resource] = []

    async def handler(resource: oa.Resource) -> None:
        seen.append(resource)

    assert getattr(oa, decorator.__name__) is decorator
    assert decorator(handler) is handler
    assert decorator()(handler) is handler
    kinds = [oa.Patient, oa.Study, oa.Series, oa.Instance]
    level = kinds.index(type(resource))
    server.change(orthanc.ChangeType[type_], level, "x")
    server.change(orthanc.ChangeType[type_], (level + 1) % 4, "y")
    server.change(_TYPES.ORTHANC_STARTED, 4, "")
    assert seen == [resource, resource]
    assert f"(@{decorator.__name__})" in server.changes[0].__orthanc_handler__  # type: ignore[attr-defined]


def test_deleted_of_any_level(server: Server) -> None:
    """The common decorator for deletions gives each resource its class."""
    seen: list[oa.Resource] = []
    oa.on_deleted(seen.append)
    server.change(_TYPES.DELETED, _LEVELS.SERIES, "a")
    server.change(_TYPES.DELETED, _LEVELS.INSTANCE, "b")
    assert seen == [oa.Series("a"), oa.Instance("b")]


def test_stored_instance(server: Server) -> None:
    """A stored instance's handler is handed to the plugin as it is."""

    async def handler(dicom: orthanc.DicomInstance, instance_id: str) -> None: ...

    assert oa.on_stored_instance(handler) is handler
    assert oa.on_stored_instance()(handler) is handler
    assert server.stored == [handler, handler]


def test_bad_declarations(server: Server) -> None:
    """What could only fail at the first event is refused where it is declared."""
    with pytest.raises(TypeError, match="ChangeType"):
        oa.on_change("NEW_STUDY")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="is called with \\(change\\)"):
        oa.on_change(lambda: None)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="is called with \\(resource\\)"):
        oa.on_stable_study(lambda _a, _b: None)  # type: ignore[arg-type, misc]
    with pytest.raises(TypeError, match="dicom, instance_id"):
        oa.on_stored_instance(lambda _: None)  # type: ignore[type-var]

    async def yields(_change: oa.Change) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"yields at .* has a `yield`"):
        oa.on_change(yields)
    assert server.changes == server.stored == []
