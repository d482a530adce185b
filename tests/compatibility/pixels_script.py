# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: pixels, made by Orthanc, NumPy, Pillow and pydicom."""

import hashlib
import io
import json
import os
import sys

# A virtual environment that Orthanc does not know of, before anything from it is imported.
sys.path.append(os.environ["PACKAGES_OF_THE_SCRIPT"])

import numpy  # noqa: E402
import pydicom  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

import orthanc  # noqa: E402


def digest(data):
    return [type(data).__name__, len(data), hashlib.md5(bytes(data)).hexdigest()]


def attempt(function, *arguments):
    """Return what a call gives or raises, without texts that may differ."""
    try:
        return function(*arguments)
    except orthanc.OrthancException as error:
        return ["OrthancException", int(error.args[0])]
    except Exception as error:
        return [type(error).__name__]


def answer(output, value):
    output.AnswerBuffer(json.dumps(value, indent=1), "application/json")


def rows(image, width_of_pixel):
    """Give the pixels without what pads the rows."""
    pitch, used = image.GetImagePitch(), image.GetImageWidth() * width_of_pixel
    data = image.GetImageBuffer()
    return b"".join(
        data[row * pitch : row * pitch + used] for row in range(image.GetImageHeight())
    )


def show(image, width_of_pixel=1):
    return {
        "format": int(image.GetImagePixelFormat()),
        "size": [image.GetImageWidth(), image.GetImageHeight()],
        "padding": image.GetImagePitch() - image.GetImageWidth() * width_of_pixel,
        "pixels": digest(rows(image, width_of_pixel)),
        "buffer": len(image.GetImageBuffer()) == image.GetImagePitch() * image.GetImageHeight(),
    }


def decode(output, uri, **request):
    """Show an instance as Orthanc decodes it, as pydicom reads it, and whether they agree."""
    file = orthanc.GetDicomForInstance(request["groups"][0])
    dataset = pydicom.dcmread(io.BytesIO(file))
    dicom = orthanc.CreateDicomInstance(file)
    frames = dicom.GetInstanceFramesCount()
    image = dicom.GetInstanceDecodedFrame(frames - 1)
    direct = orthanc.DecodeDicomImage(file, 0)
    expected = dataset.pixel_array.reshape(frames, -1)
    shown = numpy.frombuffer(rows(image, 2), expected.dtype)
    answer(
        output,
        {
            "frames": frames,
            "last": show(image, 2),
            "first": show(direct, 2),
            "raw": digest(dicom.GetInstanceRawFrame(0)),
            "none": attempt(dicom.GetInstanceDecodedFrame, frames),
            "agree": bool((shown == expected[-1]).all()),
            "mean": round(float(shown.mean()), 3),
            "name": str(dataset.PatientName),
            "json": json.loads(
                orthanc.DicomBufferToJson(
                    file,
                    orthanc.DicomToJsonFormat.HUMAN,
                    orthanc.DicomToJsonFlags.NONE,
                    32,
                )
            )["Modality"],
        },
    )


def thumbnail(output, uri, **request):
    """Scale an instance to the window that its values fill, and draw a frame around it."""
    file = orthanc.GetDicomForInstance(request["groups"][0])
    pixels = pydicom.dcmread(io.BytesIO(file)).pixel_array.astype("float64")
    low, high = pixels.min(), pixels.max()
    picture = Image.fromarray(((pixels - low) * 255 / (high - low)).astype("uint8"))
    picture = picture.resize((int(request["get"].get("size", 32)),) * 2)
    ImageDraw.Draw(picture).rectangle((0, 0, picture.width - 1, picture.height - 1), outline=255)
    file = io.BytesIO()
    picture.save(file, "PNG")
    output.AnswerBuffer(file.getvalue(), "image/png")


def mosaic(output, uri, **request):
    """Lay the previews of a series, or the frames of its only instance, side by side."""
    tags = json.loads(orthanc.RestApiGet("/series/%s" % request["groups"][0]))
    found = [
        (json.loads(orthanc.RestApiGet("/instances/%s" % which))["IndexInSeries"] or 0, which)
        for which in tags["Instances"]
    ]
    tiles = []
    for _, which in sorted(found):
        for frame in json.loads(orthanc.RestApiGet("/instances/%s/frames" % which)):
            png = orthanc.RestApiGet("/instances/%s/frames/%d/preview" % (which, frame))
            tiles.append(Image.open(io.BytesIO(png)).convert("L"))
    side = max(max(tile.size) for tile in tiles)
    columns = int(numpy.ceil(numpy.sqrt(len(tiles))))
    lines = -(-len(tiles) // columns)
    sheet = Image.new("L", (columns * side, lines * side))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * side, number // columns * side))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    output.AnswerBuffer(file.getvalue(), "image/png")


def gradient(dtype="uint8", colours=1):
    ramp = numpy.linspace(0, numpy.iinfo(dtype).max, 12 * 10 * colours).astype(dtype)
    return ramp.reshape((10, 12, colours) if colours > 1 else (10, 12))


def grey():
    return orthanc.CreateImageFromBuffer(
        orthanc.PixelFormat.GRAYSCALE8, 12, 10, 12, gradient().tobytes()
    )


def drawn():
    """Pixels that Pillow draws and Orthanc takes over."""
    picture = Image.new("RGB", (30, 20), "navy")
    ImageDraw.Draw(picture).ellipse((5, 2, 25, 18), fill="orange")
    return orthanc.CreateImageFromBuffer(
        orthanc.PixelFormat.RGB24, picture.width, picture.height, 90, picture.tobytes()
    )


def images(output, uri, **request):
    """Images from pixels, and from one format to another."""
    image = drawn()
    png = orthanc.CompressPngImage(
        orthanc.PixelFormat.RGB24, 30, 20, image.GetImagePitch(), image.GetImageBuffer()
    )
    jpeg = orthanc.CompressJpegImage(
        orthanc.PixelFormat.RGB24, 30, 20, image.GetImagePitch(), image.GetImageBuffer(), 80
    )
    again = orthanc.UncompressImage(png, orthanc.ImageFormat.PNG)
    lossy = orthanc.UncompressImage(jpeg, orthanc.ImageFormat.JPEG)
    wide = orthanc.CreateImageFromBuffer(
        orthanc.PixelFormat.GRAYSCALE16, 12, 10, 24, gradient("uint16").tobytes()
    )
    seen = Image.open(io.BytesIO(png))
    written = grey()
    fonts = [
        [orthanc.GetFontName(font), orthanc.GetFontSize(font)]
        for font in range(orthanc.GetFontsCount())
    ]
    if fonts:
        written.DrawText(0, "gr\u00fc\u00df", 1, 1, 255, 255, 255)
    answer(
        output,
        {
            "drawn": show(image, 3),
            "png": digest(png),
            "jpeg": digest(jpeg),
            "png again": show(again, 3),
            "jpeg again": show(lossy, 3),
            "no loss": rows(again, 3) == rows(image, 3),
            "little loss": int(
                abs(
                    numpy.frombuffer(rows(lossy, 3), "uint8").astype(int)
                    - numpy.frombuffer(rows(image, 3), "uint8")
                ).mean()
            ),
            "Pillow": [seen.size, seen.mode, digest(seen.tobytes())],
            "wide": show(wide, 2),
            "wide png": digest(
                orthanc.CompressPngImage(
                    orthanc.PixelFormat.GRAYSCALE16, 12, 10, 24, wide.GetImageBuffer()
                )
            ),
            "empty": show(orthanc.CreateImage(orthanc.PixelFormat.GRAYSCALE8, 0, 0)),
            "fonts": fonts,
            "written": show(written),
            "no image": attempt(orthanc.UncompressImage, b"no image", orthanc.ImageFormat.PNG),
            "wrong format": attempt(orthanc.UncompressImage, png, orthanc.ImageFormat.JPEG),
            "dicom format": attempt(orthanc.UncompressImage, png, orthanc.ImageFormat.DICOM),
            "bad quality": attempt(
                orthanc.CompressJpegImage, 1, 12, 10, 12, gradient().tobytes(), 101
            ),
            "wide jpeg": attempt(
                orthanc.CompressJpegImage, 2, 12, 10, 24, wide.GetImageBuffer(), 90
            ),
            "no such font": attempt(grey().DrawText, 99, "x", 0, 0, 0, 0, 0),
            "as number": attempt(lambda: show(orthanc.CreateImage(4, 4, 5), 3)["size"]),
        },
    )


def conversions(output, uri, **request):
    """Each image format into each other."""
    sizes = {"GRAYSCALE8": 1, "GRAYSCALE16": 2, "SIGNED_GRAYSCALE16": 2, "RGB24": 3, "RGBA32": 4}
    pixels = {
        "GRAYSCALE8": gradient(),
        "GRAYSCALE16": gradient("uint16"),
        "SIGNED_GRAYSCALE16": gradient("int16"),
        "RGB24": gradient(colours=3),
        "RGBA32": gradient(colours=4),
    }
    sources = {
        name: orthanc.CreateImageFromBuffer(
            getattr(orthanc.PixelFormat, name), 12, 10, 12 * sizes[name], array.tobytes()
        )
        for name, array in pixels.items()
    }

    def convert(image, name):
        return show(image.ConvertPixelFormat(getattr(orthanc.PixelFormat, name)), sizes[name])

    answer(
        output,
        {
            source: {name: attempt(convert, image, name) for name in sizes}
            for source, image in sources.items()
        },
    )


orthanc.RegisterRestCallback("/decode/(.*)", decode)
orthanc.RegisterRestCallback("/thumbnail/(.*)", thumbnail)
orthanc.RegisterRestCallback("/mosaic/(.*)", mosaic)
orthanc.RegisterRestCallback("/images", images)
orthanc.RegisterRestCallback("/conversions", conversions)
