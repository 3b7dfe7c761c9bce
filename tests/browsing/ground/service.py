"""A secrets service of a test's own, the API of it, and jobs on its store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PATIENCE_S = 60


class Service:
    """`qgis-secrets serve` on a port that the kernel chose, with a new store."""

    def __init__(self, binary: Path, membership: str = "registered") -> None:
        self.binary = binary
        self.home = Path(tempfile.mkdtemp(prefix="qgis-secrets-page."))
        self.memory = Path(tempfile.mkdtemp(prefix="qgis-secrets-page.", dir="/dev/shm"))
        self.settings = self.home / "settings.toml"
        self.settings.write_text(f'[service.membership]\nmode = "{membership}"\n')
        self.settings.chmod(0o600)
        self.origin = self.link = ""
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Service:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            assert self.process.stderr is not None
            self.reader.join()
            self.process.stderr.close()
        left = list(self.memory.iterdir())
        shutil.rmtree(self.home)
        shutil.rmtree(self.memory)
        assert not left, f"a job left something behind: {left}"

    def _start(self) -> None:
        self.process = self._serve()
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "listening at " in line:
                self.origin = "http://" + line.split("http://")[1].split('"')[0].strip()
            if "/login?link=" in line:
                self.link = line.strip()
                break
        assert self.link, "the service did not start:\n" + "".join(said)
        # What it says afterwards must not fill the pipe.
        self.said: list[str] = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr))
        self.reader.start()

    def another_link(self) -> str:
        """A new link, as a restart prints it: from a second process on the same store."""
        second = self._serve()
        assert second.stderr is not None
        with second, second.stderr:
            lines = (line.strip() for line in second.stderr)
            link = next((line for line in lines if "/login?link=" in line), "")
            second.terminate()
            second.stderr.read()
        assert link, "the second service did not start"
        return self.origin + link[link.index("/login?link=") :]

    def _serve(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command("serve", "--listen", "127.0.0.1:0"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment(),
            text=True,
        )

    def _command(self, *arguments: str) -> list[str]:
        return [str(self.binary), "--settings", str(self.settings), *arguments]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.memory),
        }

    def api(self, method: str, path: str, token: str, body: object = None) -> int:
        """Asks the management API; gives the status of the answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.origin + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    def register(self, token: str, project: str, organization: str, members: list[str]) -> None:
        """What an orchestrator says of a project and its organization."""
        people = {"members": members, "admins": []}
        path = f"/v1/organizations/{urllib.parse.quote(organization, safe='')}"
        status = self.api("PUT", path, token, people)
        assert status in (200, 201), f"PUT {path}: {status}"
        path = f"/v1/projects/{urllib.parse.quote(project, safe='')}"
        status = self.api("PUT", path, token, {"organization": organization, **people})
        assert status in (200, 201), f"PUT {path}: {status}"

    def job(self, script: str, project: str, organization: str, user: str | None) -> bytes:
        """What a job's shell script writes to `$OUT`, past the runner: nothing of it is masked."""
        out = self.home / "out"
        whose = ["-P", project, "-O", organization, *(["-U", user] if user else [])]
        done = subprocess.run(
            self._command("exec", *whose, "--", "sh", "-c", f"OUT='{out}'; {script}"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self._environment(),
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr.decode()
        written = out.read_bytes()
        out.unlink()
        return written
