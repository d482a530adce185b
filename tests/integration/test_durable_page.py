"""The page at `/async/app/` in a real browser: Debian's Chromium, without a screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Orthanc, OrthancFactory
    from selenium.webdriver.remote.webelement import WebElement

SCRIPT = Path(__file__).with_name("durable_surface_script.py")
BROWSER = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
EVIL = '<img src=x onerror="document.title=\'broken\'"><script>document.title="broken"</script>'


class Browser:
    """Chromium, as tests use it."""

    def __init__(self, folder: Path) -> None:
        for program in (BROWSER, DRIVER):
            assert program.exists(), (
                f"{program} is not there: run scripts/setup, which installs Debian's packages "
                "chromium and chromium-driver"
            )
        options = webdriver.ChromeOptions()
        options.binary_location = str(BROWSER)
        options.add_argument("--headless=new")
        options.add_argument("--no-sandbox")  # tests may run as root
        options.add_argument("--disable-dev-shm-usage")
        options.add_argument("--hide-scrollbars")
        options.add_argument("--window-size=1280,900")
        options.add_argument(f"--user-data-dir={folder}")
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        service = webdriver.ChromeService(str(DRIVER))
        self.driver = webdriver.Chrome(options=options, service=service)

    def open(self, server: Orthanc, fragment: str = "", path: str = "/async/app/") -> None:
        """Open the page, and wait until it has asked the server."""
        self.driver.get("about:blank")
        self.logged("performance")
        self.driver.get(f"{server.url}{path}{fragment}")
        self.wait_text("header", "updated")

    def find(self, selector: str) -> list[WebElement]:
        """Find elements by a CSS selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return what the first such element shows; nothing when there is none."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return str(self.driver.execute_script(script, selector))

    def texts(self, selector: str) -> set[str]:
        """Return what all such elements show, at one moment: the page draws anew at any time."""
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
        return set(self.driver.execute_script(script, selector))

    def wait_text(self, selector: str, wanted: str) -> str:
        """Wait until an element shows a text; return all that it shows."""
        return wait_until(
            lambda: self.text(selector), f"{wanted!r} in {selector}", done=lambda t: wanted in t
        )

    def click(self, label: str) -> None:
        """Click the button with this name, as a screen reader would name it."""
        wait_until(lambda: self._click(label), f"a button {label!r}")

    def _click(self, label: str) -> bool:
        # At once: the page may draw anew between finding a button and clicking it.
        script = """
            const named = (b) => b.getAttribute("aria-label") ?? b.innerText.trim();
            const found = [...document.querySelectorAll("button:enabled")]
              .find((b) => named(b).replace(/\\s+/g, " ") === arguments[0]);
            found?.click();
            return Boolean(found);
        """
        return bool(self.driver.execute_script(script, label))

    def logged(self, kind: str) -> list[dict[str, Any]]:
        """Return what the browser has logged since the last call."""
        found: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return found

    def requested(self) -> list[str]:
        """Return the addresses that the page has asked for since it was opened."""
        found = []
        for line in self.logged("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of the module."""
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def shared(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with the stand-in engine."""
    return shared_orthanc(SCRIPT)


@pytest.fixture
def server(shared: Orthanc) -> Orthanc:
    """The same, without an entry."""
    assert shared.http.post("/test/fill/0").status == 204
    assert shared.http.post("/test/mode", "{}").status == 204
    return shared


def put(server: Orthanc, *entries: dict[str, Any]) -> list[int]:
    """Add entries; return their numbers."""
    numbers: list[int] = server.http.post("/test/put", json.dumps(entries)).json()
    return numbers


def test_what_it_shows(server: Orthanc, browser: Browser) -> None:
    """Queues with their numbers, entries with their failure, and the way to Orthanc Explorer."""
    study = "/studies/" + "-".join(["0123abcd"] * 5)
    put(
        server,
        {"resource": study, "state": "dead", "reason": "refused", "error": "HTTP 403 Forbidden"},
        {"state": "waiting", "attempts": 3, "due_in": 125.0, "error": "no answer"},
    )
    browser.open(server)
    rows = browser.wait_text("#page main", "HTTP 403 Forbidden")
    assert "failed" in rows
    assert "refused" in rows
    assert "3 failed attempts, next in 2 min" in rows
    assert browser.text(".total.dead").split() == ["1", "failed"]
    assert [link.text for link in browser.find(".what a")] == ["study 0123abcd…0123abcd"]
    explorer = browser.find(".what a")[0].get_attribute("href")
    assert explorer == f"{server.url}/app/explorer.html#study?uuid={study.split('/')[2]}"


def test_updates_itself(server: Orthanc, browser: Browser) -> None:
    """Progress and ends appear without a reload; a row that did not change keeps the focus."""
    first, second = put(server, {}, {})
    browser.open(server)
    browser.wait_text(".entries", "waiting")
    label = f"Cancel entry {first}"
    browser.driver.execute_script(
        "document.querySelector(`[aria-label='${arguments[0]}']`).focus()", label
    )
    server.http.post(f"/test/start/{second}")
    server.http.post(f"/test/advance/{second}", '{"done": 120, "total": 480, "bytes": 60000000}')
    browser.wait_text(".entries", "120 of 480, 60 MB")
    (progress,) = browser.find("progress")
    assert progress.get_attribute("value") == "120"
    assert progress.get_attribute("max") == "480"
    server.http.post(f"/test/end/{second}", '{"state": "done"}')
    browser.wait_text(".entries", "done")
    focused = browser.driver.execute_script("return document.activeElement.ariaLabel")
    assert focused == label


def test_retry_and_cancel(server: Orthanc, browser: Browser) -> None:
    """The buttons of an entry act on it, and say what has happened."""
    dead, waiting = put(server, {"state": "dead", "reason": "refused"}, {})
    browser.open(server)
    browser.click(f"Retry entry {dead}")
    browser.wait_text("[role=status]", f"entry {dead} is tried again")
    browser.click(f"Cancel entry {waiting}")
    browser.wait_text("[role=status]", f"entry {waiting} is cancelled")
    browser.wait_text(".total.cancelled", "1")
    states = {one: server.http.get(f"/async/entries/{one}").json()["State"] for one in (1, 2)}
    assert states == {dead: "waiting", waiting: "cancelled"}


def test_retry_and_purge_all(server: Orthanc, browser: Browser) -> None:
    """What touches a whole queue is asked back, and can be left as it is."""
    put(server, {"state": "dead"}, {"state": "dead"}, {"state": "done"}, {"state": "cancelled"})
    browser.open(server)
    browser.click("Retry failed of to-archive")
    browser.wait_text("dialog", "all 2 failed entries of to-archive")
    assert browser.driver.switch_to.active_element.text == "Leave as it is"
    browser.click("Leave as it is")
    wait_until(lambda: not browser.find("dialog"), "the end of the dialogue")
    assert server.http.get("/async").json()["States"]["dead"] == 2
    browser.click("Retry failed of to-archive")
    browser.click("Retry all")
    browser.wait_text("[role=status]", "2 of to-archive are tried again")
    browser.click("Purge finished of to-archive")
    browser.wait_text("dialog", "2 done and cancelled entries")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_until(lambda: not browser.find("dialog"), "the end of the dialogue")
    browser.click("Purge finished of to-archive")
    browser.click("Remove")
    browser.wait_text("[role=status]", "2 of to-archive removed")
    browser.wait_text(".total.waiting", "2")
    assert server.http.get("/async").json()["States"]["done"] == 0


def test_details(server: Orthanc, browser: Browser) -> None:
    """An entry can be opened: all of its error, its payload."""
    (number,) = put(
        server, {"error": "x" * 400 + "the end", "payload": {"patient": EVIL}, "state": "dead"}
    )
    browser.open(server)
    assert "the end" not in browser.wait_text(".entries", "xxx")
    browser.click(f"Details of entry {number}")
    shown = browser.wait_text(".details", "the end")
    assert "<img src=x onerror=" in shown


def test_text_is_escaped(server: Orthanc, browser: Browser) -> None:
    """What others have written is shown as text, never run."""
    put(server, {"queue": EVIL, "error": EVIL, "state": "dead", "reason": EVIL, "key": EVIL})
    browser.logged("browser")
    browser.open(server)
    assert browser.wait_text(".entries", "<script>").count("<img src=x") >= 3
    assert not browser.find("main img")
    assert browser.driver.title == "Deliveries – Orthanc"
    assert browser.logged("browser") == []


def test_ten_thousand(server: Orthanc, browser: Browser) -> None:
    """Ten thousand entries are shown a page at a time, and can be narrowed down."""
    assert server.http.post("/test/fill/10000").status == 204
    browser.open(server)
    browser.wait_text(".total.dead", "2,000")
    browser.wait_text(".entries", "10000")
    assert len(browser.find(".entries tbody")) == 50
    browser.click("Older")
    browser.wait_text("nav[aria-label='Pages of entries']", "page 2")
    browser.wait_text(".entries", "9950")
    browser.click("Newest")
    browser.wait_text(".entries", "10000")
    browser.click("2,000 failed")
    shown = browser.wait_text("#entries-title", "failed")
    assert shown == "Entries failed"
    wait_until(
        lambda: browser.texts(".entries td .badge"),
        "only failed ones",
        done=lambda found: found == {"failed"},
    )
    assert urlsplit(browser.driver.current_url).fragment == "state=dead"
    browser.click("show all")
    browser.wait_text(".entries", "running")


def test_no_request_leaves_the_server(server: Orthanc, browser: Browser) -> None:
    """All that the page asks for is on the same server, and the browser has no complaint."""
    put(server, {"state": "dead"})
    browser.logged("browser")
    browser.open(server)
    browser.click("Retry entry 1")
    browser.wait_text("[role=status]", "tried again")
    asked = browser.requested()
    assert {f"{server.url}/async", f"{server.url}/async/entries/1/retry"} <= set(asked)
    assert [one for one in asked if not one.startswith(f"{server.url}/async")] == []
    assert browser.logged("browser") == []


@pytest.mark.parametrize("path", ["/async/app", "/async/app/", "/async/app/index.html"])
def test_its_addresses(server: Orthanc, browser: Browser, path: str) -> None:
    """The page is found with a slash at the end, without, and by its whole name."""
    browser.open(server, path=path)
    assert urlsplit(browser.driver.current_url).path == "/async/app/index.html"


def test_a_store_that_does_not_answer(server: Orthanc, browser: Browser) -> None:
    """What is wrong with the store is shown, and goes when it is mended."""
    put(server, {})
    browser.open(server)
    problem = "/data/orthanc-async.db cannot be written: No space left on device"
    server.http.post("/test/mode", json.dumps({"problem": problem}))
    browser.wait_text("[role=alert]", problem)
    assert browser.text(".total.waiting").split() == ["1", "waiting"]
    assert browser.find("main.old")
    browser.click("Cancel entry 1")
    browser.wait_text("[role=status]", problem)
    server.http.post("/test/mode", "{}")
    wait_until(lambda: not browser.text("[role=alert]"), "the end of the trouble")


def test_a_server_that_is_gone(orthanc_server: OrthancFactory, browser: Browser) -> None:
    """When Orthanc does not answer the page says so, asks less often, and recovers."""
    server = orthanc_server(SCRIPT)
    browser.open(server)
    server.stop()
    browser.wait_text("[role=alert]", "The server does not answer. Trying again in")
    assert browser.find("main.old")
    again = orthanc_server(SCRIPT, http_port=server.http_port)
    again.http.post("/test/put", '[{"state": "dead"}]')
    wait_until(lambda: not browser.text("[role=alert]"), "the page to recover", timeout=40)
    browser.wait_text(".total.dead", "1")


def test_authentication(orthanc_server: OrthancFactory, browser: Browser) -> None:
    """Without a password Orthanc answers 401 to all of it; with one the page works."""
    server = orthanc_server(
        SCRIPT,
        config={"AuthenticationEnabled": True, "RegisteredUsers": {"alice": "secret"}},
    )
    for path in ("/async", "/async/app/", "/async/app/app.js", "/async/entries"):
        assert server.http.get(path).status == 401
    assert server.http.post("/async/queues/to-archive/retry").status == 401
    browser.driver.get(f"http://alice:secret@127.0.0.1:{server.http_port}/async/app/")
    browser.wait_text("header", "updated")
    browser.wait_text("main", "to-archive")


def test_the_keyboard_suffices(server: Orthanc, browser: Browser) -> None:
    """Every control is reached by Tab and has a name; tables name their columns and rows."""
    put(server, {"state": "dead"}, {})
    browser.open(server)
    browser.wait_text(".entries", "waiting")
    names = set()
    body = browser.find("body")[0]
    for _ in range(40):
        body.send_keys(Keys.TAB)
        name = browser.driver.execute_script(
            "const e = document.activeElement; return e.ariaLabel || e.innerText || ''"
        )
        names.add(" ".join(str(name).split()))
    assert {"Retry entry 1", "Cancel entry 2", "Details of entry 1", "to-archive"} <= names
    assert "Retry failed of to-archive" in names
    nameless = browser.driver.execute_script(
        "return [...document.querySelectorAll('button, a, progress')]"
        ".filter((e) => !(e.ariaLabel || e.innerText.trim())).length"
    )
    assert nameless == 0
    assert browser.find("th[scope=col]")
    assert browser.find("th[scope=row]")


def test_light_and_dark(server: Orthanc, browser: Browser) -> None:
    """The page follows the browser's choice of light or dark."""
    browser.open(server)
    script = "return getComputedStyle(document.body).backgroundColor"
    seen = set()
    for choice in ("light", "dark"):
        browser.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": choice}]},
        )
        seen.add(browser.driver.execute_script(script))
    assert len(seen) == 2


def test_the_way_from_orthanc_explorer(server: Orthanc, browser: Browser) -> None:
    """Orthanc Explorer has a button that leads to the page."""
    browser.driver.get(f"{server.url}/app/explorer.html")
    wait_until(lambda: browser.find("a.orthanc-async-link"), "the button")
    button = browser.find("#lookup a.orthanc-async-link")[0]
    assert "Deliveries" in button.text
    button.click()
    browser.wait_text("header", "updated")
    assert urlsplit(browser.driver.current_url).path == "/async/app/index.html"
