#!/usr/bin/python3
"""Demonstrates the precedence of secrets with a real PostgreSQL and a real QGIS.

    demo.py --binary target/debug/qgis-secrets [--service | --page]

Plays the use case "Verifying Secret Precedence with PostgreSQL" of QFieldCloud's
reference page through qgis-secrets: one QGIS project that knows its database
only as the pg_service `ninja`, one secret of that name at each level, and a
database that records which role wrote each point.

Everything is private to the run and removed at its end, also after a failure,
Ctrl-C or SIGTERM: a PostgreSQL cluster of its own, the store of secrets, the
project, the home directory of the jobs. The passwords are made for the run.

Needs: PostgreSQL with PostGIS, QGIS with its Python bindings, util-linux.

Exit status: 0 everything was as expected; 1 something was not; 2 the
demonstration could not be performed; 130 or 143 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path

# The modules beside this file leave no compiled copies there.
sys.dont_write_bytecode = True

from steps import (  # noqa: E402
    NO_SERVICE,
    ORGANIZATION,
    OTHER,
    PERSONAL,
    REFUSED,
    SERVICE,
    SURVEY,
    VARIABLE,
    Demonstration,
    Job,
)
from support.commands import (  # noqa: E402
    SIGNALS,
    CannotRun,
    Interrupted,
    adopt_orphans,
    interrupt,
)
from support.console import Paint, indent  # noqa: E402
from support.postgresql import Cluster  # noqa: E402
from support.sandbox import Sandbox  # noqa: E402
from support.service import Service  # noqa: E402

INTRODUCTION = f"""\
One QGIS project whose layer names only the pg_service `{SERVICE}`, one secret of that
name at each level, and a table whose trigger records the role that writes. The
database asks for passwords; those of this run hold blanks, quotes, a backslash, a
percent sign and an umlaut.
"""


def play(demo: Demonstration) -> None:
    """All scenarios, in the order of the reference page, then what must not happen."""
    survey = Job(ORGANIZATION, SURVEY, "u-1")

    demo.section("No secret yet")
    demo.make_store()
    demo.write_point(survey, REFUSED)

    demo.section("Organization secret added: ninja_org")
    demo.add_service("-O", ORGANIZATION, role="ninja_org")
    demo.write_point(survey, "ninja_org")
    demo.read_layer(survey, "ninja_org")

    demo.section("Project secret added: ninja_project")
    demo.add_service("-P", SURVEY, role="ninja_project")
    demo.write_point(survey, "ninja_project")
    demo.read_layer(survey, "ninja_project")

    demo.section("User-assigned secret added: ninja_user, for u-1")
    demo.add_service("-P", SURVEY, "-U", "u-1", role="ninja_user")
    demo.write_point(survey, "ninja_user")
    demo.read_layer(survey, "ninja_user")
    demo.list_secrets()
    demo.explain(survey)

    demo.section("The same three secrets, other jobs")
    demo.write_point(Job(ORGANIZATION, SURVEY, "u-2"), "ninja_project")
    demo.write_point(Job(ORGANIZATION, SURVEY, None), "ninja_project")
    demo.write_point(Job(ORGANIZATION, OTHER, "u-1"), "ninja_org")
    demo.write_point(Job(None, PERSONAL, "u-1"), REFUSED)
    demo.write_point(Job(None, PERSONAL, "u-1", requires_service=False), NO_SERVICE)

    demo.section(f"Environment variable {VARIABLE} added at two levels")
    demo.add_variable("-O", ORGANIZATION, value="organization")
    demo.add_variable("-P", SURVEY, value="project")
    demo.print_variable(survey, "project")
    demo.print_variable(Job(ORGANIZATION, OTHER, "u-1"), "organization")

    demo.section("User-assigned secret removed")
    demo.remove_service("-P", SURVEY, "-U", "u-1")
    demo.write_point(survey, "ninja_project")

    demo.section("Project secret removed")
    demo.remove_service("-P", SURVEY)
    demo.write_point(survey, "ninja_org")

    demo.section("Organization secret removed")
    demo.remove_service("-O", ORGANIZATION)
    demo.write_point(survey, REFUSED)

    demo.section("Afterwards")
    demo.check_table()
    demo.check_files()
    demo.check_store()
    demo.check_reports()
    demo.check_output()
    demo.check_processes()


def main() -> int:
    options = parse_arguments()
    for signum in SIGNALS:
        signal.signal(signum, interrupt)
    try:
        return demonstrate(options)
    except CannotRun as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(f"demo: interrupted by {interrupted}", file=sys.stderr)
        return interrupted.exit_status


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Demonstrates the precedence of secrets with PostgreSQL and QGIS.",
        epilog="Exit status: 0 all as expected, 1 something not, 2 cannot be performed here.",
    )
    parser.add_argument("--binary", type=Path, required=True, help="the qgis-secrets to run")
    parser.add_argument(
        "--service",
        action="store_true",
        help="let jobs get their secrets from a service, with a token each",
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="the same, and add and remove secrets with a browser",
    )
    parser.add_argument("--keep", action="store_true", help="keep the files of the run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    if not os.access(options.binary, os.X_OK):
        parser.error(f"{options.binary} is not a program")
    return options


def demonstrate(options: argparse.Namespace) -> int:
    """Sets up, plays, shows the table (what there is of it, if cut short), removes."""
    adopt_orphans()
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(options.keep))
        cluster = stack.enter_context(Cluster(sandbox))
        service = None
        if options.service or options.page:
            service = stack.enter_context(Service(sandbox, options.binary))
        told = Demonstration
        if options.page:
            # What drives a browser is needed for nothing else.
            from by_page import PageDemonstration

            told = PageDemonstration
        demo = told(sandbox, cluster, options.binary, service)
        if options.page:
            stack.callback(demo.close_page)
        demo.make_project()
        try:
            play(demo)
        finally:
            show(demo, options.json)
    print(demo.table.summary, flush=True)
    return 0 if demo.table.ok else 1


def show(demo: Demonstration, json_file: Path | None) -> None:
    if not demo.table.rows:
        return
    paint = Paint()
    print(INTRODUCTION)
    demo.table.print(paint)
    if demo.explanation:
        print(f"\n{paint.bold('What `explain` says when all three secrets are there')}")
        print(indent(demo.explanation.rstrip()))
    print(flush=True)
    if json_file:
        json_file.write_text(demo.table.as_json() + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
