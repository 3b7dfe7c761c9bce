"""Every task of the page, as a person does it from the first link to the log-out.

    tasks.py --binary target/debug/qgis-secrets --by mouse|keyboard [--without-script]
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from ground.browser import Browser, Keyboard  # noqa: E402
from ground.service import Service  # noqa: E402

ORGANIZATION = "ninja"
PROJECT = "ninja/field-survey"
# Blanks at both ends, an empty first line, and what careless code escapes, cuts or interprets.
KEY = "\n  first line \n\n<b>&amp;\" 'two' \\n %0A ${HOME}\t</textarea>\nümläut – end  \n"
# With those, there are enough secrets for a filter.
OTHERS = ["roads", "rivers", "woods"]
ADDED = "The secret was added. Jobs that start from now on get it."
ADDED_ALL = "The secrets were added. Jobs that start from now on get them."


def password() -> str:
    return f"it's {secrets.token_hex(8)} \"a\" \\ 100% <ü>"


class Story:
    """What is done one after the other. Each step stands on those before it."""

    def __init__(self, service: Service, person: Browser) -> None:
        self.service = service
        self.person = person

    def play(self) -> None:
        self.log_in()
        token = self.make_a_token()
        self.open_places()
        self.add_a_variable()
        self.add_a_service()
        self.paste_several()
        self.assign()
        self.replace()
        self.see_what_is_effective(token)
        self.filter()
        self.remove()
        self.give_access(token)
        self.log_out()

    # -- in, and to the place

    def log_in(self) -> None:
        person = self.person
        person.open(self.service.link)
        person.press("Log in as an operator")
        assert person.heading() == "Overview"
        person.sees("Nothing to administer yet")
        assert "link=" not in person.address, "the link is still in the address"

    def make_a_token(self) -> str:
        """For the orchestrator, which registers what there is. It is shown once."""
        person = self.person
        person.follow("Operators and their API tokens")
        person.fill("Name of a new token", "orchestrator")
        person.choose("It may", "Add and remove secrets too")
        person.fill("For how many days", "0")
        person.press("Make a token")
        person.sees("This was not done")
        assert person.value("Name of a new token") == "orchestrator"
        person.fill("For how many days", "1")
        person.press("Make a token")
        token = person.shown_once()
        person.saved.append(token)
        assert self.service.api("GET", "/v1/whoami", token) == 200
        person.follow("I have copied it")
        person.sees("orchestrator", "add and remove secrets too")
        self.service.register(token, PROJECT, ORGANIZATION, ["ada", "bob"])
        return token

    def open_places(self) -> None:
        person = self.person
        person.follow("qgis-secrets")
        person.choose("What", "Organization")
        person.fill("Id", "no blanks")
        person.press("Open")
        assert person.value("Id") == "no blanks", "what was typed is lost"
        person.fill("Id", ORGANIZATION)
        person.press("Open")
        assert person.heading() == f"Organization {ORGANIZATION}"
        person.follow("Overview")
        person.follow(f"{PROJECT} in {ORGANIZATION}")
        assert person.heading() == f"Project {PROJECT}"
        person.sees("No secrets yet")
        person.follow("Members")
        person.sees("ada", "bob")
        person.follow("Secrets")

    # -- secrets

    def save(self, done: str = ADDED) -> None:
        self.person.press("Save the secret")
        self.person.sees(done)

    def add_a_variable(self) -> None:
        """Its value arrives byte for byte; a slip in the name loses nothing of it."""
        person = self.person
        person.follow("Add an environment variable")
        person.fill("Name", "PATH")
        person.paste("Value", KEY)
        person.press("Save the secret")
        person.sees("This was not saved")
        assert person.value("Value") == KEY, "what was typed is lost"
        person.fill("Name", "API_KEY")
        self.save_in_spite_of_doubts()
        person.saved.append("first line")
        assert self.environment("API_KEY", "ada") == KEY.encode()

    def save_in_spite_of_doubts(self) -> None:
        person = self.person
        person.press("Save the secret")
        if "Nothing is saved yet" in person.text():
            person.press("Save the secret as it is")
        person.sees(ADDED)

    def add_a_service(self) -> None:
        """With an extra field; from one editor to the other and back; an error at its line."""
        person, value = self.person, password()
        person.follow("Add a new secret")
        person.follow(
            "pg_service configuration A connection to a PostgreSQL or PostGIS database, "
            "which layers name as service=…."
        )
        has_script = "Show the password" in person.text()
        assert has_script == person.script, f"scripts run: {has_script}"
        person.fill("Service name", "ninja")
        person.fill("Database (optional)", "survey")
        person.fill("Host (optional)", "db.example.org")
        person.fill("Port (optional)", "5433")
        person.fill("User (optional)", "ninja_org")
        person.fill("Password (optional)", value)
        person.choose("SSL (optional)", "require – always, whoever the server is")
        person.press("Add extra pgservice field")
        person.fill("Setting", "connect_timeout")
        person.fill("Value", "7")
        person.press("Add extra pgservice field")
        person.press("Remove extra field 2")

        person.press("Advanced editor")
        text = person.value("Text of pg_service.conf")
        lines = text.strip().splitlines()
        assert lines[0] == "[ninja]" and f"password={value}" in lines, lines
        assert "connect_timeout=7" in lines and "port=5433" in lines, lines
        person.paste("Text of pg_service.conf", text.rstrip() + "\nhots=typo\n")
        person.press("Save the secret")
        wrong = len(lines) + 1
        person.sees("This was not saved", f"Line {wrong}")
        assert person.value("Text of pg_service.conf") == text.rstrip() + "\nhots=typo\n"
        person.press("Simple editor")
        second = '[aria-label="Extra field 2"]'
        typed = (person.value("Setting", second), person.value("Value", second))
        assert typed == ("hots", "typo"), typed
        person.press("Remove extra field 2")
        assert person.value("Password (optional)") == value
        assert person.value("Port (optional)") == "5433"
        assert (person.value("Setting"), person.value("Value")) == ("connect_timeout", "7")
        self.save()
        person.saved.append(value)
        got = self.services("ada")
        for line in ("[ninja]", f"password={value}", "connect_timeout=7", "sslmode=require"):
            assert line in got, (line, got)

    def paste_several(self) -> None:
        """Several services at once, one of which is there."""
        person, value = self.person, password()
        self.add_service_by_text(
            f"[ninja]\nhost=db\nuser=ninja_project\npassword={value}\n\n"
            f"; another\n[tiles]\nhost=tiles\nuser=tiles\npassword={value}\n"
            + "".join(f"[{name}]\nhost=db\nuser=map\npassword={value}\n" for name in OTHERS)
        )
        assert person.heading() == "Add 5 services"
        person.press("Back to the text")
        person.press("Simple editor")
        person.sees("The simple editor holds exactly one service")
        assert "[tiles]" in person.value("Text of pg_service.conf"), "a service is lost"
        person.press("Save the secret")
        person.sees("is there already", "added")
        person.press("Save 5 secrets")
        person.sees("This was not saved")
        person.press("Back to the text")
        assert "[tiles]" in person.value("Text of pg_service.conf")
        person.press("Save the secret")
        person.tick("Replace those that are there already")
        person.press("Save 5 secrets")
        person.sees(ADDED_ALL, "tiles")
        person.saved.append(value)
        assert self.services("ada").count(f"password={value}") == 5

    def add_service_by_text(self, text: str, user: str | None = None) -> None:
        person = self.person
        person.follow("Add a new secret")
        person.follow(
            "pg_service configuration A connection to a PostgreSQL or PostGIS database, "
            "which layers name as service=…."
        )
        person.press("Advanced editor")
        person.paste("Text of pg_service.conf", text)
        if user:
            person.choose("Assigned to (optional)", user)
        person.press("Save the secret")

    def assign(self) -> None:
        person, value = self.person, password()
        text = f"[ninja]\nhost=db\nuser=ninja_user\npassword={value}\n"
        self.add_service_by_text(text, "bob")
        person.sees(ADDED, "Assigned to bob")
        person.saved.append(value)
        assert f"password={value}" in self.services("bob")
        assert f"password={value}" not in self.services("ada")
        assert f"password={value}" not in self.services(None)

    def replace(self) -> None:
        person, value = self.person, password()
        person.follow("Replace tiles, Project")
        assert person.heading() == "Replace tiles"
        assert person.value("Service name") == "tiles"
        assert person.value("Password (optional)") == ""
        person.fill("Host (optional)", "tiles2")
        person.fill("User (optional)", "tiles")
        person.fill("Password (optional)", value)
        person.press("Replace the secret")
        person.sees("The secret was replaced. Jobs that start from now on get the new value.")
        person.saved.append(value)
        assert f"password={value}" in self.services("ada")

    # -- why

    def see_what_is_effective(self, token: str) -> None:
        person = self.person
        person.follow("Effective secrets")
        person.choose("The job runs for", "bob")
        person.choose("Its kind", "Environment variable")
        person.fill("Its name", "NOWHERE")
        person.press("Show")
        person.sees("What a job for bob gets", "Missing: NOWHERE")
        winner = person.row("ninja")
        assert "Assigned to bob" in winner and "Project" in winner, winner
        person.choose("The job runs for", "ada")
        person.choose("Its kind", "pg_service configuration")
        person.fill("Its name", "tiles")
        person.press("Show")
        person.sees("Not missing: tiles")
        assert "nothing" in person.row("ninja"), person.row("ninja")
        # Somebody leaves: what was theirs lies dormant.
        self.service.register(token, PROJECT, ORGANIZATION, ["ada"])
        person.follow("Secrets")
        person.sees("dormant", "No job gets it: bob is no member of this project.")
        self.service.register(token, PROJECT, ORGANIZATION, ["ada", "bob"])

    def filter(self) -> None:
        person = self.person
        person.follow("Secrets")
        person.choose("Kind", "Environment variable")
        person.press("Filter")
        person.sees("API_KEY")
        person.misses("tiles")
        person.follow("Show all")
        person.sees("tiles")

    def remove(self) -> None:
        person = self.person
        person.follow("Remove ninja, Assigned to bob")
        person.sees("Remove ninja?", "What happens then", "the project's")
        person.follow("Keep it")
        person.sees("Assigned to bob")
        person.follow("Remove ninja, Assigned to bob")
        person.press("Remove the secret")
        person.sees("The secret was removed.")
        person.misses("Assigned to bob")
        assert "user=ninja_project" in self.services("bob")

    # -- access, and out

    def give_access(self, token: str) -> None:
        person = self.person
        person.follow("Access")
        person.fill("Make somebody an admin of this project", "eve@example.org")
        person.press("Give access")
        person.sees("Access was given.", "eve@example.org")
        person.follow("Take away from eve@example.org")
        person.press("Take it away")
        person.sees("The access was taken away.")
        person.misses("eve@example.org")

        person.fill("Name of a new token", "reader")
        person.press("Make a token")
        reader = person.shown_once()
        person.saved.append(reader)
        assert self.service.api("GET", "/v1/whoami", reader) == 200
        person.follow("I have copied it")
        person.follow("Revoke reader")
        person.press("Revoke it")
        person.sees("The token was revoked.", "revoked")
        assert self.service.api("GET", "/v1/whoami", reader) == 401
        assert self.service.api("GET", "/v1/whoami", token) == 200

    def log_out(self) -> None:
        person = self.person
        person.follow("Secrets")
        inside = person.address
        person.reveal("Logged in as Operator")
        person.press("Log out")
        person.sees("You are logged out.")
        # What was seen before is not kept, neither behind the back button nor at its address.
        for _ in range(3):
            person.leave(person.driver.back)
            person.misses("API_KEY", "tiles")
        person.open(inside)
        assert person.heading() == "Log in"
        person.open(self.service.link)
        person.press("Log in as an operator")
        person.sees("You are not logged in")

    # -- what jobs get

    def environment(self, name: str, user: str | None) -> bytes:
        return self.service.job(f'printf %s "${name}" >"$OUT"', PROJECT, ORGANIZATION, user)

    def services(self, user: str | None) -> list[str]:
        job = 'cp "$PGSERVICEFILE" "$OUT"'
        return self.service.job(job, PROJECT, ORGANIZATION, user).decode().splitlines()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--by", choices=["mouse", "keyboard"], required=True)
    parser.add_argument("--without-script", action="store_true")
    options = parser.parse_args()
    hands = {"mouse": Browser, "keyboard": Keyboard}[options.by]
    with Service(options.binary) as service, hands(not options.without_script) as person:
        Story(service, person).play()
        assert not (complaints := person.complaints()), complaints
        print(f"{person.pages} pages")


if __name__ == "__main__":
    main()
