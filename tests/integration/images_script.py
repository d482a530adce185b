# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Checks, decoders and transcoders for test_images.py and test_decoders.py."""

import asyncio
import gc
import io
import json
import sys
import zlib

import numpy
import orthanc
import PIL.Image
import pydicom
from orthanc_async import as_image, image_decoder, rest, transcoder

FORMAT = orthanc.PixelFormat
SHAPES = {
    "GRAYSCALE8": ("B", 1, 1),
    "GRAYSCALE16": ("H", 2, 1),
    "SIGNED_GRAYSCALE16": ("h", 2, 1),
    "GRAYSCALE32": ("I", 4, 1),
    "GRAYSCALE64": ("Q", 8, 1),
    "FLOAT32": ("f", 4, 1),
    "RGB24": ("B", 1, 3),
    "RGBA32": ("B", 1, 4),
    "BGRA32": ("B", 1, 4),
    "RGB48": ("H", 2, 3),
}
checks = {}


def check(function):
    checks[function.__name__] = function
    return function


def error_of(function, *arguments):
    try:
        return f"no error but {function(*arguments)!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def image(width=4, height=3, value=0):
    made = orthanc.CreateImage(FORMAT.GRAYSCALE8, width, height)
    numpy.asarray(made)[...] = value
    return made


# Images as buffers


@check
def formats():
    found = {}
    for name in SHAPES:
        made = orthanc.CreateImage(FORMAT[name], 5, 3)
        view = memoryview(made)
        found[name] = [
            view.format,
            view.itemsize,
            list(view.shape),
            view.strides[0] == made.GetImagePitch(),
            view.readonly,
            str(numpy.asarray(made).dtype),
            made.__array_interface__["typestr"] == numpy.asarray(made).dtype.str,
        ]
    return found


@check
def in_place():
    made = image()
    pixels = numpy.asarray(made)
    pixels[1, 2] = 77
    data = made.GetImageBuffer()
    return [type(data).__name__, data[made.GetImagePitch() + 2], int(pixels[1, 2])]


@check
def empty():
    made = orthanc.CreateImage(FORMAT.GRAYSCALE16, 0, 0)
    return [memoryview(made).nbytes, list(numpy.asarray(made).shape), bytes(made).hex()]


@check
def view_outlives_image():
    made = image(1000, 1000, 9)
    pixels = numpy.asarray(made)
    view = memoryview(made)
    del made
    gc.collect()
    others = [image(1000, 1000, 0) for _ in range(5)]
    return [int(pixels.sum()), view[999, 999], len(others)]


@check
def padded():
    memory = bytearray(range(16)) + bytearray(3)
    made = orthanc.CreateImageAccessor(FORMAT.GRAYSCALE8, 3, 3, 8, memory)
    return [
        numpy.asarray(made).tolist(),
        list(memoryview(made).strides),
        error_of(hash_of, made),
        error_of(zlib.adler32, made),
        len(made.GetImageBuffer()) if len(memory) >= 24 else None,
    ]


def hash_of(data):
    return orthanc.ComputeMd5(data)


@check
def pillow():
    made = image(4, 3, 5)
    shown = PIL.Image.fromarray(made)
    in_place = PIL.Image.frombuffer("L", (4, 3), made, "raw", "L", 0, 1)
    numpy.asarray(made)[0, 0] = 200
    color = orthanc.CreateImage(FORMAT.RGB24, 2, 1)
    numpy.asarray(color)[...] = [1, 2, 3]
    return [
        shown.mode,
        list(shown.size),
        in_place.getpixel((0, 0)),
        list(PIL.Image.fromarray(color).getpixel((1, 0))),
    ]


@check
def as_argument():
    made = image(4, 4, 1)
    png = orthanc.CompressPngImage(FORMAT.GRAYSCALE8, 4, 4, 4, made)
    return [
        orthanc.ComputeMd5(made) == orthanc.ComputeMd5(made.GetImageBuffer()),
        list(PIL.Image.open(io.BytesIO(png)).size),
    ]


# Images over Python's memory


@check
def accessor():
    memory = bytearray(12)
    made = orthanc.CreateImageAccessor(FORMAT.GRAYSCALE8, 4, 3, 4, memory)
    memory[5] = 42
    seen = numpy.asarray(made)[1, 1]
    numpy.asarray(made)[0, 0] = 7
    error = error_of(memory.extend, b"x")
    before = sys.getrefcount(memory)
    del made
    gc.collect()
    memory.extend(b"x")
    return [int(seen), memory[0], error, before - sys.getrefcount(memory)]


@check
def accessor_keeps_memory():
    made = orthanc.CreateImageAccessor(FORMAT.GRAYSCALE8, 1000, 1000, 1000, bytes([3]) * 1000000)
    others = [bytes([7]) * 1000000 for _ in range(5)]
    pixels = numpy.asarray(made)
    del made
    gc.collect()
    return [int(pixels.sum()), len(others)]


@check
def accessor_read_only():
    memory = bytes(10000)
    made = orthanc.CreateImageAccessor(FORMAT.GRAYSCALE8, 100, 100, 100, memory)
    return [
        memoryview(made).readonly,
        numpy.asarray(made).flags.writeable,
        error_of(made.DrawText, 0, "text", 1, 1, 255, 255, 255),
        error_of(io.BytesIO(b"abc").readinto, made),
        memory.count(0),
        made.ConvertPixelFormat(FORMAT.GRAYSCALE16).GetImageWidth(),
    ]


@check
def accessor_errors():
    make = orthanc.CreateImageAccessor
    return [
        error_of(make, FORMAT.GRAYSCALE8, 4, 3, 4, bytes(11)),
        error_of(make, FORMAT.GRAYSCALE8, 4, 3, 3, bytes(12)),
        error_of(make, FORMAT.GRAYSCALE8, 4, 1, 4, "text"),
        error_of(make, FORMAT.GRAYSCALE8, 4, 1, 4, 5),
    ]


@check
def arrays():
    found = {}
    for kind in ("u1", "u2", "i2", "u4", "u8", "f4"):
        found[kind] = as_image(numpy.zeros((3, 5), kind)).GetImagePixelFormat().name
    for shape, kind in (
        ((2, 3, 3), "u1"),
        ((2, 3, 4), "u1"),
        ((2, 3, 3), "u2"),
        ((2, 3, 1), "u1"),
    ):
        made = as_image(numpy.zeros(shape, kind))
        found[f"{shape}{kind}"] = [
            made.GetImagePixelFormat().name,
            made.GetImageWidth(),
            made.GetImageHeight(),
        ]
    found["double"] = error_of(as_image, numpy.zeros((2, 2)))
    found["one dimension"] = error_of(as_image, numpy.zeros(2, "u1"))
    found["big-endian"] = error_of(as_image, numpy.zeros((2, 2), ">u2"))
    found["gaps"] = error_of(as_image, numpy.zeros((4, 4), "u1")[:, :2])
    found["no buffer"] = error_of(as_image, 5)
    return found


@rest.get("/check/{name}")
async def run_check(request):
    return {"result": await asyncio.to_thread(checks[request.path["name"]])}


@rest.get("/async-accessor")
async def async_accessor(request):
    memory = bytearray(12)
    made = await orthanc.create_image_accessor(FORMAT.GRAYSCALE8, 4, 3, 4, memory)
    memory[0] = 9
    return {"pixel": int(numpy.asarray(made)[0, 0]), "buffer": len(await made.get_image_buffer())}


# A view that lives through /tools/reset: `orthanc` is not imported afresh.


@rest.post("/keep-view")
async def keep_view(request):
    orthanc.kept_view = numpy.asarray(image(100, 100, 6))
    orthanc.kept_image = image(100, 100, 8)
    return {}


@rest.get("/kept-view")
async def kept_view(request):
    if not hasattr(orthanc, "kept_view"):
        return {"sum": None}
    found = [int(orthanc.kept_view.sum()), int(numpy.asarray(orthanc.kept_image).sum())]
    del orthanc.kept_view, orthanc.kept_image
    return {"sum": found}


# Memory buffers


def nested(output, uri, **request):
    inner = orthanc.RestApiGet("/system")
    output.AnswerBuffer(type(inner).__name__, "text/plain")


orthanc.RegisterRestCallback("/nested", nested)


@check
def memory_buffers():
    plain = orthanc.RestApiGet("/system")
    memory = orthanc.without_copy(orthanc.RestApiGet, "/system")
    made = orthanc.without_copy(orthanc.CreateMemoryBuffer, 10)
    numpy.frombuffer(made, "u1")[:] = 5
    file = dicom_bytes()
    dicom = orthanc.CreateDicomInstance(file)
    again = orthanc.without_copy(dicom.SerializeDicomInstance)
    view = memoryview(orthanc.without_copy(dicom.SerializeDicomInstance))
    gc.collect()
    return {
        "type": type(memory).__name__,
        "plain": type(plain).__name__,
        "equal": bytes(memory) == plain,
        "length": len(memory) == len(plain),
        "json": json.loads(bytes(memory))["ApiVersion"] > 0,
        "written": bytes(made).hex(),
        "method": bytes(again) == file,
        "view": view == file,
        "argument": orthanc.ComputeMd5(again) == orthanc.ComputeMd5(file),
        "pydicom": int(pydicom.dcmread(io.BytesIO(again)).Rows),
        "nested": bytes(orthanc.without_copy(orthanc.RestApiGetAfterPlugins, "/nested")).decode(),
        "not memory": error_of(orthanc.without_copy, orthanc.GenerateUuid),
        "not ours": error_of(orthanc.without_copy, len, "x"),
        "image": error_of(orthanc.without_copy, image().GetImageBuffer),
        "arguments": error_of(orthanc.without_copy, orthanc.RestApiGet),
        "failed": error_of(orthanc.without_copy, orthanc.RestApiGet, "/nothing"),
        "after": type(orthanc.RestApiGet("/system")).__name__,
        "two results": error_of(orthanc.without_copy, orthanc.HttpClient),
        "made": error_of(type(memory)),
        "empty": [len(orthanc.without_copy(orthanc.CreateMemoryBuffer, 0))],
    }


@rest.get("/awaited-memory")
async def awaited_memory(request):
    file = dicom_bytes()
    dicom = orthanc.CreateDicomInstance(file)
    memory, plain = await asyncio.gather(
        orthanc.without_copy(orthanc.rest_api_get, "/system"), orthanc.rest_api_get("/system")
    )
    method = await orthanc.without_copy(dicom.serialize_dicom_instance)
    try:
        await orthanc.without_copy(orthanc.rest_api_get, "/nothing")
        failed = None
    except orthanc.OrthancException as error:
        failed = error.code.name
    return {
        "types": [type(memory).__name__, type(plain).__name__, type(method).__name__],
        "equal": bytes(memory) == plain,
        "method": bytes(method) == file,
        "failed": failed,
    }


def dicom_bytes():
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Rows = 33
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


# Decoders: POST /mode says what each does

mode = {}
seen = []
kept = []


def answer(name, file, frame):
    seen.append([name, type(file).__name__, len(file), frame])
    action = mode.get(name, "decline")
    if action == "image":
        return image(value=100 + frame)
    if action == "viewed":
        made = image(value=100 + frame)
        kept.append(numpy.asarray(made))
        return made
    if action == "again":
        kept.append(image(value=100))
        mode[name] = "the same"
        return kept[-1]
    if action == "the same":
        return kept[-1]
    if action == "accessor":
        return orthanc.CreateImageAccessor(FORMAT.GRAYSCALE8, 4, 3, 5, bytes([100 + frame]) * 14)
    if action == "array":
        return numpy.full((3, 4), 100 + frame, "u1")
    if action == "raise":
        raise ValueError("decoder of no use")
    if action == "nonsense":
        return 5
    if action == "nested":
        seen.append(error_of(orthanc.RestApiGet, "/statistics"))
        return image(value=50)
    if action == "wait":
        seen.append(error_of(orthanc.DecodeDicomImage, file, frame))
        return image(value=51)
    return None


@image_decoder(timeout=1)
async def async_decorated(request):
    if mode.get("async_decorated") == "slow":
        await asyncio.sleep(60)
    if mode.get("async_decorated") == "nested":
        try:
            await orthanc.rest_api_get("/statistics")
            seen.append("no error")
        except Exception as error:
            seen.append(f"{type(error).__name__}: {error}")
        return image(value=50)
    return answer("async_decorated", request.file, request.frame)


def def_plain(dicom, frameIndex):
    return answer("def_plain", dicom, frameIndex)


@image_decoder
def def_decorated(request):
    return answer("def_decorated", request.file, request.frame)


async def async_plain(dicom, frameIndex):
    await asyncio.sleep(0)
    return answer("async_plain", dicom, frameIndex)


orthanc.RegisterDecodeImageCallback(def_plain)
orthanc.RegisterDecodeImageCallback(async_plain)


@rest.post("/mode")
async def set_mode(request):
    mode.clear()
    mode.update(request.json())
    seen.clear()
    return {}


@rest.get("/seen")
async def get_seen(request):
    return {"seen": seen}


@rest.get("/kept")
async def get_kept(request):
    values = [int(item.sum()) for item in kept if isinstance(item, numpy.ndarray)]
    used = [error_of(item.GetImageWidth) for item in kept if isinstance(item, orthanc.Image)]
    viewed = [error_of(memoryview, item) for item in kept if isinstance(item, orthanc.Image)]
    kept.clear()
    return {"values": values, "used": used, "viewed": viewed}


@rest.get("/decode/{instance}")
async def decode(request):
    file = await orthanc.get_dicom_for_instance(request.path["instance"])
    made = await orthanc.decode_dicom_image(file, 0)
    return {"pixels": numpy.asarray(made).tolist()}


# Transcoders


def transcode(name, file, syntaxes, new_uid):
    seen.append([name, type(file).__name__, sorted(syntaxes), new_uid])
    action = mode.get(name, "decline")
    if action == "rle":
        if pydicom.uid.RLELossless not in syntaxes:
            return None
        dataset = pydicom.dcmread(io.BytesIO(file))
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        written = io.BytesIO()
        dataset.save_as(written)
        return written.getbuffer() if mode.get("buffer") else written.getvalue()
    if action == "raise":
        raise ValueError("transcoder of no use")
    if action == "nonsense":
        return 5
    if action == "empty":
        return b""
    return None


@transcoder(timeout=1)
async def async_transcoder(request):
    if mode.get("async_transcoder") == "slow":
        await asyncio.sleep(60)
    return transcode("async_transcoder", request.file, request.syntaxes, request.allow_new_uid)


def def_transcoder(dicom, allowedSyntaxes, allowNewSopInstanceUid):
    return transcode("def_transcoder", dicom, allowedSyntaxes, allowNewSopInstanceUid)


orthanc.RegisterTranscoderCallback(def_transcoder)


@rest.get("/transcode/{instance}")
async def transcode_route(request):
    file = await orthanc.get_dicom_for_instance(request.path["instance"])
    made = await orthanc.transcode_dicom_instance(file, pydicom.uid.RLELossless)
    return {"syntax": await made.get_instance_transfer_syntax_uid()}
