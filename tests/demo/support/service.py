"""A secrets service of the demonstration's own, and tokens for its jobs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.commands import CannotRun, describe, end, run
from support.console import progress
from support.sandbox import Sandbox

AUDIENCE = "qgis-secrets-demo"


class Service:
    """`qgis-secrets serve` on a Unix socket, with the key that its job tokens are signed with."""

    def __init__(self, sandbox: Sandbox, binary: Path) -> None:
        self.binary = binary
        self.environment = sandbox.environment()
        self.directory = sandbox.directory("service")
        self.directory.chmod(0o700)
        self.tokens = sandbox.directory("tokens")
        self.tokens.chmod(0o700)
        self.socket = self.directory / "service.sock"
        self.log = self.directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            end(self.process)

    def start(self) -> None:
        """Serves the store that is there by now, until the end."""
        progress("starting the secrets service")
        key = self.directory / "sign.pem"
        self._must("token", "new-key", str(key))
        settings = self.directory / "settings.toml"
        settings.write_text(
            '[service.membership]\nmode = "trusted"\n'
            "[service.job_tokens]\n"
            f'audience = "{AUDIENCE}"\n'
            f'keys_files = ["{key}.pub"]\n',
            encoding="utf-8",
        )
        command = [str(self.binary), "--settings", str(settings), "serve", "--role", "resolve"]
        command += ["--listen", f"unix:{self.socket}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=self.environment,
            )
            # It says so when it listens, and nothing before that but why it can't.
            assert self.process.stderr is not None
            for line in self.process.stderr:
                log.write(line)
                if b"listening at" in line:
                    return
        raise CannotRun(f"the secrets service did not start\n{self.log.read_text()}")

    def token(self, descriptor: Path) -> Path:
        """A token for one job, as its orchestrator would issue it."""
        token = self.tokens / f"{descriptor.stem}.jwt"
        self._must(
            *("token", "issue", "--signing-key", str(self.directory / "sign.pem")),
            *("--audience", AUDIENCE, "--from-job", str(descriptor), "--out", str(token)),
        )
        return token

    def _must(self, *arguments: str) -> None:
        result = run([str(self.binary), *arguments], env=self.environment)
        if result.returncode != 0:
            raise CannotRun(f"the secrets service could not be prepared\n{describe(result)}")
