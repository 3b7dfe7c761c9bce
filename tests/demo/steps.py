"""The steps that the story is made of, and what their ends mean."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from support.canaries import Canaries, awkward_value, changed_since, regular_files
from support.commands import JOB_TIMEOUT_S, CannotRun, Result, adopted, describe, run
from support.console import Table, indent, progress
from support.postgresql import DATABASE, Cluster
from support.sandbox import Sandbox
from support.service import Service

HERE = Path(__file__).resolve().parent
SERVICE = "ninja"
VARIABLE = "NINJA_GREETING"

ORGANIZATION = "org-ninja"
SURVEY = "project-survey"
OTHER = "project-other"
PERSONAL = "project-personal"

# What a person reads in the columns "expected" and "got".
REFUSED = "refused (66)"
NO_SERVICE = "no such service"


@dataclasses.dataclass(frozen=True)
class Job:
    """Whose job it is: what decides which secrets it gets."""

    organization: str | None
    project: str
    user: str | None
    requires_service: bool = True

    def __str__(self) -> str:
        return f"{self.user or 'the system'} in {self.project}"


class Demonstration:
    """The steps of the story. Each runs something and records one row of the table."""

    def __init__(
        self, sandbox: Sandbox, cluster: Cluster, binary: Path, service: Service | None
    ) -> None:
        self.sandbox = sandbox
        self.cluster = cluster
        self.binary = binary
        self.service = service
        self.table = Table()
        self.passwords = cluster.passwords
        self.variables = {level: awkward_value("\n") for level in ("organization", "project")}
        self.written: dict[str, str] = {}
        self.results: list[Result] = []
        self.explanation = ""
        self.project_file = sandbox.directory("project") / "ninja.qgz"
        self.exports = sandbox.directory("exports")
        self.jobs = sandbox.directory("jobs")
        self.reports = sandbox.directory("reports")
        self.environment = sandbox.environment()
        self.started = time.time()

    @property
    def canaries(self) -> Canaries:
        return Canaries([*self.passwords.values(), *self.variables.values()])

    # -- preparation

    def make_project(self) -> None:
        """Without the binary and without a database: see make_project.py."""
        progress("making a QGIS project that knows only the service's name")
        command = ["/usr/bin/python3", str(HERE / "make_project.py"), str(self.project_file)]
        # Qt would make one in /tmp and leave it there. The jobs' is the runner's business.
        runtime = self.sandbox.directory("runtime")
        runtime.chmod(0o700)
        result = run(command, env={**self.environment, "XDG_RUNTIME_DIR": str(runtime)})
        if result.returncode != 0:
            raise CannotRun(f"the project could not be made\n{describe(result)}")

    def section(self, title: str) -> None:
        progress(title)
        self.table.section(title)

    # -- secrets come and go

    def make_store(self) -> None:
        """An empty one: without any, a job is refused because nobody could be asked."""
        self._change(["key", "new"])
        if self.service:
            self.service.start()

    def add_service(self, *level: str, role: str) -> None:
        arguments = ["secret", "add-service", *level, "--service", SERVICE]
        arguments += ["--db-host", "127.0.0.1", "--db-port", str(self.cluster.port)]
        arguments += ["--db-name", DATABASE, "--db-user", role, "--password-stdin"]
        self._change(arguments, self.passwords[role])

    def add_variable(self, *level: str, value: str) -> None:
        self._change(["secret", "add", *level, VARIABLE], self.variables[value])

    def remove_service(self, *level: str) -> None:
        result = self._change(["secret", "remove", f"pgservice:{SERVICE}", *level])
        self.table.note(result.stdout.decode(errors="replace"))

    def _change(self, arguments: list[str], value: str = "") -> Result:
        """Adds or removes; makes a row of the table only when that fails."""
        result = self._run_binary(arguments, value.encode())
        if result.returncode != 0:
            self._record(" ".join(arguments[:2]), "", "done", f"exit {result.returncode}", result)
        return result

    # -- jobs

    def write_point(self, job: Job, expected: str) -> None:
        """PyQGIS adds a point to the layer; the database's trigger names the role."""
        value = f"point {self.table.next_number}"
        command = ["/usr/bin/python3", str(HERE / "add_feature.py"), str(self.project_file), value]
        result, seconds = self._run_job(job, command)
        got = outcome(result)
        if result.returncode == 0:
            got = last_value(result, "pg_user=")
        if expected not in (REFUSED, NO_SERVICE):
            self.written[value] = expected
        what = "PyQGIS writes a point"
        if not job.requires_service:
            what += ", no secret required"
        self._record(what, str(job), expected, got, result, seconds)

    def read_layer(self, job: Job, expected: str) -> None:
        """qgis_process exports the layer, each row with the role that reads it.

        The source is the real table inside a query that adds `current_user`:
        the database itself says in the exported file who read it.
        """
        query = f"SELECT *, current_user::text AS read_as FROM {SERVICE}.ninja_point"
        source = (
            f"postgres://service='{SERVICE}' key='id' srid=4326 type=Point "
            f'checkPrimaryKeyUnicity=\'0\' table="({query})" (geom)'
        )
        export = self.exports / f"{self.table.next_number}.csv"
        command = [qgis_process(), "run", "native:savefeatures", "--"]
        command += [f"INPUT={source}", f"OUTPUT={export}"]
        result, seconds = self._run_job(job, command)
        got = outcome(result)
        if result.returncode == 0:
            got = reader_of(export, expected_rows=len(self.written))
        self._record("qgis_process reads the layer", str(job), expected, got, result, seconds)

    def print_variable(self, job: Job, expected: str) -> None:
        """An environment variable reaches QGIS's expressions, byte for byte."""
        command = ["/usr/bin/python3", str(HERE / "read_variable.py"), VARIABLE]
        result, seconds = self._run_job(job, command)
        got = outcome(result)
        if result.returncode == 0:
            digest = last_value(result, "sha256=")
            names = [n for n, v in self.variables.items() if sha256(v) == digest]
            got = f"{names[0] if names else 'unknown'}'s"
        what = f"QGIS reads {VARIABLE}"
        self._record(what, str(job), f"{expected}'s", got, result, seconds)

    # -- what the program says about the secrets

    def list_secrets(self) -> None:
        """Organization and project can be listed, and the list holds no value."""
        results = [
            self._run_binary(["secret", "list", *owner, "--format", "json"])
            for owner in (["-O", ORGANIZATION], ["-P", SURVEY])
        ]
        got = "no value shown"
        for result in results:
            if result.returncode != 0:
                got = f"exit {result.returncode}"
            elif self.canaries.in_bytes(result.stdout):
                got = "A VALUE SHOWN"
            elif not is_json(result.stdout) or SERVICE.encode() not in result.stdout:
                got = "not a list with the service"
        self._record("secret list, of both owners", "", "no value shown", got, *results)

    def explain(self, job: Job) -> None:
        """Which level wins and why, in words; shown below the table."""
        descriptor = self._descriptor(job, ["true"], "explain")
        result = self._run_binary(["explain", str(descriptor), *self._asking(descriptor)])
        got = "no value shown"
        if result.returncode != 0:
            got = f"exit {result.returncode}"
        elif self.canaries.in_bytes(result.stdout):
            got = "A VALUE SHOWN"
        self.explanation = result.stdout.decode(errors="replace")
        self._record("explain (see below)", str(job), "no value shown", got, result)

    # -- what must hold afterwards

    def check_table(self) -> None:
        """The database has exactly the points of the jobs that were to write one."""
        sql = "SELECT coalesce(json_object_agg(some_value, pg_user), '{}') FROM ninja.ninja_point"
        rows = json.loads(self.cluster.psql(sql, DATABASE))
        expected = f"{len(self.written)} points, all right"
        wrong = sorted(
            f"{value}: {rows.get(value)}, not {self.written.get(value)}"
            for value in rows.keys() | self.written.keys()
            if rows.get(value) != self.written.get(value)
        )
        got = f"{len(wrong)} of {len(rows)} points wrong" if wrong else expected
        self._record("the table, as its owner sees it", "psql", expected, got, details=wrong)

    def check_files(self) -> None:
        """No file holds a password: PostgreSQL's and the store's included.

        All files of the run are searched, and in the places where temporary
        files go all those that changed during the run. That the search finds
        what is there is tried first.
        """
        progress("searching files for the passwords")
        self.canaries.try_out(self.sandbox.path / "planted")
        files = list(regular_files(self.sandbox.path))
        for place in {"/tmp", "/var/tmp", "/dev/shm", tempfile.gettempdir()}:
            files += changed_since(self.started, regular_files(Path(place)))
        if os.environ.get("XDG_RUNTIME_DIR"):
            runtime = Path(os.environ["XDG_RUNTIME_DIR"])
            files += changed_since(self.started, regular_files(runtime))
        files = sorted(set(files))
        found = [str(file) for file in files if self.canaries.in_file(file)]
        what = f"{len(files)} files searched for values"
        self._record(what, "", "none", f"{len(found)} files" if found else "none", details=found)

    def check_store(self) -> None:
        """The store exists, and does not show what it keeps."""
        store = self.sandbox.store
        got = "sealed"
        if not store.is_file() or store.stat().st_size == 0:
            got = "no store"
        elif any(self.canaries.in_file(file) for file in regular_files(store.parent)):
            got = "A VALUE IN IT"
        self._record("the store searched for values", "", "sealed", got)

    def check_reports(self) -> None:
        """Each job has left a report, refused ones too, and none holds a value."""
        jobs = {file.stem for file in self.jobs.iterdir()} - {"explain"}
        problems = []
        for name in sorted(jobs):
            report = self.reports / f"{name}.json"
            if not report.is_file():
                problems.append(f"job {name}: no report")
            elif not is_json(report.read_bytes()):
                problems.append(f"job {name}: the report is not JSON")
            elif self.canaries.in_file(report):
                problems.append(f"job {name}: a value in the report")
        got = f"{len(problems)} problems" if problems else "none"
        what = f"{len(jobs)} reports searched for values"
        self._record(what, "", "none", got, details=problems)

    def check_output(self) -> None:
        """Nothing that any command or job printed holds a value."""
        leaks = [r for r in self.results if self.canaries.in_bytes(r.stdout + b"\0" + r.stderr)]
        what = f"output of {len(self.results)} commands searched for values"
        details = [" ".join(result.command) for result in leaks]
        got = f"{len(leaks)} commands" if leaks else "none"
        self._record(what, "", "none", got, details=details)

    def check_processes(self) -> None:
        """No process of any job is left: this script would have become its parent."""
        left = [f"{pid}: {line}" for pid, line in adopted(besides={self.cluster.pid, self.service.pid if self.service else 0})]
        got = f"{len(left)} processes" if left else "none"
        self._record("processes left by the jobs", "", "none", got, details=left)

    # -- running and recording

    def _run_job(self, job: Job, command: list[str]) -> tuple[Result, float]:
        name = f"{self.table.next_number:02}"
        descriptor = self._descriptor(job, command, name)
        arguments = ["run", str(descriptor), *self._asking(descriptor), "--report",]
        arguments.append(str(self.reports / f"{name}.json"))
        started = time.monotonic()
        return self._run_binary(arguments), time.monotonic() - started

    def _asking(self, descriptor: Path) -> list[str]:
        """Where the runner asks for the job's secrets; the store, if nothing says so."""
        if not self.service:
            return []
        token = self.service.token(descriptor)
        return ["--service", f"unix:{self.service.socket}", "--job-token-file", str(token)]

    def _descriptor(self, job: Job, command: list[str], name: str) -> Path:
        """Writes the job as the orchestrator would hand it over."""
        descriptor = {
            "version": 1,
            "id": f"demo-{name}",
            "attempt": 1,
            "organization": job.organization,
            "project": job.project,
            "user": job.user,
            "command": command,
            "working_dir": str(self.exports),
            "env": {"QT_QPA_PLATFORM": "offscreen"},
            "timeout_s": JOB_TIMEOUT_S,
        }
        if job.requires_service:
            descriptor["require"] = [f"pgservice:{SERVICE}"]
        path = self.jobs / f"{name}.json"
        path.write_text(json.dumps(descriptor, indent=2), encoding="utf-8")
        return path

    def _run_binary(self, arguments: list[str], stdin: bytes = b"") -> Result:
        result = run([str(self.binary), *arguments], stdin=stdin, env=self.environment)
        self.results.append(result)
        return result

    def _record(
        self,
        what: str,
        who: str,
        expected: str,
        got: str,
        *results: Result | float,
        details: Iterable[str] = (),
    ) -> None:
        """One row; when it is not as expected, all that helps to see why."""
        seconds = [part for part in results if isinstance(part, float)]
        row = self.table.row(what, who, expected, got, seconds[0] if seconds else None)
        if row.ok:
            return
        lines = [describe(part) for part in results if isinstance(part, Result)]
        report = self.reports / f"{row.number:02}.json"
        if report.is_file():
            lines.append(f"report: {report.read_text(encoding='utf-8', errors='replace')}")
        row.details = [*details, *lines]
        print(f"step {row.number} ({what}): expected {expected}, got {got}", file=sys.stderr)
        print(indent("\n".join(row.details)), file=sys.stderr, flush=True)


def outcome(result: Result) -> str:
    """The end of a job that did not succeed, in the words of the table."""
    if result.returncode == 66:
        return REFUSED
    output = result.stdout + result.stderr
    if result.returncode != 0 and f'definition of service "{SERVICE}" not found'.encode() in output:
        return NO_SERVICE
    return f"exit {result.returncode}"


def last_value(result: Result, prefix: str) -> str:
    """The value of the one line `prefix…` that a job prints."""
    lines = result.stdout.decode(errors="replace").splitlines()
    values = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return values[0] if len(values) == 1 else f"{len(values)} lines with {prefix}"


def reader_of(export: Path, expected_rows: int) -> str:
    """The role that the exported rows name; there must be all rows, and one role."""
    if not export.is_file():
        return "no export"
    with export.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != expected_rows:
        return f"{len(rows)} rows, not {expected_rows}"
    roles = {row["read_as"] for row in rows}
    return roles.pop() if len(roles) == 1 else f"several roles: {sorted(roles)}"


def qgis_process() -> str:
    """The program itself rather than Debian's wrapper script around it.

    The wrapper hands over the options that are meant for the desktop program,
    which qgis_process 3.22 takes for its command and refuses.
    """
    return shutil.which("qgis_process.bin") or shutil.which("qgis_process") or "qgis_process"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
