# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Routes for test_sdk.py: the same calls blocking and awaited, from all kinds of threads."""

import asyncio
import inspect
import json
import pickle
import threading

import orthanc
from orthanc_async import lifecycle

PIXELS = bytes(range(16))
kinds = {}


def attempt(function, *arguments):
    try:
        return show(function(*arguments))
    except Exception as error:
        return show_error(error)


def show(value):
    if isinstance(value, (bytes, str, int, float, type(None), bool)):
        return f"{type(value).__name__} {len(value) if isinstance(value, (bytes, str)) else value}"
    return type(value).__name__


def show_error(error):
    if isinstance(error, orthanc.OrthancException):
        also = " and TypeError" if isinstance(error, TypeError) else ""
        return f"OrthancException{also} {error.code!r} {error.args[1]}"
    return f"{type(error).__name__} {error}"


before_start = {
    "RestApiGet": attempt(orthanc.RestApiGet, "/system"),
    "LookupPatient": attempt(orthanc.LookupPatient, "x"),
    "GetConfiguration": attempt(orthanc.GetConfiguration),
    "GenerateUuid": attempt(orthanc.GenerateUuid),
    "GetOrthancPath": attempt(orthanc.GetOrthancPath),
}


def in_thread_at_load():
    before_start["in a thread"] = attempt(orthanc.GenerateUuid)
    before_start["awaited in a thread"] = asyncio.run(awaited_at_load())


async def awaited_at_load():
    try:
        return show(await orthanc.get_configuration())
    except Exception as error:
        return show_error(error)


_thread = threading.Thread(target=in_thread_at_load)
_thread.start()
_thread.join()

# Function, arguments; {i}, {s} and {p} are an instance, a study and the patient's identifier.
CALLS = [
    ("RestApiGet", "/system"),
    ("RestApiGet", "/instances/{i}/file"),
    ("RestApiGet", "/nope"),
    ("RestApiGet", "/studies/nope"),
    ("RestApiGet2", "/system", {"accept": "application/json"}, 0),
    ("RestApiGetAfterPlugins", "/route/x"),
    ("RestApiGet", "/route/x"),
    ("RestApiPost", "/tools/find", '{"Level":"Instance","Query":{}}'),
    ("RestApiPost", "/tools/find", b'{"Level":"Instance","Query":{}}'),
    ("RestApiPost", "/tools/find", memoryview(b'{"Level":"Instance","Query":{}}')),
    ("RestApiPost", "/tools/find", "no JSON"),
    ("RestApiPut", "/instances/{i}/metadata/1024", "value"),
    ("RestApiPutAfterPlugins", "/instances/{i}/metadata/1025", "value"),
    ("RestApiDelete", "/instances/{i}/metadata/1024"),
    ("RestApiDelete", "/instances/nope"),
    ("RestApiDeleteAfterPlugins", "/instances/nope"),
    ("CallRestApi", 1, "/system", {}, b"", 0),
    ("LookupInstance", "{sop}"),
    ("LookupPatient", "{p}"),
    ("LookupStudy", "nope"),
    ("GetDicomForInstance", "{i}"),
    ("GetDicomForInstance", "nope"),
    ("GetConfiguration",),
    ("GetOrthancPath",),
    ("GetExpectedDatabaseVersion",),
    ("GenerateUuid",),
    ("ComputeMd5", b"abc"),
    ("ComputeSha1", "abc"),
    ("AutodetectMimeType", "a.png"),
    ("LookupDictionary", "PatientName"),
    ("LookupDictionary", "PatientNme"),
    ("GetTagName", 0x10, 0x10, None),
    ("GetErrorDescription", 17),
    ("CreateImage", 1, 4, 4),
    ("CreateImage", orthanc.PixelFormat.GRAYSCALE8, 4, 4),
    ("CreateImage", 1.5, 4, 4),
    ("CreateImage", -1, 4, 4),
    ("CreateImageFromBuffer", orthanc.PixelFormat.GRAYSCALE8, 4, 4, 4, PIXELS),
    ("CreateImageFromBuffer", orthanc.PixelFormat.GRAYSCALE8, 4, 4, 4, PIXELS[:15]),
    ("CompressPngImage", 1, 4, 4, 4, PIXELS),
    ("CreateDicom", '{"PatientID":"x"}', None, 0),
    ("CreateDicom", "{}", 3, 0),
    ("GetGlobalProperty", 1024, "default"),
    ("SetGlobalProperty", 1025, "value"),
    ("GetPeers",),
    ("BufferCompression", b"abc", 0, 0),
    ("WriteFile", "/nowhere/x", b"x"),
    ("ReadFile", "/nowhere/x"),
    ("ReadFile", "/nowhere/\udcff"),
    ("HttpGet", "http://127.0.0.1:{port}/system", None, None),
    ("HttpGet", "http://127.0.0.1:{port}/nope", None, None),
    ("HttpPost", "http://127.0.0.1:{port}/tools/find", "no JSON", None, None),
    ("LogInfo", "gr\u00fc\u00df"),
    ("LogInfo", "a\0b"),
    ("LogInfo", None),
    ("SetMetricsValue", "my_metric", 1.5, 0),
    ("SetMetricsValue", "my_metric", "x", 0),
    ("RestApiGet",),
    ("RestApiGet", 3),
    ("RestApiGet", "/system", "too many"),
    ("RestApiGet", "/with\0nul"),
    ("RestApiPost", "/tools/find", {"Level": "Study"}),
]


def snake(name):
    found = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    return found.removeprefix("_").replace("md5", "md5").replace("sha1", "sha1")


def filled(arguments, request):
    values = dict(zip(["i", "p", "sop", "port"], request["body"].decode().split()))

    def fill(text):
        for key, value in values.items():
            text = text.replace("{" + key + "}", value)
        return text

    return [fill(item) if isinstance(item, str) else item for item in arguments]


def blocking(request):
    return [attempt(getattr(orthanc, call[0]), *filled(call[1:], request)) for call in CALLS]


async def awaited(request):
    found = []
    for call in CALLS:
        try:
            value = await getattr(orthanc, snake(call[0]))(*filled(call[1:], request))
            found.append(show(value))
        except Exception as error:
            found.append(show_error(error))
    return found


def answer(output, value):
    output.AnswerBuffer(json.dumps(value), "application/json")


def call_blocking(output, uri, **request):
    answer(output, blocking(request))


async def call_awaited(output, uri, **request):
    answer(output, await awaited(request))


def in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(60)
    return found[0]


def call_thread(output, uri, **request):
    answer(output, in_thread(lambda: blocking(request)))


def call_own_loop(output, uri, **request):
    answer(output, in_thread(lambda: asyncio.run(awaited(request))))


def call_names(output, uri, **request):
    answer(output, [[call[0], *map(ascii, call[1:])] for call in CALLS])


orthanc.RegisterRestCallback("/call/blocking", call_blocking)
orthanc.RegisterRestCallback("/call/awaited", call_awaited)
orthanc.RegisterRestCallback("/call/thread", call_thread)
orthanc.RegisterRestCallback("/call/own-loop", call_own_loop)
orthanc.RegisterRestCallback("/call/names", call_names)
orthanc.RegisterRestCallback(
    "/route/x", lambda output, uri, **request: output.AnswerBuffer("a route", "text/plain")
)
orthanc.RegisterRestCallback(
    "/before-start", lambda output, uri, **request: answer(output, before_start)
)


def inspect_api(output, uri, **request):
    names = {
        value: name
        for name, value in orthanc.ChangeType.__dict__.items()
        if isinstance(value, int)
    }
    classes = [kind for kind in vars(orthanc).values() if inspect.isclass(kind)]
    sdk_classes = [
        kind
        for kind in classes
        if kind.__module__ == "orthanc" and not issubclass(kind, (int, Exception))
    ]
    listed = {
        kind.__name__: [
            name for name, member in vars(kind).items() if inspect.ismethoddescriptor(member)
        ]
        for kind in sdk_classes
    }
    try:
        orthanc.RestApiGet("/instances/nope")
    except orthanc.OrthancException as error:
        again = pickle.loads(pickle.dumps(error))
        exception = {
            "args": [int(error.args[0]), error.args[1]],
            "equal": error.args[0] == orthanc.ErrorCode.UNKNOWN_RESOURCE,
            "code": error.code is orthanc.ErrorCode.UNKNOWN_RESOURCE,
            "pickled": again.args == error.args and type(again) is type(error),
            "module": type(error).__module__,
            "plain": type(error).__mro__[1] is Exception,
        }
    answer(
        output,
        {
            "change types": [names[value] for value in range(17)],
            "methods": listed,
            "exception": exception,
            "coroutines": [
                inspect.iscoroutinefunction(orthanc.rest_api_get),
                inspect.iscoroutinefunction(orthanc.lookup_patient),
            ],
            "signature": str(inspect.signature(orthanc.rest_api_get)),
            "documented": bool(orthanc.RestApiGet.__doc__ and orthanc.rest_api_get.__doc__),
            "enumeration": orthanc.ResourceType.STUDY.__class__.__module__,
        },
    )


orthanc.RegisterRestCallback("/inspect", inspect_api)


def objects(output, uri, **request):
    """Use the classes of the SDK, blocking."""
    image = orthanc.CreateImageFromBuffer(orthanc.PixelFormat.GRAYSCALE8, 4, 4, 4, PIXELS)
    dicom = orthanc.CreateDicomInstance(orthanc.CreateDicom('{"PatientID":"mine"}', None, 0))
    answer(
        output,
        {
            "buffer": list(image.GetImageBuffer()),
            "format": image.GetImagePixelFormat().name,
            "size": [image.GetImageWidth(), image.GetImageHeight(), image.GetImagePitch()],
            "patient": json.loads(dicom.GetInstanceSimplifiedJson())["PatientID"],
            "data": len(dicom.GetInstanceData()) == dicom.GetInstanceSize(),
            "serialised": type(dicom.SerializeDicomInstance()).__name__,
            "frames": attempt(dicom.GetInstanceDecodedFrame, 0)[:16],
            "no constructor": attempt(orthanc.Image)[:9],
        },
    )


async def objects_async(output, uri, **request):
    """Use them awaited."""
    image = await orthanc.create_image_from_buffer(orthanc.PixelFormat.GRAYSCALE8, 4, 4, 4, PIXELS)
    dicom = await orthanc.create_dicom_instance(
        await orthanc.create_dicom('{"PatientID":"mine"}', None, 0)
    )
    try:
        frames = show(await dicom.get_instance_decoded_frame(0))
    except Exception as error:
        frames = show_error(error)
    answer(
        output,
        {
            "buffer": list(await image.get_image_buffer()),
            "format": (await image.get_image_pixel_format()).name,
            "size": [
                await image.get_image_width(),
                await image.get_image_height(),
                await image.get_image_pitch(),
            ],
            "patient": json.loads(await dicom.get_instance_simplified_json())["PatientID"],
            "data": len(await dicom.get_instance_data()) == await dicom.get_instance_size(),
            "serialised": type(await dicom.serialize_dicom_instance()).__name__,
            "frames": frames[:16],
            "no constructor": attempt(orthanc.Image)[:9],
        },
    )


orthanc.RegisterRestCallback("/objects/blocking", objects)
orthanc.RegisterRestCallback("/objects/awaited", objects_async)


timers = []


def tick():
    timers.append(attempt(orthanc.RestApiGet, "/system"))


@lifecycle.on_startup
def start():
    threading.Timer(0.01, tick).start()


orthanc.RegisterRestCallback("/timers", lambda output, uri, **request: answer(output, timers))


cancelled = []


async def cancel(output, uri, **request):
    """Cancel awaited calls while they run and before they have begun."""
    tasks = [asyncio.ensure_future(orthanc.rest_api_get("/system")) for _ in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    answer(output, [type(result).__name__ for result in results])


orthanc.RegisterRestCallback("/cancel", cancel)


def closed_loop(output, uri, **request):
    """Close a loop while one of its calls is under way: nobody waits for that call any more."""

    async def leave():
        task = asyncio.ensure_future(orthanc.rest_api_get("/system"))
        await asyncio.sleep(0)
        task.cancel()

    in_thread(lambda: asyncio.run(leave()))
    answer(output, "left")


orthanc.RegisterRestCallback("/closed-loop", closed_loop)
