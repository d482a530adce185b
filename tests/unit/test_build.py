"""What the build has written and linked."""

from __future__ import annotations

from pathlib import Path

import orthanc_async
from orthanc_async import _build_info
from orthanc_async._cli._checks import loaded_libpython


def test_libpython() -> None:
    """The plugin loads the libpython that it was built with, where a machine has several."""
    library = Path(orthanc_async.__file__).parent / "libOrthancAsync.so"
    loaded = loaded_libpython(library)
    assert loaded is not None
    assert Path(loaded).resolve() == Path(_build_info.LIBPYTHON).resolve()
