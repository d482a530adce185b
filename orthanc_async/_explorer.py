"""What orthanc_async itself adds to Orthanc's web page, the Orthanc Explorer."""

from __future__ import annotations


def extend(owner: str, javascript: str) -> None:
    """Add JavaScript to Orthanc Explorer, beside what scripts add by ExtendOrthancExplorer.

    It is gone after a reset of Orthanc, so whoever adds it does so at each start. Thread: any but
    that of the running loop, where it raises RuntimeError.

    Args:
        owner: The part of orthanc_async that it belongs to: a later text takes its place.
        javascript: The whole text of that part.

    Raises:
        RuntimeError: There is no Orthanc, or the loop runs on this thread.
    """
    try:
        from orthanc_async._host._native import native
    except ImportError:
        message = "Orthanc Explorer can be extended only inside a running Orthanc"
        raise RuntimeError(message) from None
    native._extend_explorer(f"orthanc_async {owner}", javascript)
