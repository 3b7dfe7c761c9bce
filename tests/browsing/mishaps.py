"""What goes wrong while somebody uses the page: nothing that was typed is lost, nothing is done twice,
nobody sees what they may not, and the next step is said.

    mishaps.py --binary target/debug/qgis-secrets [--without-script]
"""

from __future__ import annotations

import argparse
import sys
import urllib.parse
from pathlib import Path

sys.dont_write_bytecode = True

from selenium.webdriver.common.by import By  # noqa: E402

from ground.browser import Browser, until  # noqa: E402
from ground.service import Service  # noqa: E402

ORGANIZATION, PROJECT = "ninja", "ninja/field-survey"
# Blanks and line breaks that careless code loses on the way there and back.
TYPED = "\n  typed with care </textarea>&amp; \n\n\tto the end \n"
LONG = "N" * 255
# From right to left, with the letters that turn the direction round.
TURNED = "שירות-מפות \u202enoitcerid\u202c عربي"


class Mishaps:
    """One after the other, by somebody who stays logged in as far as that goes."""

    def __init__(self, service: Service, person: Browser) -> None:
        self.service = service
        self.person = person
        self.project = f"{service.origin}/projects/{PROJECT.replace('/', '%2F')}"

    def play(self) -> None:
        self.begin()
        self.a_session_that_ends_in_the_middle_of_a_form()
        self.two_tabs()
        self.a_form_that_is_sent_twice()
        self.somebody_was_faster()
        self.more_than_the_service_takes()
        self.two_hundred_services_at_once()
        self.names_that_are_long_or_run_the_other_way()
        self.other_sites()
        self.the_way_back_after_the_log_out()

    def begin(self) -> None:
        person = self.person
        person.open(self.service.link)
        person.press("Log in as an operator")
        person.open(self.service.origin + "/access")
        person.fill("Name of a new token", "orchestrator")
        person.choose("It may", "Add and remove secrets too")
        person.press("Make a token")
        self.token = person.shown_once()
        person.saved.append(self.token)
        self.service.register(self.token, PROJECT, ORGANIZATION, ["ada", "bob"])

    def saved(self) -> None:
        """In spite of what is doubtful."""
        if "Nothing is saved yet" in self.person.text():
            self.person.press("Save the secret as it is")
        self.person.sees("The secret was added.")

    def log_in_again(self) -> None:
        """In another tab, while the form waits in the first."""
        person = self.person
        first = person.driver.current_window_handle
        person.driver.switch_to.new_window("tab")
        person.open(self.service.another_link())
        person.press("Log in as an operator")
        person.driver.close()
        person.driver.switch_to.window(first)

    def end_own_session(self) -> None:
        """As an operator does it, elsewhere."""
        person = self.person
        first = person.driver.current_window_handle
        person.driver.switch_to.new_window("tab")
        person.open(self.service.origin + "/sessions")
        person.sees("this browser", "one-time link")
        own = person.driver.find_element(By.CSS_SELECTOR, "tr.new button")
        person.leave(lambda: person.activate(own))
        assert person.heading() == "Log in", person.heading()
        person.driver.close()
        person.driver.switch_to.window(first)

    def a_session_that_ends_in_the_middle_of_a_form(self) -> None:
        person = self.person
        person.open(self.project + "/secrets/new?kind=envvar")
        person.fill("Name", "TYPED")
        person.paste("Value", TYPED)
        person.choose("Assigned to (optional)", "bob")
        self.end_own_session()
        person.press("Save the secret")
        person.sees("You are not logged in any more", "nothing that you typed is lost")
        # Whoever presses too early loses nothing either.
        person.press("Send it again")
        person.sees("You are not logged in any more")
        self.log_in_again()
        person.press("Send it again")
        person.sees("You have logged in again since then")
        person.press("Send it again")
        self.saved()
        person.sees("TYPED", "Assigned to bob")
        person.saved.append("typed with care")
        script = 'printf %s "$TYPED" >"$OUT"'
        got = self.service.job(script, PROJECT, ORGANIZATION, "bob")
        assert got == TYPED.encode(), got

    def two_tabs(self) -> None:
        """A log-out in one, and a log-in, leave the other one's form as it is."""
        person = self.person
        person.open(self.project + "/secrets/new?kind=pgservice&editor=advanced")
        text = "[tabs]\nhost=db\nuser=tabs\npassword=it's a tab's\n"
        person.paste("Text of pg_service.conf", text)
        first = person.driver.current_window_handle
        person.driver.switch_to.new_window("tab")
        person.open(self.service.origin + "/")
        person.reveal("Logged in as Operator")
        person.press("Log out")
        person.driver.close()
        person.driver.switch_to.window(first)
        person.press("Simple editor")
        person.sees("You are not logged in any more")
        self.log_in_again()
        person.press("Send it again")
        person.press("Send it again")
        assert person.value("Service name") == "tabs"
        assert person.value("Password (optional)") == "it's a tab's"
        person.press("Save the secret")
        self.saved()
        person.saved.append("it's a tab's")

    def a_form_that_is_sent_twice(self) -> None:
        person = self.person
        person.open(self.project + "/secrets/new?kind=envvar")
        person.fill("Name", "TWICE")
        person.paste("Value", "sent-twice-by-mistake")
        button = person.find("button", "Save the secret")
        person.leave(lambda: person.double_click(button))
        until("the list is there", lambda: "TWICE" in person.text())
        # With scripts the second click is held back; without, the second form finds the name taken.
        if "has a secret envvar:TWICE already" in person.text():
            assert not person.script, "a double click was sent twice"
            assert person.value("Value") == "sent-twice-by-mistake"
            person.follow("Cancel")
        person.saved.append("sent-twice-by-mistake")
        names = [row for row in person.rows() if row.startswith("TWICE")]
        assert len(names) == 1, names

    def somebody_was_faster(self) -> None:
        """What is on the page may be gone when one acts on it."""
        person = self.person
        person.open(self.project + "/secrets/new?kind=envvar")
        person.fill("Name", "TWICE")
        person.paste("Value", "of-one-user-alone")
        person.choose("Assigned to (optional)", "ada")
        person.press("Save the secret")
        remove = person.find("link", "Remove TWICE, Assigned to ada").get_attribute("href")
        replace = person.find("link", "Replace TWICE, Assigned to ada").get_attribute("href")
        person.open(replace)
        person.paste("Value", "too-late-to-be-saved")
        first = person.driver.current_window_handle
        person.driver.switch_to.new_window("tab")
        person.open(remove)
        other = person.driver.current_window_handle
        person.driver.switch_to.new_window("tab")
        person.open(remove)
        person.press("Remove the secret")
        person.sees("The secret was removed.")
        person.driver.close()
        person.driver.switch_to.window(other)
        person.press("Remove the secret")
        person.sees("There is nothing here", "To the overview")
        person.driver.close()
        person.driver.switch_to.window(first)
        person.press("Replace the secret")
        person.sees("has been replaced or removed meanwhile; nothing is lost")
        assert (person.value("Name"), person.value("Value")) == ("TWICE", "too-late-to-be-saved")
        assert person.value("Assigned to (optional)") == "ada"
        person.press("Save the secret")
        person.sees("The secret was added.", "Assigned to ada")
        person.saved.append("too-late-to-be-saved")

    def more_than_the_service_takes(self) -> None:
        person = self.person
        person.open(self.project + "/secrets/new?kind=envvar")
        person.fill("Name", "HUGE")
        script = "document.getElementById('value').value = 'x'.repeat(1200000)"
        person.driver.execute_script(script)
        person.press("Save the secret")
        person.sees("This is too long", "nothing was saved", "Go back and send less")
        person.open(self.project + "/secrets/new?kind=envvar")
        person.fill("Name", "HUGE")
        person.driver.execute_script(script.replace("1200000", "140000"))
        person.press("Save the secret")
        person.sees("This was not saved", "131")
        assert len(person.value("Value")) == 140000

    def two_hundred_services_at_once(self) -> None:
        person = self.person
        text = "".join(
            f"[map-{n}]\nhost=db\nuser=map\npassword=one-of-200\n" for n in range(200)
        )
        person.open(self.project + "/secrets/new?kind=pgservice&editor=advanced")
        person.paste("Text of pg_service.conf", text)
        person.press("Save the secret")
        assert person.heading() == "Add 200 services"
        person.press("Save 200 secrets")
        person.saved.append("one-of-200")
        person.sees("The secrets were added.", "Next page")
        person.follow("Next page of secrets")
        person.sees("First page")
        person.fill("Name", "MAP-19")
        person.press("Filter")
        person.sees("map-19", "map-199")
        person.misses("map-20", "TYPED", "Next page")
        got = self.service.job('cp "$PGSERVICEFILE" "$OUT"', PROJECT, ORGANIZATION, None)
        assert got.count(b"password=one-of-200") == 200

    def names_that_are_long_or_run_the_other_way(self) -> None:
        person = self.person
        person.open(self.project + "/secrets/new?kind=envvar")
        person.fill("Name", LONG)
        person.paste("Value", "of-a-long-name")
        person.press("Save the secret")
        self.saved()
        person.saved.append("of-a-long-name")
        person.open(self.project + "/secrets/new?kind=pgservice&editor=advanced")
        person.paste("Text of pg_service.conf", f"[{TURNED}]\nhost=db\nuser=u\npassword=turned-round\n")
        person.press("Save the secret")
        self.saved()
        person.saved.append("turned-round")
        for path in ("", "?q=N" + "N" * 50, "?kind=pgservice&q=" + TURNED[:5]):
            person.open(self.project + "/secrets" + path)
            person.fits(375)
        person.open(self.project + "/effective?user=ada&kind=envvar&name=" + LONG)
        person.sees("Not missing")
        person.fits(375)
        # A name that turns the direction leaves its neighbours as they are.
        names = person.driver.find_elements(By.CSS_SELECTOR, "th.name code, th.name bdi")
        styles = {name.value_of_css_property("unicode-bidi") for name in names}
        assert styles == {"isolate"}, styles

    def other_sites(self) -> None:
        """A form that another site sends, with all that such a site can know: nothing is done."""
        person = self.person
        before = person.driver.get_cookie("qgis_secrets")
        page = (
            f"<form method=post action='{self.project}/secrets/new'>"
            "<input name=kind value=envvar><input name=name value=PLANTED>"
            "<input name=value value=planted-by-another><button>Go</button></form>"
        )
        first = person.driver.current_window_handle
        person.driver.switch_to.new_window("tab")
        person.driver.get("data:text/html," + urllib.parse.quote(page))
        button = person.driver.find_element(By.TAG_NAME, "button")
        person.leave(lambda: button.click())
        person.sees("You may not do this")
        person.misses("Send it again")
        person.driver.close()
        person.driver.switch_to.window(first)
        assert before and person.driver.get_cookie("qgis_secrets")["value"] == before["value"]
        person.open(self.project + "/secrets?q=PLANTED")
        person.misses("envvar:PLANTED")
        person.sees("No secret here matches")

    def the_way_back_after_the_log_out(self) -> None:
        person = self.person
        person.open(self.project + "/secrets")
        person.follow("Add a new secret")
        inside = person.address
        person.reveal("Logged in as Operator")
        person.press("Log out")
        person.sees("You are logged out.")
        for _ in range(3):
            person.driver.back()
            until("a page is there", lambda: person.text() != "")
            person.misses("What kind of secret?", "map-19", "Add a new secret")
        person.open(inside)
        assert person.heading() == "Log in"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--without-script", action="store_true")
    options = parser.parse_args()
    with Service(options.binary) as service, Browser(not options.without_script) as person:
        Mishaps(service, person).play()
        assert not (complaints := person.complaints()), complaints
        print(f"{person.pages} pages")


if __name__ == "__main__":
    main()
