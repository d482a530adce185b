"""The smallest script of the official plugin."""

from __future__ import annotations

import orthanc  # noqa: F401  # imported for the time it takes
