"""The public API as a type checker sees it: checked by mypy, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import orthanc
from orthanc_async import (
    Change,
    DecodeRequest,
    Discard,
    FilteredRequest,
    Instance,
    Patient,
    ReceivedInstance,
    Series,
    Study,
    TranscodeRequest,
    as_image,
    background,
    c_store_filter,
    every,
    http_filter,
    image_decoder,
    instance_filter,
    jobs,
    metrics,
    on_change,
    on_deleted,
    on_new_instance,
    on_received_instance,
    on_shutdown,
    on_stable_study,
    on_startup,
    on_stored_instance,
    rest,
    run_coroutine,
    storage,
    tasks,
    transcoder,
    webdav,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


@rest.get("/studies/{study}/summary")
async def summary(request: rest.Request) -> dict[str, Any]:
    assert_type(request.method, str)
    assert_type(request.query, rest.Query)
    assert_type(request.query["a"], str)
    assert_type(request.query.getlist("a"), list[str])
    assert_type(request.headers["a"], str)
    assert_type(request.body, bytes)
    assert_type(request.text, str)
    assert_type(request.cookies, dict[str, str])
    assert_type(request.groups, tuple[str, ...])
    return {"study": request.path["study"]}


@rest.post(rest.regex(r"/a/(\d+)"))
def created(request: rest.Request) -> rest.Response:
    if not request.body:
        raise rest.HTTPError(400, "no body", headers={"X-A": "b"})
    return rest.Response(
        request.json(),
        status=201,
        headers={"X-A": "b"},
        cookies={"a": "b", "c": rest.Cookie("d", secure=True)},
        media_type="application/json",
    )


@rest.route("/b", methods=["PUT", "DELETE"])
async def parts(request: rest.Request) -> rest.Multipart:
    async def items() -> AsyncIterator[bytes]:
        yield request.body

    return rest.Multipart(items(), content_type="application/dicom")


@rest.put(pattern="/c")
async def streamed(request: rest.Request) -> AsyncIterator[bytes]:
    yield request.body


@rest.post("/d", chunked=True)
async def received_chunks(request: rest.Request) -> str:
    return str(sum([len(chunk) async for chunk in request.chunks]))


rest.mount("/my")


@on_change
async def changed(change: Change) -> None:
    assert_type(change.type, orthanc.ChangeType)
    assert_type(change.level, orthanc.ResourceType)
    assert_type(change.id, str)
    assert_type(change.resource, Patient | Study | Series | Instance)


@on_change(orthanc.ChangeType.NEW_STUDY, orthanc.ChangeType.DELETED)
def filtered(change: Change) -> None: ...


@on_stable_study(durable="archive", since="all", retry=tasks.Retry(attempts=3), timeout=60)
async def delivered(study: Study) -> None:
    assert_type(tasks.current(), tasks.Attempt)
    added = await thumbnail.enqueue(study.id, delay=5, key="a")
    assert_type(added.id, int)
    assert_type(await tasks.get(added.id), tasks.Entry | None)


@on_change(orthanc.ChangeType.NEW_STUDY, durable="log")
def logged(change: Change) -> None: ...


@tasks.task(queue="thumbnails", backoff=5)
def thumbnail(study: str) -> int:
    return len(study)


assert_type(thumbnail("a"), int)


@on_stable_study
async def stable(study: Study) -> int:
    assert_type(await study.tags(), dict[str, str])
    assert_type(await study.metadata(), dict[str, str])
    assert_type(await study.patient(), Patient)
    assert_type(await study.series(), list[Series])
    assert_type(await study.instances(), list[Instance])
    assert_type(await study.archive(), bytes)
    return len(study.id)


@on_new_instance()
async def new(instance: Instance) -> None:
    assert_type(await instance.file(), bytes)
    assert_type(await instance.series(), Series)
    assert_type(await instance.study(), Study)
    await instance.delete()


@on_deleted
def deleted(resource: Patient | Study | Series | Instance) -> None: ...


@on_stored_instance
async def stored(dicom: orthanc.DicomInstance, instance_id: str) -> None: ...


@on_received_instance(timeout=1.5)
async def received(instance: ReceivedInstance) -> bytes | Discard | None:
    assert_type(instance.data, bytes)
    assert_type(instance.origin, orthanc.InstanceOrigin)
    return None


@c_store_filter
def status(dicom: orthanc.DicomInstance) -> int | None: ...


@instance_filter
async def wanted(dicom: orthanc.DicomInstance) -> bool:
    return dicom.GetInstanceSize() > 0


@http_filter
async def allowed(request: FilteredRequest) -> bool:
    assert_type(request.headers["a"], str)
    return request.method == "GET"


@on_startup
async def start() -> None:
    background(stable(Study("a")), name="a")


@on_shutdown()
def stop() -> None: ...


@every(60, immediately=True)
async def tick() -> None: ...


@image_decoder
async def decode(request: DecodeRequest) -> orthanc.Image | None:
    memory = await orthanc.without_copy(orthanc.get_dicom_for_instance, "a")
    assert_type(memory, orthanc.MemoryBuffer)
    assert_type(memoryview(memory), memoryview)
    return as_image(memoryview(request.file)) if request.frame else None


@transcoder(timeout=3)
def transcode(request: TranscodeRequest) -> bytes | None:
    assert_type(orthanc.without_copy(orthanc.RestApiGet, "/a"), orthanc.MemoryBuffer)
    return request.file if request.syntaxes[0] and request.allow_new_uid else None


@storage.area
class Area:
    """Its methods are looked for when it is decorated."""


@storage.area(timeout=5, custom_data=True)
class CustomArea:
    """The same."""


@metrics.refresh
async def values() -> dict[str, float]:
    return {"a": 1}


@metrics.refresh(timeout=1)
def more_values() -> None: ...


@webdav.collection("/reports", timeout=5)
class Reports:
    """A folder."""


@jobs.job("Work")
async def work(job: jobs.Job, *, number: int) -> dict[str, int]:
    assert_type(job.progress, float)
    assert_type(job.content, dict[str, Any])
    job.progress = 1
    await job.checkpoint({"number": number})
    return {"number": number}


async def in_the_sdk(dicom: orthanc.DicomInstance, native: orthanc.Job) -> None:
    def decide(
        node: orthanc.DicomWebNode, levels: object, group: int, element: int, vr: object
    ) -> None:
        node.SetBinaryNode(orthanc.DicomWebBinaryMode.BULK_DATA_URI, f"{group}/{element}")

    assert_type(await jobs.submit(work, number=3, priority=1), str)
    assert_type(await native.submit_job(1), str)
    assert_type(await dicom.get_instance_dicom_web_json(decide), str)
    assert_type(orthanc.EncodeDicomWebXml2(b"", None), str)
    status, headers, body = await orthanc.chunked_http_client(orthanc.HttpMethod.GET, "url")
    assert_type((status, headers, body), tuple[int, dict[str, str], bytes])


def from_a_thread() -> None:
    assert_type(run_coroutine(stable(Study("a")), timeout=3), int)


# What was decorated keeps its type.
kept: Coroutine[Any, Any, dict[str, Any]] = summary(rest.Request("/", {}, rest.regex("/")))
area: Area = Area()
reports: type[Reports] = Reports
