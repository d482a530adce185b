"""Incoming instances: functions that Orthanc asks before it stores one.

The sender waits for the answer. A handler that raises, takes too long or returns something else
refuses the instance: the sender sees a failure, and can send it again.
"""

from __future__ import annotations

import dataclasses
import io
import sys
from typing import TYPE_CHECKING, Any, TypeVar, final, overload

import orthanc
from orthanc_async import _waited

if TYPE_CHECKING:
    from collections.abc import Callable

    import pydicom

    _Received = TypeVar("_Received", bound=Callable[["ReceivedInstance"], Any])
    _Filter = TypeVar("_Filter", bound=Callable[[orthanc.DicomInstance], Any])

__all__ = [
    "Discard",
    "ReceivedInstance",
    "c_store_filter",
    "instance_filter",
    "on_received_instance",
]


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """An instance that Orthanc has received and not stored yet.

    Attributes:
        data: The DICOM file; where handlers before this one have changed it, what they made of it.
        origin: The way it came.
    """

    data: bytes = dataclasses.field(repr=False)
    origin: orthanc.InstanceOrigin

    def dataset(self, **options: Any) -> pydicom.FileDataset:
        """Parse the file with pydicom; each call gives a new data set.

        That takes its time, and in an `async def` keeps every other handler waiting: use a `def`
        handler, or `await asyncio.to_thread(instance.dataset)`, where files are large.

        Args:
            options: Passed to `pydicom.dcmread`, such as `stop_before_pixels=True`.

        Returns:
            The data set. Return it from the handler to have it stored.

        Raises:
            ModuleNotFoundError: pydicom is not installed in the plugin's environment.
            pydicom.errors.InvalidDicomError: The file is no DICOM file.
        """
        from pydicom import dcmread

        return dcmread(io.BytesIO(self.data), **options)


@final
class Discard:
    """What a handler of received instances returns to drop one: `return Discard()`.

    The sender is told that the instance was stored, and does not send it again: raise an exception
    instead where it should.
    """

    __slots__ = ()


@overload
def on_received_instance(handler: _Received, /) -> _Received: ...
@overload
def on_received_instance(*, timeout: float | None = None) -> Callable[[_Received], _Received]: ...
def on_received_instance(handler: Any = None, /, *, timeout: float | None = None) -> Any:
    """Call a function with each `ReceivedInstance` before it is stored.

    It returns None to keep the instance, bytes (or a data set of pydicom) to store these instead,
    or `Discard()`. Several functions are called in the order of their registration, each with what
    the one before has made of the instance. Orthanc calls them for one instance at a time, so what
    they wait for delays every sender. One that raises, returns something else or takes too long
    refuses the instance. Registers by `OrthancPluginRegisterReceivedInstanceCallback`.

    Args:
        handler: A `def` or an `async def`, called with the `ReceivedInstance`.
        timeout: How many seconds the sender waits for an `async def`; 30 unless given.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the instance, or the timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
    """
    return _waited.register(
        handler,
        "on_received_instance",
        "instance",
        "RegisterReceivedInstanceCallback",
        timeout=timeout,
        question=ReceivedInstance,
        answer=_received_answer,
    )


@overload
def instance_filter(handler: _Filter, /) -> _Filter: ...
@overload
def instance_filter(*, timeout: float | None = None) -> Callable[[_Filter], _Filter]: ...
def instance_filter(handler: Any = None, /, *, timeout: float | None = None) -> Any:
    """Call a function with the `orthanc.DicomInstance` of each instance before it is stored.

    It returns True to store the instance, or False to discard it: then its sender is told that it
    was stored. Every filter must return True. One that raises, returns something else or takes too
    long refuses the instance. Registers by `OrthancPluginRegisterIncomingDicomInstanceFilter`.

    Args:
        handler: A `def` or an `async def`, called with the instance, which is valid until it ends.
        timeout: How many seconds the sender waits for an `async def`; 30 unless given.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the instance, or the timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
    """
    return _waited.register(
        handler,
        "instance_filter",
        "dicom",
        "RegisterIncomingDicomInstanceFilter",
        timeout=timeout,
        answer=_filter_answer,
    )


@overload
def c_store_filter(handler: _Filter, /) -> _Filter: ...
@overload
def c_store_filter(*, timeout: float | None = None) -> Callable[[_Filter], _Filter]: ...
def c_store_filter(handler: Any = None, /, *, timeout: float | None = None) -> Any:
    """Call a function with the `orthanc.DicomInstance` of each instance received by C-STORE.

    It returns None to store the instance, or the DIMSE status of a failure, which the sender gets:
    0xA700 out of resources, 0xA900 data set does not match SOP class, 0xC000 cannot understand,
    0x0110 processing failure, 0x0124 not authorized. Every filter must return None. One that
    raises, returns something else or takes too long refuses the instance with 0xA700. Registers by
    `OrthancPluginRegisterIncomingCStoreInstanceFilter`.

    Args:
        handler: A `def` or an `async def`, called with the instance, which is valid until it ends.
        timeout: How many seconds the sender waits for an `async def`; 30 unless given.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the instance, or the timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
    """
    return _waited.register(
        handler,
        "c_store_filter",
        "dicom",
        "RegisterIncomingCStoreInstanceFilter",
        timeout=timeout,
        answer=_status,
    )


def _received_answer(result: Any) -> tuple[orthanc.ReceivedInstanceAction, Any]:
    action = orthanc.ReceivedInstanceAction
    if result is None:
        return action.KEEP_AS_IS, None
    if isinstance(result, Discard) or result is Discard:
        return action.DISCARD, None
    if isinstance(result, (bytes, bytearray, memoryview)):
        return action.MODIFY, result
    # Whoever returns a data set has imported pydicom.
    dataset = sys.modules.get("pydicom.dataset")
    if dataset is not None and isinstance(result, dataset.Dataset):
        target = io.BytesIO()
        result.save_as(target)
        return action.MODIFY, target.getbuffer()
    message = (
        "a handler of received instances returns bytes to change the instance, None to keep it, "
        f"or Discard(), not {type(result).__name__}"
    )
    raise TypeError(message)


def _filter_answer(result: Any) -> bool:
    if not isinstance(result, bool):
        message = f"an instance filter returns True or False, not {result!r}"
        raise TypeError(message)
    return result


# What PS3.7 calls failure and refused; the rest of the 0x01 and 0x02 groups are warnings.
_WARNINGS = frozenset({0x0107, 0x0116})
_FAILURES = (range(0x0105, 0x0300), range(0xA000, 0xB000), range(0xC000, 0xD000))


def _status(result: Any) -> int:
    if result is None:
        return 0
    if isinstance(result, bool) or not isinstance(result, int):
        message = f"a C-STORE filter returns None or a DIMSE status, not {result!r}"
        raise TypeError(message)
    failure = result not in _WARNINGS and any(result in statuses for statuses in _FAILURES)
    if result != 0 and not failure:
        message = (
            f"the DIMSE status 0x{result:04X} is no failure: the sender would believe that the "
            "instance is stored, and it would be lost"
        )
        raise ValueError(message)
    return result
