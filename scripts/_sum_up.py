"""Add up the results of scripts/test; the last line printed is `N passed, N failed`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

# What doctest prints at the end of each program.
_CASES = re.compile(r"test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed")


def native(log: Path) -> tuple[int, int]:
    """Return passed and failed of one log of C++ tests; one that broke off counts as failed."""
    text = log.read_text("utf-8", "replace")
    found = [(int(passed), int(failed)) for passed, failed in _CASES.findall(text)]
    passed, failed = (sum(column) for column in zip(*found, strict=True)) if found else (0, 1)
    # A sanitizer's report, a crash or a timeout fails a program whose cases all passed.
    broken = re.search(r"tests? failed out of|SUMMARY: \w+Sanitizer", text)
    if broken and not failed and "0 tests failed out of" not in text:
        failed = 1
    return passed, failed


def python(report: Path) -> tuple[int, int, int]:
    """Return passed, failed and skipped of pytest's report; without one, it broke off."""
    try:
        suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - our own file
    except (OSError, ET.ParseError):
        return 0, 1, 0
    passed = failed = skipped = 0
    for suite in suites:
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        ignored = int(suite.get("skipped", 0))
        passed += int(suite.get("tests", 0)) - bad - ignored
        failed += bad
        skipped += ignored
    return passed, failed, skipped


def main(folder: Path) -> int:
    """Print the sum; return 1 when something failed or nothing ran."""
    passed, failed, skipped = python(folder / "pytest.xml")
    for report in folder.glob("pytest-long.xml"):
        more, worse, left = python(report)
        passed, failed, skipped = passed + more, failed + worse, skipped + left
    for log in sorted(folder.glob("native-*.log")):
        more, worse = native(log)
        passed, failed = passed + more, failed + worse
    if skipped:
        print(f"(skipped: {skipped})")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
