# mypy: ignore-errors
"""Images as scripts for the official plugin use them."""

import json

import orthanc

PIXELS = bytes(range(48))
COLOUR = orthanc.PixelFormat.RGB24


def describe(image):
    return {
        "format": int(image.GetImagePixelFormat()),
        "size": [image.GetImageWidth(), image.GetImageHeight(), image.GetImagePitch()],
        "buffer": [type(image.GetImageBuffer()).__name__, image.GetImageBuffer().hex()],
    }


def error_of(function, *arguments):
    try:
        function(*arguments)
        return "no error"
    except Exception as error:
        return type(error).__name__


def images(output, uri, **request):
    image = orthanc.CreateImageFromBuffer(COLOUR, 4, 4, 12, PIXELS)
    converted = image.ConvertPixelFormat(orthanc.PixelFormat.GRAYSCALE8)
    png = orthanc.CompressPngImage(COLOUR, 4, 4, 12, PIXELS)
    read = orthanc.UncompressImage(png, orthanc.ImageFormat.PNG)
    jpeg = orthanc.CompressJpegImage(COLOUR, 4, 4, 12, PIXELS, 90)
    found = {
        "made": describe(image),
        "converted": describe(converted),
        "read": describe(read),
        "png": [type(png).__name__, png[:4].hex()],
        "jpeg": [type(jpeg).__name__, jpeg[:2].hex()],
        "empty": describe(orthanc.CreateImage(COLOUR, 2, 1))["size"],
        "arguments": error_of(orthanc.CreateImageFromBuffer, COLOUR, 4, 4),
        "nothing": error_of(orthanc.UncompressImage, b"", orthanc.ImageFormat.PNG),
    }
    output.AnswerBuffer(json.dumps(found), "application/json")


def decoded(output, uri, **request):
    file = orthanc.GetDicomForInstance(request["groups"][0])
    frame = orthanc.DecodeDicomImage(file, 0)
    found = describe(frame)
    found["encoded"] = len(
        orthanc.CompressPngImage(
            frame.GetImagePixelFormat(),
            frame.GetImageWidth(),
            frame.GetImageHeight(),
            frame.GetImagePitch(),
            frame.GetImageBuffer(),
        )
    )
    output.AnswerBuffer(json.dumps(found), "application/json")


orthanc.RegisterRestCallback("/images", images)
orthanc.RegisterRestCallback("/decoded/(.*)", decoded)
