"""Draw docs/async-page.png: the page at /async/app/ with made-up deliveries, in Chromium.

Run it in the environment that scripts/setup makes: .venv/bin/python scripts/draw_page.py
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from integration.conftest import Orthanc  # noqa: E402
from integration.test_durable_page import SCRIPT, Browser  # noqa: E402

NOW = time.time()


def study(name: str) -> str:
    """Return a path as Orthanc's are."""
    digits = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return "/studies/" + "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def entries() -> list[dict[str, object]]:
    """Return what is shown, the oldest first."""
    found: list[dict[str, object]] = [
        {
            "queue": ("to-archive", "to-modality", "thumbnails")[number % 3],
            "resource": study(f"earlier {number}"),
            "state": "done",
            "progress": [180, 180, 94_000_000],
            "changed_at": NOW - 7000 + 30 * number,
        }
        for number in range(214)
    ]
    archive = "https://archive.example.org/dicom-web/studies"
    found += [
        {
            "queue": "to-archive",
            "resource": study("a"),
            "state": "dead",
            "reason": "refused",
            "attempts": 1,
            "error": f"HTTP 409 Conflict from {archive}: StudyInstanceUID is reserved",
            "progress": [0, 240, 0],
            "changed_at": NOW - 400,
        },
        {
            "queue": "thumbnails",
            "resource": study("b"),
            "state": "dead",
            "reason": "exhausted",
            "attempts": 3,
            "error": "ValueError: no pixel data in any of 12 instances",
            "changed_at": NOW - 320,
        },
        {
            "queue": "to-modality",
            "resource": study("c"),
            "state": "cancelled",
            "changed_at": NOW - 200,
        },
        {
            "queue": "to-archive",
            "resource": study("d"),
            "attempts": 2,
            "due_in": 48.0,
            "error": f"{archive}: no answer within 30 s",
            "progress": [96, 512, 48_000_000],
            "changed_at": NOW - 65,
        },
        {"queue": "to-archive", "resource": study("e"), "changed_at": NOW - 21},
        {"queue": "to-archive", "resource": study("f")},
        {"queue": "to-archive", "resource": study("g")},
        {"queue": "thumbnails", "resource": study("h")},
    ]
    return found


def main() -> None:
    """Start Orthanc with the stand-in engine of the tests, fill it, take the picture."""
    target = ROOT / "docs" / "async-page.png"
    with tempfile.TemporaryDirectory() as folder:
        server = Orthanc([SCRIPT], cwd=folder)
        browser = Browser(Path(folder) / "chromium")
        try:
            server.start()
            numbers = server.http.post("/test/put", json.dumps(entries())).json()
            for number, far in zip(numbers[-3:], ((1240, 2000), (37, 186), (0, 0)), strict=True):
                server.http.post(f"/test/start/{number}")
                progress = {"done": far[0], "total": far[1], "bytes": far[0] * 500_000}
                server.http.post(f"/test/advance/{number}", json.dumps(progress))
            browser.driver.set_window_size(1280, 1180)
            browser.open(server)
            browser.wait_text(".entries", "1,240 of 2,000")
            browser.driver.save_screenshot(str(target))
            print(f"{target} has been drawn")
        finally:
            browser.driver.quit()
            server.stop()
            server.close()


if __name__ == "__main__":
    main()
