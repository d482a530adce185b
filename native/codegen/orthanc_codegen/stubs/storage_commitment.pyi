"""Storage commitment: native/callbacks/storage_commitment.cpp."""

from collections.abc import Callable

def RegisterStorageCommitmentScpCallback(
    factory: Callable[..., object], lookup: Callable[..., object], /
) -> None:
    """Register the functions that answer storage commitment requests, instead of Orthanc itself.

    Each is a `def` or an `async def` that a job of Orthanc's waits for, 30 s at most where it is
    async. An instance is vouched for only by a look-up that returns SUCCESS: where `factory` or
    `lookup` raises, takes too long or returns nonsense, the modality is told PROCESSING_FAILURE
    and keeps its copy.

    Args:
        factory: Gets (jobId, transactionUid, sopClassUids, sopInstanceUids, remoteAet, calledAet),
            and returns an object for the look-ups, also None.
        lookup: Gets (sopClassUid, sopInstanceUid, the object), and returns a
            StorageCommitmentFailureReason.

    Raises:
        TypeError: One is not callable.
        RuntimeError: Others are registered, here or by another plugin; Orthanc has stopped, or
            this is the running event loop.

    SDK function: OrthancPluginRegisterStorageCommitmentScpCallback().
    """

def RegisterStorageCommitmentScpCallback2(
    factory: Callable[..., object], lookup: Callable[..., object], /
) -> None:
    """Register the functions that answer storage commitment requests, and tell the connection.

    As RegisterStorageCommitmentScpCallback(), but `factory` gets (jobId, transactionUid,
    sopClassUids, sopInstanceUids, connection). It needs Orthanc 1.12.10.

    Args:
        factory: Gets the request, and returns an object for the look-ups, also None.
        lookup: Gets (sopClassUid, sopInstanceUid, the object), and returns a
            StorageCommitmentFailureReason.

    Raises:
        TypeError: One is not callable.
        RuntimeError: As for RegisterStorageCommitmentScpCallback(), or this Orthanc is older.

    SDK function: OrthancPluginRegisterStorageCommitmentScpCallback2().
    """
