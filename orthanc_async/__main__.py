"""`python -m orthanc_async` is the command `orthanc-async`."""

from __future__ import annotations

from orthanc_async._cli import main

if __name__ == "__main__":
    main(prog_name="orthanc-async")
