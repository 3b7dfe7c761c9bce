"""Secret values that show up wherever they leak, and the search for them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from support.commands import CannotRun


def awkward_value(separator: str = " ") -> str:
    """A random value with characters that careless quoting or parsing changes.

    It begins and ends with random letters and digits, which no encoding but
    base64 and hexadecimal alters: whoever looks for a leak looks for those.
    """
    middle = "it's \"a\" back\\slash 100% #1=x;y $HOME {} & <ü>"
    head, tail = secrets.token_hex(10), secrets.token_hex(10)
    value = f"{head} {middle}{separator}{tail}"
    # PostgreSQL normalises passwords; a value that changed would prove less.
    assert unicodedata.normalize("NFKC", value) == value
    return value


class Canaries:
    """Finds secret values in files and output, as they are and in other guises."""

    LONGEST = 4096
    CHUNK = 1 << 20

    def __init__(self, values: Iterable[str]) -> None:
        self.values = list(values)
        self.needles = sorted({needle for value in self.values for needle in self._guises(value)})

    @staticmethod
    def _guises(value: str) -> Iterator[bytes]:
        raw = value.encode()
        yield value.split()[0].encode()
        yield value.split()[-1].encode()
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        for skipped in range(3):
            # The part of the base64 text that does not depend on what surrounds
            # the value; the start is enough, and has no line break in it yet.
            yield base64.b64encode(raw[skipped : skipped + 15])

    def in_bytes(self, data: bytes) -> bool:
        return any(needle in data for needle in self.needles)

    def in_file(self, path: Path) -> bool:
        """Whether a value is in the file; one that is gone or private holds none for us."""
        try:
            with path.open("rb") as file:
                kept = b""
                while chunk := file.read(self.CHUNK):
                    if self.in_bytes(kept + chunk):
                        return True
                    kept = chunk[-self.LONGEST :]
        except OSError:
            pass
        return False

    def try_out(self, path: Path) -> None:
        """Plants each value in a file, plain and encoded, and insists that it is found."""
        for value in self.values:
            raw = value.encode()
            for text in (raw, json.dumps(value).encode(), base64.b64encode(b"x" + raw)):
                path.write_bytes(b"\0" * (self.CHUNK - 7) + text)
                found = self.in_file(path)
                path.unlink()
                if not found:
                    raise CannotRun("the search for leaked values does not find them")


def regular_files(top: Path) -> Iterator[Path]:
    """All files under a directory; never through a link or into another file system."""
    try:
        device = top.stat().st_dev
    except OSError:
        return
    for parent, directories, names in os.walk(top):
        for name in list(directories):
            with contextlib.suppress(OSError):
                if os.lstat(os.path.join(parent, name)).st_dev != device:
                    directories.remove(name)
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path


def changed_since(moment: float, files: Iterable[Path]) -> Iterator[Path]:
    """By the time of the last change of the inode, which no program can set back.

    Without large files: they are other programs' on this machine.
    """
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            if status.st_ctime >= moment - 1 and status.st_size <= 16 << 20:
                yield file
