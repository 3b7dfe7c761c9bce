"""The story, told through the page: secrets come and go by a browser instead of the command line.

The page is served by a process of the admin role, which has the public key alone: it can add
secrets and read none. Needs the Python that `make deps` installs beside the build, and Chromium.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from steps import SERVICE, VARIABLE, Demonstration
from support.commands import CannotRun, adopted, end, run
from support.console import progress
from support.postgresql import DATABASE

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "browsing"))

from ground.browser import Browser, until  # noqa: E402


class PageDemonstration(Demonstration):
    """The same steps; what the command line did, a person does with a mouse."""

    origin = ""
    server: subprocess.Popen[bytes] | None = None
    person: Browser | None = None

    def make_store(self) -> None:
        super().make_store()
        progress("starting the page and a browser")
        public = self.sandbox.path / "public.key"
        shown = run([str(self.binary), "key", "public"], env=self.environment)
        public.write_bytes(shown.stdout)
        command = [str(self.binary), "--settings", str(self.service.directory / "settings.toml")]
        command += ["--public-key", str(public), "serve", "--role", "admin"]
        self.server = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        assert self.server.stderr is not None
        said = b""
        for line in self.server.stderr:
            said += line
            if b"/login?link=" in line:
                link = line.decode().strip()
                break
        else:
            raise CannotRun(f"the page is not served\n{said.decode()}")
        self.origin = link.partition("/login")[0]
        self.person = Browser()
        # From here on, every page is searched for these.
        self.person.saved = [value.split()[0] for value in self.canary_values()]
        self.person.open(link)
        self.person.press("Log in as an operator")

    def canary_values(self) -> list[str]:
        return [*self.passwords.values(), *self.variables.values()]

    def close_page(self) -> None:
        """Before processes are counted: those of the browser are none of the jobs'."""
        if self.person:
            self.person.__exit__(None)
            self.person = None
            until("the browser is gone", lambda: not [n for _, n in adopted() if "chrom" in n])
        if self.server:
            end(self.server)
            self.server = None

    def place(self, level: tuple[str, ...]) -> tuple[str, str]:
        """The address of the place of a level, and the user."""
        kind = {"-O": "organizations", "-P": "projects"}[level[0]]
        user = level[3] if len(level) > 2 else ""
        return f"{self.origin}/{kind}/{level[1]}/secrets", user

    def add_service(self, *level: str, role: str) -> None:
        address, user = self.place(level)
        person = self.person
        person.open(f"{address}/new?kind=pgservice")
        person.fill("Service name", SERVICE)
        person.fill("Host (optional)", "127.0.0.1")
        person.fill("Port (optional)", str(self.cluster.port))
        person.fill("Database (optional)", DATABASE)
        person.fill("User (optional)", role)
        person.paste("Password (optional)", self.passwords[role])
        self.save(user)

    def add_variable(self, *level: str, value: str) -> None:
        address, user = self.place(level)
        self.person.open(f"{address}/new?kind=envvar")
        self.person.fill("Name", VARIABLE)
        self.person.paste("Value", self.variables[value])
        self.save(user)

    def save(self, user: str) -> None:
        person = self.person
        if user:
            person.fill("Assigned to (optional)", user)
        person.press("Save the secret")
        if "Nothing is saved yet" in person.text():
            # The form that asks again is the one page that may show what was typed.
            raise CannotRun(f"the page has doubts:\n{person.text()}")
        person.sees("The secret was added.")

    def remove_service(self, *level: str) -> None:
        address, user = self.place(level)
        words = {"organizations": "Organization", "projects": "Project"}
        level_name = f"Assigned to {user}" if user else words[address.split("/")[3]]
        self.person.open(address)
        self.person.follow(f"Remove {SERVICE}, {level_name}")
        self.table.note(self.person.driver.find_element("css selector", ".note p").text)
        self.person.press("Remove the secret")
        self.person.sees("The secret was removed.")

    def check_processes(self) -> None:
        self.close_page()
        super().check_processes()
