"""Markup in every field runs nowhere, whoever sees it afterwards.

    hostile.py --binary target/debug/qgis-secrets

Each text would set a canary if a browser took it for markup, in an attribute, in a script or in an
address. It is typed into every field and put into addresses; then all pages are opened that could
show it. (Ids of users, projects and organizations can't hold it: they are refused.)
"""

from __future__ import annotations

import argparse
import sys
import urllib.parse
from pathlib import Path

sys.dont_write_bytecode = True

from selenium.webdriver.common.by import By  # noqa: E402

from ground.browser import Browser  # noqa: E402
from ground.service import Service  # noqa: E402

RUN = "window.canary=1"
TEXTS = [
    f"<script>{RUN}</script>",
    f"\"><img src=x onerror={RUN}>",
    f"' autofocus onfocus='{RUN}' x='",
    f"</textarea></title></select><svg onload={RUN}>",
    f"javascript:{RUN}",
    "{{1234567*7654321}}${1234567*7654321}<%=1234567*7654321%>",
]
# Runs before any page's own: what the policy stops is noted too, not only what runs.
WATCH = """
window.stopped = [];
addEventListener("securitypolicyviolation", (event) => stopped.push(event.violatedDirective));
"""
STATE = """
const made = "img, iframe, [onerror], [onfocus], [onload], a[href^=java], script:not([src])";
return [window.canary ?? null, window.stopped ?? null, document.querySelectorAll(made).length];
"""


class Visitor(Browser):
    """Looks on each page for what ran, what was stopped from that, and what became an element."""

    shown = 0

    def __init__(self) -> None:
        super().__init__()
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})

    def look(self) -> None:
        super().look()
        state = self.driver.execute_script(STATE)
        assert state == [None, [], 0], f"{state} at {self.address}"
        source = self.driver.page_source
        filled_in = str(1234567 * 7654321)
        assert filled_in not in source, f"a template was filled in at {self.address}"
        self.shown += any(text in self.text() for text in TEXTS)


def fill_all(person: Visitor, text: str) -> None:
    """Puts the text into every field that takes text."""
    script = (
        "const [text] = arguments;"
        "for (const field of document.querySelectorAll("
        "'main form input:not([type=hidden]):not([type=checkbox]), main form textarea'))"
        "{ field.removeAttribute('maxlength'); field.value = text; }"
        # What a person could send who writes the form themselves.
        "for (const field of document.querySelectorAll('main form option:checked'))"
        "{ field.value = text; }"
        "document.querySelectorAll('main form').forEach((form) => { form.noValidate = true; });"
    )
    person.driver.execute_script(script, text)


def forms(person: Visitor, address: str) -> int:
    """Sends each form of a page by its last button, with all texts in every field; how many."""
    person.open(address)
    count = len(person.driver.find_elements(By.CSS_SELECTOR, "main form"))
    for index in range(count):
        person.open(address)
        fill_all(person, " ".join(TEXTS))
        form = person.driver.find_elements(By.CSS_SELECTOR, "main form")[index]
        buttons = form.find_elements(By.CSS_SELECTOR, "button.main, button:not([tabindex='-1'])")
        person.leave(buttons[-1].click)
    return count


def attack(service: Service, person: Visitor) -> int:
    person.open(service.link)
    person.press("Log in as an operator")
    project = f"{service.origin}/projects/survey"
    sent = 0

    # Saved: what a name or a value may be, which is more than one would think.
    for text in TEXTS:
        section = text.replace("]", "")
        person.open(f"{project}/secrets/new?kind=pgservice")
        person.press("Advanced editor")
        service_text = f"[{section}]\nhost={text}\nuser={text}\npassword={text}\ndbname={text}\n"
        person.paste("Text of pg_service.conf", service_text)
        person.press("Simple editor")
        person.press("Save the secret")
        if "Nothing is saved yet" in person.text():
            person.press("Save the secret as it is")
        person.sees("The secret was added.")
        person.open(f"{project}/access")
        person.fill("Name of a new token", text)
        person.press("Make a token")
        person.sees("Copy the token now")
        person.open(f"{project}/access")
        person.fill("Make somebody an admin of this project", text)
        person.press("Give access")
        sent += 3

    # Refused, or not: every form that there is.
    addresses = ["secrets/new?kind=pgservice", "secrets/new?kind=envvar", "secrets", "effective"]
    for address in [*addresses, "access"]:
        sent += forms(person, f"{project}/{address}")
    sent += forms(person, service.origin + "/")

    # In addresses.
    for text in ("".join(TEXTS), TEXTS[0], TEXTS[4]):
        quoted = urllib.parse.quote(text, safe="")
        for path in (
            f"/projects/{quoted}/secrets",
            f"/organizations/survey/secrets/{quoted}/remove",
            f"/login?link={quoted}&return_to={quoted}&out={quoted}",
            f"/?q={quoted}",
            f"/projects/survey/secrets?user={quoted}&kind={quoted}",
            f"/projects/survey/secrets/new?kind={quoted}",
            f"/open?what={quoted}&id={quoted}",
            f"/{quoted}",
        ):
            person.open(service.origin + path)
            sent += 1

    # Seen by whoever comes later, with what can be done to each.
    for path in ("secrets", "effective", "access"):
        person.open(f"{project}/{path}")
        links = person.driver.find_elements(By.CSS_SELECTOR, "main td a")
        for link in {link.get_attribute("href") for link in links}:
            person.open(link)
        person.open(f"{project}/{path}")
        if path != "access":
            person.sees(*(text.replace("]", "") for text in TEXTS))
    person.sees(*TEXTS)
    return sent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    options = parser.parse_args()
    with Service(options.binary, "trusted") as service, Visitor() as person:
        sent = attack(service, person)
        complaints = [line for line in person.complaints() if "Content Security" in line]
        assert not complaints, complaints
        seen = f"{sent} texts sent, {person.shown} of {person.pages} pages showed one"
        assert person.shown > 30 and sent > 40, seen
        print(seen)


if __name__ == "__main__":
    main()
