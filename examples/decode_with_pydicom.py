"""Decode what Orthanc's own decoder cannot: JPEG 2000, with pydicom and Pillow.

    pip install numpy pillow pydicom
    orthanc-async run examples/decode_with_pydicom.py

Orthanc asks the decoder for previews and rendered frames, and when a script calls
`orthanc.decode_dicom_image`. The decoding runs in a thread, so the event loop stays free.
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from orthanc_async import DecodeRequest, as_image, image_decoder
from pydicom.pixels.utils import pixel_array

if TYPE_CHECKING:
    import orthanc

SYNTAXES = {pydicom.uid.JPEG2000Lossless, pydicom.uid.JPEG2000}


@image_decoder(timeout=60)
async def decode(request: DecodeRequest) -> orthanc.Image | None:
    """Return a frame of a JPEG 2000 file, and leave every other file to Orthanc."""
    header = pydicom.dcmread(io.BytesIO(request.file), specific_tags=[], stop_before_pixels=True)
    if header.file_meta.get("TransferSyntaxUID") not in SYNTAXES:
        return None
    file = io.BytesIO(request.file)
    pixels = await asyncio.to_thread(pixel_array, file, index=request.frame)
    return as_image(np.ascontiguousarray(pixels))
