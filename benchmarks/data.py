"""Synthetic DICOM files: one study of many instances, made in memory."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.servers import Server


def study(name: str, *, instances: int, side: int) -> list[bytes]:
    """Return the files of one CT-like study; `files` says more."""
    return list(files(name, instances=instances, side=side))


def files(name: str, *, instances: int, side: int) -> Iterator[bytes]:
    """Yield the files of one CT-like study.

    Args:
        name: Names the patient; the same name gives the same identifiers and bytes.
        instances: How many files.
        side: Pixels in a row and in a column, 2 bytes each (512 gives 0.5 MB a file).
    """
    noise = random.Random(name)
    study_uid, series_uid = (
        generate_uid(entropy_srcs=[name, part]) for part in ("study", "series")
    )
    for number in range(instances):
        item = Dataset()
        item.SOPClassUID = CTImageStorage
        item.SOPInstanceUID = generate_uid(entropy_srcs=[name, str(number)])
        item.StudyInstanceUID = study_uid
        item.SeriesInstanceUID = series_uid
        item.PatientID = item.PatientName = name
        item.Modality = "CT"
        item.InstanceNumber = number + 1
        item.Rows = item.Columns = side
        item.SamplesPerPixel = 1
        item.PhotometricInterpretation = "MONOCHROME2"
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit = 15
        item.PixelRepresentation = 0
        item.PixelData = noise.randbytes(side * side * 2)
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = io.BytesIO()
        item.save_as(buffer, enforce_file_format=True)
        yield buffer.getvalue()


def upload(server: Server, files: Iterable[bytes]) -> tuple[str, list[str]]:
    """Store files of one study.

    Returns:
        Orthanc's identifiers of the study and of its instances.
    """
    answers = [server.json("POST", "/instances", file) for file in files]
    return answers[0]["ParentStudy"], [answer["ID"] for answer in answers]
