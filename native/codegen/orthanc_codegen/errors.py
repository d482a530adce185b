"""What stops the generator."""

from __future__ import annotations


class CodegenError(Exception):
    """Raised for a header that the generator cannot read or does not understand."""
