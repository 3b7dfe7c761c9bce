"""A headless Chromium, and the two ways in which a person uses a page: mouse and keyboard.

Things are found by role and accessible name, as a screen reader finds them. After whatever leads to
another page, that page is waited for, and searched for values that nobody may see again.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from typing import TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

PATIENCE_S = 30
# More presses of Tab than any page needs.
TABS = 150

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-US",
]

# What may have which role here.
ELEMENTS = {
    "link": "a[href]",
    "button": "button:not([tabindex='-1']), summary",
    "field": "input:not([type=hidden]):not([type=checkbox]), textarea, select",
    "checkbox": "input[type=checkbox]",
}

T = TypeVar("T")


def until(what: str, condition: Callable[[], T]) -> T:
    """Waits for what a condition gives once it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return result
        except StaleElementReferenceException:
            pass
        time.sleep(0.02)
    raise AssertionError(f"waited in vain until {what}")


class Browser:
    """A browser with a profile of its own, and a person with a mouse."""

    def __init__(self, script: bool = True, width: int = 1280, height: int = 900) -> None:
        self.script = script
        self.profile = tempfile.mkdtemp(prefix="qgis-secrets-browser.")
        options = Options()
        options.binary_location = shutil.which("chromium") or "chromium"
        for flag in [*FLAGS, f"--user-data-dir={self.profile}", f"--window-size={width},{height}"]:
            options.add_argument(flag)
        if not script:
            setting = "profile.managed_default_content_settings.javascript"
            options.add_experimental_option("prefs", {setting: 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Driver(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options, driver)
        # What was saved, and must not be seen on any page.
        self.saved: list[str] = []
        self.pages = 0

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            print(f"at {self.driver.current_url}:\n{self.text()}")
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    # -- looking

    @property
    def address(self) -> str:
        return self.driver.current_url

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.look()

    def text(self) -> str:
        """All that is to be seen."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def heading(self) -> str:
        return " ".join(self.driver.find_element(By.TAG_NAME, "h1").text.split())

    def sees(self, *texts: str) -> None:
        seen = self.text()
        for text in texts:
            assert text in seen, f"no {text!r} at {self.address}"

    def misses(self, *texts: str) -> None:
        seen = self.text()
        for text in texts:
            assert text not in seen, f"{text!r} at {self.address}"

    def look(self) -> None:
        """At a page that has just come: whole, and without anything that was saved."""
        self.pages += 1
        source = self.driver.page_source
        for value in self.saved:
            assert value not in source, f"a saved value in the source of {self.address}"

    def complaints(self) -> list[str]:
        """What the console says besides that a form was not accepted."""
        lines = [entry["message"] for entry in self.driver.get_log("browser")]
        return [line for line in lines if "the server responded with a status of 4" not in line]

    def find(self, role: str, name: str, within: str = "body") -> WebElement:
        """The one element that a screen reader announces so; the first, if it is there twice."""

        def search() -> WebElement | None:
            for root in self.driver.find_elements(By.CSS_SELECTOR, within):
                for element in root.find_elements(By.CSS_SELECTOR, ELEMENTS[role]):
                    if " ".join(element.accessible_name.split()) == name and element.is_displayed():
                        return element
            return None

        return until(f"there is the {role} {name!r} at {self.address}", search)

    def value(self, name: str, within: str = "body") -> str:
        return self.find("field", name, within).get_property("value")

    def row(self, name: str) -> str:
        """The line of a table that begins with a name."""
        for row in self.driver.find_elements(By.CSS_SELECTOR, "tbody tr"):
            if row.find_element(By.TAG_NAME, "code").text == name:
                return row.text
        raise AssertionError(f"no line {name!r} at {self.address}")

    def rows(self) -> list[str]:
        """The lines of a table."""
        return [row.text for row in self.driver.find_elements(By.CSS_SELECTOR, "tbody tr")]

    def fits(self, width: int) -> None:
        """Nothing is wider than a screen of this width."""
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        content = self.driver.execute_script("return document.documentElement.scrollWidth")
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert content <= width, f"{content} px wide on a screen of {width}: {self.address}"

    def shown_once(self) -> str:
        """A new token."""
        return self.driver.find_element(By.CSS_SELECTOR, "code.once").text

    # -- acting

    def follow(self, name: str) -> None:
        self.leave(lambda: self.activate(self.find("link", name)))

    def press(self, name: str, within: str = "body") -> None:
        self.leave(lambda: self.activate(self.find("button", name, within)))

    def leave(self, act: Callable[[], None]) -> None:
        """Does what leads to another page, and waits for that."""
        root = self.driver.find_element(By.TAG_NAME, "html")

        def gone() -> bool:
            try:
                root.is_enabled()
            except StaleElementReferenceException:
                return True
            except WebDriverException as error:
                # The driver's other words for the same, while the page changes.
                return "does not belong to the document" in str(error)
            return False

        act()
        until(f"the page changed from {self.address}", gone)
        state = "return document.readyState"
        until("the page is whole", lambda: self.driver.execute_script(state) == "complete")
        self.look()

    def reveal(self, name: str) -> None:
        """Opens what is folded."""
        self.activate(self.find("button", name))

    def fill(self, name: str, text: str) -> None:
        field = self.find("field", name)
        self.reach(field)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text or Keys.DELETE)

    def paste(self, name: str, text: str) -> None:
        """As from a clipboard: a whole text at once, which a driver can't type without slips."""
        self.fill(name, "")
        self.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def choose(self, name: str, option: str) -> None:
        field = self.find("field", name)
        self.reach(field)
        # A list that is open is the system's, out of a driver's reach: a person's next click.
        for element in field.find_elements(By.TAG_NAME, "option"):
            if element.text.strip() == option:
                element.click()
                return
        raise AssertionError(f"{name} has no option {option!r}")

    def tick(self, name: str) -> None:
        self.activate(self.find("checkbox", name))

    def activate(self, element: WebElement) -> None:
        element.click()

    def double_click(self, element: WebElement) -> None:
        webdriver.ActionChains(self.driver, duration=0).double_click(element).perform()

    def reach(self, element: WebElement) -> None:
        element.click()


class Keyboard(Browser):
    """The same person without a mouse: Tab, Enter, Space and the arrows."""

    def type(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def reach(self, element: WebElement) -> None:
        for _ in range(TABS):
            if self.driver.switch_to.active_element == element:
                return
            self.type(Keys.TAB)
        raise AssertionError(f"Tab does not lead to {element.accessible_name!r}")

    def activate(self, element: WebElement) -> None:
        self.reach(element)
        is_box = element.get_attribute("type") == "checkbox"
        self.type(Keys.SPACE if is_box or element.tag_name == "summary" else Keys.ENTER)

    def choose(self, name: str, option: str) -> None:
        field = self.find("field", name)
        self.reach(field)
        options = [element.text.strip() for element in field.find_elements(By.TAG_NAME, "option")]
        assert option in options, f"{name} has no option {option!r}"
        self.type(Keys.HOME)
        for _ in range(options.index(option)):
            self.type(Keys.ARROW_DOWN)
        chosen = field.find_element(By.CSS_SELECTOR, "option:checked").text.strip()
        assert chosen == option, f"{name} is at {chosen!r}, not {option!r}"
