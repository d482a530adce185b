"""Generate the Python form of the Orthanc SDK from the installed C header."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orthanc_codegen.errors import CodegenError
from orthanc_codegen.page import page
from orthanc_codegen.reader import read_header
from orthanc_codegen.render import output_names, render
from orthanc_codegen.shapes import build_sdk


def main() -> int:
    """Read the header and write the generated files.

    Returns:
        0, or 1 after a message about a header that cannot be understood.

    """
    parser = argparse.ArgumentParser(prog="codegen", description=__doc__)
    parser.add_argument("--header", type=Path, help="the installed OrthancCPlugin.h")
    parser.add_argument("--output", type=Path, help="folder for the generated files")
    parser.add_argument(
        "--list-outputs",
        action="store_true",
        help="print the names of the generated files, relative to --output, and stop",
    )
    parser.add_argument(
        "--page", type=Path, help="folder of the documentation: write its page sdk.md, and stop"
    )
    options = parser.parse_args()
    if options.list_outputs:
        sys.stdout.write("".join(f"{name}\n" for name in output_names()))
        return 0
    if options.header is None or (options.output is None and options.page is None):
        parser.error("--header and --output are needed")
    try:
        header = read_header(options.header)
        sdk = build_sdk(header)
        files = {} if options.page else render(sdk)
    except CodegenError as error:
        sys.stderr.write(f"codegen: {error}\n")
        return 1
    if options.page:
        (options.page / "sdk.md").write_text(page(header, sdk, options.page), encoding="utf-8")
    for name, text in files.items():
        path = options.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # What has not changed keeps its time, and is not compiled again.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
