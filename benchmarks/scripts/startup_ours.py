"""The smallest script of orthanc-async: what its start costs is the interpreter and ourselves."""

from __future__ import annotations

import orthanc  # noqa: F401  # imported for the time it takes
from orthanc_async import rest  # noqa: F401  # imported for the time it takes
