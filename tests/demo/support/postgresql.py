"""A private PostgreSQL server."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from support.canaries import awkward_value
from support.commands import CannotRun, Result, describe, ignore_signals, run
from support.console import indent, progress
from support.sandbox import Sandbox

DATABASE = "db-og-secrets"
SETUP = Path(__file__).resolve().parent.parent / "setup.sql"


class Cluster:
    """A PostgreSQL server of its own, with the database of the use case.

    Over TCP only passwords open it (SCRAM); the administrator comes in through
    a socket inside the sandbox, known by the account that runs the server.
    """

    ROLES = ("ninja_org", "ninja_project", "ninja_user")

    def __init__(self, sandbox: Sandbox) -> None:
        self.programs = postgresql_programs()
        self.home = sandbox.directory("pg")
        self.home.chmod(0o700)
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        self.account = server_account()
        if os.geteuid() == 0:
            os.chown(self.home, self.account.pw_uid, self.account.pw_gid)
        self.port = 0
        self.server: subprocess.Popen[bytes] | None = None
        self.passwords = {role: awkward_value() for role in self.ROLES}

    def __enter__(self) -> Cluster:
        try:
            self._initialise()
            self._start()
            self._load()
        except BaseException:
            ignore_signals()
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        ignore_signals()
        self.stop()

    @property
    def pid(self) -> int:
        return self.server.pid if self.server else 0

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Runs SQL as the administrator, handed over on standard input: it may hold passwords."""
        result = self._psql(["-h", str(self.home), "-d", database], sql)
        if result.returncode != 0:
            raise CannotRun(f"PostgreSQL refused\n{describe(result)}")
        return result.stdout.decode()

    def stop(self) -> None:
        """Stops the server as gently as it lets itself be stopped."""
        if self.server is None:
            return
        for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self.server.send_signal(request)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(timeout=10)
                break
        self.server = None

    def _initialise(self) -> None:
        progress("starting a private PostgreSQL")
        command = [*self._as_account(), str(self.programs / "initdb"), "-D", str(self.data)]
        command += ["--no-sync", "--encoding=UTF8", "--locale=C"]
        command += ["--auth-local=peer", "--auth-host=scram-sha-256"]
        result = run(command, env=self._environment(), cwd=self.home)
        if result.returncode != 0:
            raise CannotRun(f"no PostgreSQL cluster could be made\n{describe(result)}")

    def _start(self) -> None:
        """Tries a few ports: another program can take a free one before the server does."""
        for _ in range(3):
            self.port = free_port()
            with self.log.open("ab") as log:
                self.server = subprocess.Popen(
                    [*self._as_account(), *self._server_command()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment(),
                    cwd=self.home,
                    # Ctrl-C on a terminal is for this script; it stops the server itself.
                    start_new_session=True,
                )
            if self._becomes_ready():
                return
            self.stop()
        log_text = self.log.read_text(errors="replace")
        raise CannotRun(f"PostgreSQL does not start\n{indent(log_text)}")

    def _server_command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.home),
            "password_encryption": "scram-sha-256",
            # Shared memory in the data directory, so that /dev/shm stays untouched.
            "dynamic_shared_memory_type": "mmap",
            # Nothing of this cluster has to survive anything.
            "fsync": "off",
            "full_page_writes": "off",
        }
        command = [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _becomes_ready(self) -> bool:
        """The last line of the server's pid file says so."""
        assert self.server is not None
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.server.poll() is None:
            with contextlib.suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text().split("\n")
                if len(lines) > 7 and lines[7].strip() == "ready":
                    return True
            time.sleep(0.05)
        return False

    def _load(self) -> None:
        """The reference page's SQL as it is; then passwords of this run's own."""
        progress("loading the SQL of the reference page")
        self.psql(SETUP.read_text(encoding="utf-8"))
        for role, password in self.passwords.items():
            literal = password.replace("'", "''")
            self.psql(f"ALTER ROLE {role} PASSWORD '{literal}'")
            self._insist_on_password(role)

    def _insist_on_password(self, role: str) -> None:
        """If a job could come in without a password, the demonstration would prove nothing."""
        where = ["-h", "127.0.0.1", "-d", DATABASE, "-U", role, "--no-password"]
        if self._psql(where, "SELECT 1").returncode == 0:
            raise CannotRun(f"PostgreSQL lets {role} in without a password")

    def _psql(self, where: list[str], sql: str) -> Result:
        command = [*self._as_account(), str(self.programs / "psql"), *where]
        command += ["-p", str(self.port), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return run(command, stdin=sql.encode(), env=self._environment(), cwd=self.home)

    def _as_account(self) -> list[str]:
        """PostgreSQL refuses to run as root; and it must not outlive this script."""
        prefix = ["setpriv", "--pdeathsig=INT"]
        if os.geteuid() == 0:
            prefix += [f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}"]
            prefix += ["--clear-groups"]
        return prefix

    @staticmethod
    def _environment() -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": path, "LC_ALL": "C.UTF-8", "PGCLIENTENCODING": "UTF8"}


def postgresql_programs() -> Path:
    """The directory of the newest PostgreSQL server that is installed."""
    directories = glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/usr/pgsql-*/bin")
    directories.sort(key=lambda name: int("".join(filter(str.isdigit, name)) or 0))
    if found := shutil.which("initdb"):
        directories.append(os.path.dirname(os.path.realpath(found)))
    for directory in map(Path, reversed(directories)):
        if all(os.access(directory / name, os.X_OK) for name in ("initdb", "postgres", "psql")):
            return directory
    raise CannotRun("no PostgreSQL server is installed (initdb, postgres, psql)")


def server_account() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise CannotRun("PostgreSQL does not run as root, and there is no account for it")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
