"""A headless Chromium that opens a page, and tells what its console said and what it asked the network for."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
# Two frames: in the first the page does what it was told, before the second the browser has painted it.
_PAINTED = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
# From when the page is told something until what it drew has been handed over to be shown.
_TIMED = """
const [act, given, done] = [new Function("given", arguments[0]), arguments[1], arguments[2]];
const began = performance.now();
act(given);
requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => done(performance.now() - began);
  channel.port2.postMessage(0);
});
"""


class Browser:
    """One window with one page at a time."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, fragment: str = "") -> None:
        """Opens a file."""
        self.driver.get("about:blank")
        self.driver.get(page.as_uri() + fragment)
        self.painted()

    def painted(self) -> None:
        """Waits until the page shows what it was told."""
        self.driver.execute_async_script(_PAINTED)

    def one(self, selector: str) -> WebElement:
        """The first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """All elements of a CSS selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What an element says, seen or not."""
        return self.one(selector).get_attribute("textContent") or ""

    def click(self, selector: str) -> None:
        """Clicks, as a mouse does."""
        self.one(selector).click()
        self.painted()

    def press(self, *keys: str) -> None:
        """Presses keys, wherever the focus is."""
        active = self.driver.switch_to.active_element
        for key in keys:
            active.send_keys(key)
            active = self.driver.switch_to.active_element
        self.painted()

    def run(self, script: str, *given: object) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *given)

    def milliseconds(self, script: str, given: object = None) -> float:
        """How long the page takes from the beginning of a script until it shows what that did."""
        return float(self.driver.execute_async_script(_TIMED, script, given))

    def until(self, holds: Callable[[], object], seconds: float = 5.0) -> None:
        """Waits for something that becomes true."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "it did not come to be"
            time.sleep(0.02)

    def console(self) -> list[str]:
        """What the console said since it was last asked: errors and warnings."""
        return [f"{line['level']}: {line['message']}" for line in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """The addresses that were asked for since, but for files of this machine and Chromium's own."""
        events = (json.loads(line["message"])["message"] for line in self.driver.get_log("performance"))  # type: ignore[no-untyped-call]
        wanted = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in wanted if not url.startswith(("file:", "data:", "about:", "chrome:"))]

    def resize(self, width: int, height: int) -> None:
        """Makes the page, not the window, that large."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.painted()

    def scheme(self, name: str) -> None:
        """Lets the system be `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.painted()


ENTER, ESCAPE, TAB = Keys.ENTER, Keys.ESCAPE, Keys.TAB
LEFT, RIGHT, UP, DOWN, BACKSPACE = (
    Keys.ARROW_LEFT,
    Keys.ARROW_RIGHT,
    Keys.ARROW_UP,
    Keys.ARROW_DOWN,
    Keys.BACKSPACE,
)


def require_chromium() -> tuple[str, str]:
    """Chromium and its driver; skips the test without them, or fails with KITBUILD_NO_SKIP=1."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if all(programs):
        return str(programs[0]), str(programs[1])
    reason = "chromium or chromedriver is not installed"
    if os.environ.get("KITBUILD_NO_SKIP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium(profile: Path, *, width: int = 1280, height: int = 800) -> Iterator[Browser]:
    """A browser of its own, with a profile in the folder given."""
    program, driver_program = require_chromium()
    options = Options()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_program))
    try:
        browser = Browser(driver)
        browser.resize(width, height)
        yield browser
    finally:
        driver.quit()
