"""The framework's decorators for events, in a real Orthanc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import threading
    import orthanc
    import orthanc_async as oa
    from orthanc_async import rest

    seen = []

    def note(name):
        async def handler(subject):
            seen.append([name, type(subject).__name__, subject.id])
        handler.__qualname__ = name
        return handler

    for name in (
        "on_new_patient", "on_new_study", "on_new_series", "on_new_instance",
        "on_stable_patient", "on_stable_study", "on_stable_series",
        "on_deleted", "on_deleted_patient", "on_deleted_study", "on_deleted_series",
        "on_deleted_instance",
    ):
        getattr(oa, name)(note(name))

    @oa.on_change(orthanc.ChangeType.NEW_STUDY, orthanc.ChangeType.STABLE_STUDY)
    async def filtered(change: oa.Change):
        seen.append(["filtered", change.type.name, change.resource.id])

    @oa.on_change(orthanc.ChangeType.NEW_STUDY)
    def plain(change):
        # On the events' thread: it waits for the loop, which is free to serve it.
        tags = oa.run_coroutine(change.resource.tags(), timeout=20)
        seen.append(["plain", tags["PatientID"], threading.current_thread().__class__.__name__])

    @oa.on_stable_study()
    def plain_stable(study):
        seen.append(["plain_stable", type(study).__name__, study.id])

    @oa.on_change
    async def everything(change):
        seen.append(["everything", change.type.name, change.id])

    @oa.on_stored_instance
    async def stored(dicom, instance_id):
        size = len(await dicom.get_instance_data())
        seen.append(["stored", size == dicom.GetInstanceSize(), instance_id])

    @oa.on_stored_instance
    def stored_plain(dicom, instance_id):
        seen.append(["stored_plain", len(dicom.GetInstanceData()) == dicom.GetInstanceSize(),
                     instance_id])

    @oa.on_deleted_study
    async def fails(study):
        raise ValueError("refused on purpose")

    @rest.get("/seen")
    async def list_seen(request):
        return seen
"""


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc in which a study is stable after one second."""
    return shared_orthanc(SCRIPT, config={"StableAge": 1}, errors=["script.fails"])


@pytest.fixture(scope="module")
def study(server: Orthanc, dicom_files: list[Path]) -> dict[str, Any]:
    """The REST API's word on a study that was stored, became stable and was deleted."""
    for file in dicom_files:
        stored = server.upload(file)
    study: dict[str, Any] = {
        "patient": [stored["ParentPatient"]],
        "study": [stored["ParentStudy"]],
        "series": server.http.get(f"/studies/{stored['ParentStudy']}").json()["Series"],
        "instance": [item["ID"] for item in server.http.get("/instances?expand").json()],
    }
    names = {"on_stable_patient", "on_stable_study", "on_stable_series", "plain_stable"}
    server.wait_json("/seen", lambda seen: names <= {event[0] for event in seen})
    assert server.http.delete(f"/patients/{stored['ParentPatient']}").status == 200
    server.wait_json(
        "/seen",
        lambda seen: {"on_deleted_study", "on_deleted_patient"} <= {event[0] for event in seen},
    )
    study["seen"] = server.http.get("/seen").json()
    return study


def test_new_and_deleted(study: dict[str, Any]) -> None:
    """Each level's decorators get the level's resources, as objects of its class."""
    for kind in ("new", "deleted"):
        for level in ("patient", "study", "series", "instance"):
            got = [event[1:] for event in study["seen"] if event[0] == f"on_{kind}_{level}"]
            expected = [[level.capitalize(), identifier] for identifier in study[level]]
            assert sorted(got) == sorted(expected), (kind, level)
    everything = [event for event in study["seen"] if event[0] == "on_deleted"]
    assert len(everything) == sum(
        len(study[level]) for level in ("patient", "study", "series", "instance")
    )


def test_stable(study: dict[str, Any]) -> None:
    """A stable patient, study and series are announced once each, to `def` handlers too."""
    for level in ("patient", "study", "series"):
        got = sorted(event[2] for event in study["seen"] if event[0] == f"on_stable_{level}")
        assert got == sorted(study[level])
    plain = [event for event in study["seen"] if event[0] == "plain_stable"]
    assert plain == [["plain_stable", "Study", study["study"][0]]]


def test_on_change(study: dict[str, Any]) -> None:
    """on_change with types gets these alone; without, everything from the start on."""
    filtered = [event for event in study["seen"] if event[0] == "filtered"]
    assert filtered == [
        ["filtered", "NEW_STUDY", study["study"][0]],
        ["filtered", "STABLE_STUDY", study["study"][0]],
    ]
    everything = [event for event in study["seen"] if event[0] == "everything"]
    assert everything[0] == ["everything", "ORTHANC_STARTED", ""]
    assert sum(event[1] == "NEW_INSTANCE" for event in everything) == len(study["instance"])


def test_plain_handler_waits_for_the_loop(study: dict[str, Any]) -> None:
    """A `def` change handler gets the result of a coroutine that asks Orthanc."""
    assert [event for event in study["seen"] if event[0] == "plain"] == [
        ["plain", "98890234", "_DummyThread"]
    ]


def test_on_stored_instance(server: Orthanc, study: dict[str, Any]) -> None:
    """on_stored_instance takes `async def` and `def`."""
    for name in ("stored", "stored_plain"):
        got = sorted(event[1:] for event in study["seen"] if event[0] == name)
        assert got == sorted([True, identifier] for identifier in study["instance"])
    server.wait_log(r"script\.fails \(@on_deleted_study\), DELETED of STUDY \S+ raised")


def test_coroutine_that_nobody_awaits(orthanc_server: OrthancFactory, dicom_file: Path) -> None:
    """A `def` around an `async def`: hooks await it, event handlers are named in an error."""
    server = orthanc_server(
        """
        import orthanc
        from orthanc_async import on_new_instance, on_startup

        async def ran(*arguments):
            print("it ran", *arguments)

        @on_startup
        def start():
            return ran("at the start")

        @on_new_instance
        def changed(instance):
            return ran("for a change")

        @orthanc.RegisterOnStoredInstanceCallback
        def stored(dicom, instance):
            return ran("for an instance")
        """,
        errors=("returned a coroutine",),
    )
    server.wait_log("it ran at the start")
    assert server.http.post("/instances", dicom_file.read_bytes()).status == 200
    server.wait_log(r"script\.changed \(@on_new_instance\) is a `def` that returned a coroutine")
    server.wait_log(r"script\.stored.* is a `def` that returned a coroutine")
    assert "it ran for" not in server.log_text()
    assert "never awaited" not in server.log_text()
