"""Each page, in each state, to whom sees, zooms, or listens.

    accessibility.py --binary target/debug/qgis-secrets

axe-core finds nothing wrong, light, dark, or on a narrow screen; nothing is wider than a
telephone's screen; and all that the pages are drawn with is small.
"""

from __future__ import annotations

import argparse
import sys
import urllib.parse
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True

import axe_playwright_python  # noqa: E402

from ground.browser import Browser  # noqa: E402
from ground.service import Service  # noqa: E402

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
WIDE, NARROW = 1280, 375
ASSETS_BYTES = 60_000

ASK_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
    (found) => done(found.violations.map((violation) => [
        violation.id, violation.help, violation.nodes.map((node) => node.html.slice(0, 200)),
    ])),
    (error) => done([["axe", String(error), []]]),
);
"""


class Inspection:
    """Looks at what a browser shows, in every way in which it can be shown."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.axe = AXE.read_text(encoding="utf-8")
        assert self.axe.startswith("/*! axe v4."), "axe-core is another one"
        self.problems: list[str] = []
        self.states: list[str] = []

    def look(self, state: str) -> None:
        driver = self.browser.driver
        self.states.append(state)
        driver.execute_script(self.axe)
        for width, schemes in ((WIDE, ("light", "dark")), (NARROW, ("light",))):
            self.screen(width)
            for scheme in schemes:
                features = [
                    {"name": "prefers-color-scheme", "value": scheme},
                    # Or colours would be half-way from one scheme to the other.
                    {"name": "prefers-reduced-motion", "value": "reduce"},
                ]
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                for rule, help_text, nodes in driver.execute_async_script(ASK_AXE):
                    where = f"{state}, {width} px, {scheme}"
                    self.problems.append(f"{where}: {rule}: {help_text}: {nodes}")
            content = driver.execute_script("return document.documentElement.scrollWidth")
            if content > width:
                self.problems.append(f"{state}: {content} px wide on a screen of {width}")
        self.screen(WIDE)

    def screen(self, width: int) -> None:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def assets(self) -> int:
        """The bytes of all that a page loads besides itself."""
        script = (
            "return [...document.querySelectorAll('link[href], script[src], img[src]')]"
            ".map((element) => element.href || element.src)"
        )
        total = 0
        for address in set(self.browser.driver.execute_script(script)):
            with urllib.request.urlopen(address, timeout=30) as answer:
                total += len(answer.read())
        return total


def visit(service: Service, browser: Browser, inspect: Inspection) -> None:
    """Every page, empty, full and wrong."""
    look = inspect.look
    browser.open(service.origin + "/")
    look("log in, without a link")
    browser.open(service.link)
    look("log in, by a link")
    browser.press("Log in as an operator")
    look("overview, empty")
    browser.reveal("Logged in as Operator")
    look("overview, menu")
    browser.fill("Id", "no blanks")
    browser.press("Open")
    look("overview, wrong id")
    browser.follow("Operators and their API tokens")
    look("operators")
    browser.fill("Name of a new token", "orchestrator")
    browser.choose("It may", "Add and remove secrets too")
    browser.press("Make a token")
    look("token")
    token = browser.shown_once()
    browser.follow("I have copied it")
    browser.fill("Name of a new token", "another")
    browser.fill("For how many days", "soon")
    browser.press("Make a token")
    look("operators, wrong number")
    browser.follow("Revoke orchestrator")
    look("revoke a token")

    long = "a-rather-long-name-of-an-organization-that-somebody-chose-in-a-good-mood"
    project = f"{long}/field-survey-2026"
    service.register(token, project, long, ["ada", f"{'b' * 60}@example.org"])
    for part in range(51):
        service.register(token, f"ninja/part-{part}", long, ["ada"])
    browser.open(service.origin + "/")
    look("overview, full")
    browser.follow("Next page of projects")
    look("overview, the second page")
    browser.open(service.origin + "/?q=nowhere")
    look("overview, nothing found")
    browser.open(service.origin + "/sessions")
    look("who is logged in")
    browser.open(service.origin + "/")
    browser.follow(f"{project} in {long}")
    look("secrets, none")
    here = browser.address
    browser.follow("Add an environment variable")
    look("variable")
    browser.fill("Name", "lower")
    browser.press("Save the secret")
    look("variable, wrong")
    browser.fill("Name", "A_RATHER_LONG_NAME_OF_A_VARIABLE_THAT_SOMEBODY_CHOSE_FOR_A_KEY_OF_TILES")
    browser.paste("Value", "ab")
    browser.press("Save the secret")
    look("variable, doubtful")
    browser.press("Save the secret as it is")
    look("secrets, one that is new")
    browser.follow("Add a new secret")
    look("choice")
    browser.open(here + "/new?kind=pgservice")
    browser.press("Add extra pgservice field")
    look("simple editor")
    browser.fill("Port (optional)", "many")
    browser.fill("Setting", "hots")
    browser.fill("Value", "x")
    browser.press("Save the secret")
    look("simple editor, wrong")
    browser.open(here + "/new?kind=pgservice")
    browser.press("Advanced editor")
    look("advanced editor")
    browser.paste("Text of pg_service.conf", f"[ninja]\nhost=db\nhots={'x' * 200}\n")
    browser.press("Save the secret")
    look("advanced editor, wrong")
    two = "[ninja]\nhost=db\nuser=ninja\npassword=S3cret-of-ninja\n[tiles]\nhost=tiles\n"
    browser.paste("Text of pg_service.conf", two)
    browser.press("Save the secret")
    look("several")
    browser.press("Save 2 secrets")
    look("secrets, several")
    browser.open(here + "/new?kind=pgservice")
    browser.fill("Service name", "ninja")
    browser.fill("User (optional)", "ninja_user")
    browser.fill("Host (optional)", "db")
    browser.fill("Password (optional)", "S3cret-of-a-user")
    browser.choose("Assigned to (optional)", "ada")
    browser.press("Save the secret")
    browser.follow("Replace ninja, Assigned to ada")
    look("replace")
    browser.follow("Cancel")
    browser.follow("Remove ninja, Assigned to ada")
    look("remove")
    browser.follow("Keep it")
    browser.follow("Effective secrets")
    look("effective, for nobody")
    browser.choose("The job runs for", "ada")
    browser.fill("Its name", "nowhere")
    browser.press("Show")
    look("effective, one missing")
    service.register(token, project, long, ["bob"])
    browser.open(browser.address)
    look("effective, refused")
    browser.follow("Members")
    look("members")
    browser.follow("Secrets")
    look("secrets, one dormant")
    browser.open(here + "?kind=envvar&user=nobody")
    look("secrets, none that match")
    browser.follow("Access")
    browser.fill("Make somebody an admin of this project", "eve@example.org")
    browser.press("Give access")
    look("access")
    browser.follow("Take away from eve@example.org")
    look("take access away")
    browser.open(service.origin + "/organizations/nowhere/secrets")
    look("not found")
    browser.open(here + "/new?kind=envvar")
    browser.paste("Value", "x" * 100)
    browser.driver.execute_script("document.getElementById('name').value = 'A'.repeat(1200000)")
    browser.press("Save the secret")
    look("too long")
    browser.open(here + "/new?kind=envvar")
    browser.fill("Name", "A")
    browser.driver.delete_all_cookies()
    browser.press("Save the secret")
    look("a form that is given back")
    browser.open(service.another_link())
    browser.press("Log in as an operator")
    browser.open(f"{service.origin}/organizations/{urllib.parse.quote(long)}/secrets")
    look("organization")
    browser.reveal("Logged in as Operator")
    browser.press("Log out")
    look("logged out")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    options = parser.parse_args()
    with Service(options.binary) as service, Browser() as browser:
        inspect = Inspection(browser)
        try:
            visit(service, browser, inspect)
        finally:
            # Also when there is no way on to the next page.
            print("\n".join(inspect.problems))
        assert not inspect.problems, f"{len(inspect.problems)} problems, see above"
        assert not (complaints := browser.complaints()), complaints
        size = inspect.assets()
        assert 1_000 < size < ASSETS_BYTES, f"{size} bytes of assets"
        print(f"{len(inspect.states)} states, {size} bytes of assets")


if __name__ == "__main__":
    main()
