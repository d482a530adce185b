"""Answers to queries: from what a handler gives to DICOM files."""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import orthanc

if TYPE_CHECKING:
    import pydicom

Answer: TypeAlias = Union[Mapping[str, Any], "pydicom.Dataset", bytes]
"""A dict of tags (by keyword; a list of dicts is a sequence), a pydicom Dataset, or a file."""

_WORKLIST = "1.2.840.10008.5.1.4.31"  # Modality Worklist Information Model - FIND
_BYTES = (bytes, bytearray, memoryview)


def is_dataset(value: object) -> bool:
    """Tell whether a value is a pydicom Dataset, without importing pydicom."""
    module = sys.modules.get("pydicom")
    return module is not None and isinstance(value, module.Dataset)


def is_answer(value: object) -> bool:
    """Tell whether a value is one answer; some of them could be iterated over."""
    return isinstance(value, (Mapping, *_BYTES)) or is_dataset(value)


def items(result: object, what: str) -> Iterator[Any]:
    """Yield each thing that a `def` handler has returned.

    Args:
        result: None, one thing, or an iterable of them.
        what: What the handler is, for the error's text.

    Raises:
        TypeError: The result is nothing of these.
    """
    if result is None:
        return
    if is_answer(result):
        yield result
    elif isinstance(result, Iterable) and not isinstance(result, str):
        yield from result
    else:
        message = (
            f"{what} gives its answers by `return` (a list) or by `yield`; each is a dict of "
            f"tags, a pydicom Dataset or bytes. This is no answer: {result!r}"
        )
        raise TypeError(message)


async def items_async(result: object, what: str) -> AsyncIterator[Any]:
    """Yield each thing that an `async def` handler returns or yields; see `items`."""
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, AsyncIterable):
        async with contextlib.AsyncExitStack() as stack:
            if inspect.isasyncgen(result):
                await stack.enter_async_context(contextlib.aclosing(result))
            async for item in result:
                yield item
    else:
        for item in items(result, what):
            yield item


def encode(answer: object) -> bytes:
    """Make a DICOM file of an answer. Not on the event loop."""
    tags = _tags(answer)
    if tags is None:
        return _file(answer)
    return orthanc.CreateDicom(tags, None, orthanc.CreateDicomFlags.NONE)


async def encode_async(answer: object) -> bytes:
    """Make a DICOM file of an answer, on the event loop."""
    tags = _tags(answer)
    if tags is None:
        return _file(answer)
    return await orthanc.create_dicom(tags, None, orthanc.CreateDicomFlags.NONE)


def _tags(answer: object) -> str | None:
    """Return the tags as JSON; None if the answer is no dict."""
    if not isinstance(answer, Mapping):
        return None
    return json.dumps(_value(answer), ensure_ascii=False)


def _value(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return {str(tag): _value(item) for tag, item in value.items()}
    if isinstance(value, (list, tuple)):
        if all(isinstance(item, Mapping) for item in value):
            return [_value(item) for item in value]
        return "\\".join(str(_value(item)) for item in value)
    return str(value)


def _file(answer: object) -> bytes:
    if isinstance(answer, _BYTES):
        return bytes(answer)
    if is_dataset(answer):
        return dataset_file(answer)
    message = (
        "an answer is a dict of tags, a pydicom Dataset or bytes (a DICOM file), not "
        f"{type(answer).__name__}"
    )
    raise TypeError(message)


def dataset_file(dataset: Any) -> bytes:
    """Write a pydicom Dataset as a DICOM file; what it lacks for that is made up.

    Args:
        dataset: With or without file meta information. Pixel data must not be compressed unless
            the meta information says how.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset, write_file_meta_info
    from pydicom.uid import (
        PYDICOM_IMPLEMENTATION_UID,
        UID,
        ExplicitVRLittleEndian,
        generate_uid,
    )

    given = getattr(dataset, "file_meta", None)
    syntax = UID(getattr(given, "TransferSyntaxUID", ExplicitVRLittleEndian))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = UID(dataset.get("SOPClassUID") or _WORKLIST)
    meta.MediaStorageSOPInstanceUID = UID(dataset.get("SOPInstanceUID") or generate_uid())
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    file = DicomBytesIO()
    file.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(file, meta, enforce_standard=True)
    body = DicomBytesIO()
    body.is_little_endian = syntax.is_little_endian
    body.is_implicit_VR = syntax.is_implicit_VR
    write_dataset(body, dataset[0x00040000:])  # without meta information of old
    file.write(body.getvalue())
    return file.getvalue()
