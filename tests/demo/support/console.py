"""What a person sees: the table, colours, progress."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time

STARTED = time.monotonic()


def progress(text: str) -> None:
    """One line on standard error before anything that takes time."""
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", file=sys.stderr, flush=True)


def indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


@dataclasses.dataclass
class Row:
    number: int
    section: str
    step: str
    who: str
    expected: str
    got: str
    seconds: float | None
    details: list[str] = dataclasses.field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.expected == self.got


class Table:
    """The rows of the demonstration, and how they are printed."""

    HEADINGS = ("step", "who", "expected", "got")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: dict[str, list[str]] = {}
        self._section = ""

    @property
    def next_number(self) -> int:
        return len(self.rows) + 1

    def section(self, title: str) -> None:
        self._section = title

    def note(self, text: str) -> None:
        """What a command said, to be shown under the title of the section."""
        self.notes.setdefault(self._section, []).extend(text.strip().splitlines())

    def row(self, step: str, who: str, expected: str, got: str, seconds: float | None) -> Row:
        row = Row(self.next_number, self._section, step, who, expected, got, seconds)
        self.rows.append(row)
        return row

    @property
    def summary(self) -> str:
        return f"{sum(row.ok for row in self.rows)} of {len(self.rows)} as expected"

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    def print(self, paint: Paint) -> None:
        cells = [(row.step, row.who, row.expected, row.got) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.HEADINGS, *cells)]
        print(paint.dim(self._line("", self.HEADINGS, widths)))
        section = None
        for row, texts in zip(self.rows, cells):
            if row.section != section:
                section = row.section
                print(paint.bold(section))
                for note in self.notes.get(section, []):
                    print(paint.dim(f"      {note}"))
            mark = paint.green("ok") if row.ok else paint.red("NOT AS EXPECTED")
            print(f"{self._line(str(row.number), texts, widths)}  {mark}")

    @staticmethod
    def _line(number: str, texts: tuple[str, ...], widths: list[int]) -> str:
        columns = (text.ljust(width) for text, width in zip(texts, widths))
        return f"{number:>4}  " + "  ".join(columns)

    def as_json(self) -> str:
        rows = [{**dataclasses.asdict(row), "ok": row.ok} for row in self.rows]
        return json.dumps({"ok": self.ok, "summary": self.summary, "rows": rows}, indent=2)


class Paint:
    """Colours, where they are wanted: on a terminal, unless NO_COLOR is set."""

    def __init__(self) -> None:
        self.enabled = (
            sys.stdout.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
        )

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.enabled else text

    def bold(self, text: str) -> str:
        return self._paint("1", text)

    def dim(self, text: str) -> str:
        return self._paint("2", text)

    def green(self, text: str) -> str:
        return self._paint("32", text)

    def red(self, text: str) -> str:
        return self._paint("1;31", text)
