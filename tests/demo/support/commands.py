"""Running commands to their end, and leaving nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
from collections.abc import Container
from pathlib import Path

from support.console import indent

# A job that takes longer than this is stuck, on a slow machine too.
JOB_TIMEOUT_S = 90
COMMAND_TIMEOUT_S = JOB_TIMEOUT_S + 30

# What asks the demonstration to end.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CannotRun(Exception):
    """The demonstration cannot be performed; says nothing about the product."""


class Interrupted(BaseException):
    """A signal asked for the end; not an Exception, so that nothing swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_status = 128 + signum


def interrupt(signum: int, _frame: object) -> None:
    ignore_signals()
    raise Interrupted(signum)


def ignore_signals() -> None:
    """From the first signal on, or the regular end: nothing must stop the tidying up."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


@dataclasses.dataclass
class Result:
    """A finished command. Its input is not kept: it may have been a password."""

    command: list[str]
    returncode: int
    stdout: bytes
    stderr: bytes


def run(
    command: list[str],
    *,
    env: dict[str, str],
    stdin: bytes = b"",
    cwd: Path | None = None,
) -> Result:
    """Runs a command to its end, and never leaves it behind."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
        )
    except OSError as error:
        raise CannotRun(f"cannot start {command[0]}: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(stdin, timeout=COMMAND_TIMEOUT_S)
        return Result(command, process.returncode, stdout, stderr)
    except subprocess.TimeoutExpired as expired:
        end(process)
        note = f"\nstopped by the demonstration after {COMMAND_TIMEOUT_S} s\n".encode()
        return Result(command, -1, expired.stdout or b"", (expired.stderr or b"") + note)
    except BaseException:
        end(process)
        raise


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks first: the runner has something to clean up."""
    process.terminate()
    try:
        process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def describe(result: Result) -> str:
    """A command and its end, for whoever has to find out what went wrong."""
    lines = ["command: " + " ".join(result.command), f"exit status: {result.returncode}"]
    for name, data in (("stdout", result.stdout), ("stderr", result.stderr)):
        text = data.decode(errors="replace").strip()
        lines.append(f"{name}:\n{indent(text)}" if text else f"{name}: empty")
    return "\n".join(lines)


def adopt_orphans() -> None:
    """Makes this process the parent of whatever its commands leave running.

    So it finds all of that, however detached, and nothing that is not its own.
    """
    set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise CannotRun(f"cannot adopt orphans: {os.strerror(ctypes.get_errno())}")


def adopted(besides: Container[int] = ()) -> list[tuple[int, str]]:
    """The processes left running by commands that have ended: id and command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit() or int(entry.name) in besides:
                continue
            # After the name, which may hold anything, in parentheses: state, parent.
            status = (entry / "stat").read_text(errors="replace")
            state, parent = status.rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state not in "ZX":
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found.append((int(entry.name), b" ".join(words).decode(errors="replace").strip()))
    return found


def end_adopted() -> None:
    """Ends what was left running, and then what that leaves in its turn."""
    while left := adopted():
        for pid, _ in left:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
