"""The private directory of one demonstration."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from support.commands import CannotRun, end_adopted, ignore_signals
from support.console import progress


class Sandbox:
    """A fresh directory for everything, removed at the end."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.path = Path(tempfile.mkdtemp(prefix="qgis-secrets-demo."))
        # PostgreSQL runs as another user and must get through to its own part.
        self.path.chmod(0o711)
        self.store = self.path / "secrets" / "store.db"

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        ignore_signals()
        end_adopted()
        if self.keep:
            progress(f"kept: {self.path}")
            return
        try:
            shutil.rmtree(self.path)
        except OSError as error:
            raise CannotRun(f"{self.path} could not be removed: {error}") from error

    def directory(self, name: str) -> Path:
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    def environment(self) -> dict[str, str]:
        """The caller's environment, without what could decide in place of a secret."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "PYTHON", "XDG_", "QGIS_OPTS"))
        }
        environment["HOME"] = str(self.directory("home"))
        # QGIS leaves folders there.
        environment["TMPDIR"] = str(self.directory("tmp"))
        environment["LANG"] = environment["LC_ALL"] = "C.UTF-8"
        environment["QT_QPA_PLATFORM"] = "offscreen"
        environment["QGIS_SECRETS_STORE"] = str(self.store)
        return environment
