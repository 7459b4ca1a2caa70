"""Numbers, sizes, durations, plurals and tables as people read them: one formatter for each."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Final

TO_COPY: Final = "open it: "
"""Beginning of a line whose rest is code to copy."""

_UNITS: Final = ((1e12, "TB", 2), (1e9, "GB", 2), (1e6, "MB", 1), (1e3, "kB", 0), (1.0, "bytes", 0))
"""(bytes, unit, digits behind the point)."""

_HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls but tab and line feed, marks that reorder or hide text, line separators, lone surrogates."""


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 image`, `2,000 images`.

    Args:
        number: rounded to a whole number.
        noun: of one.
        plural: of several, where an `s` behind the noun is not enough.
    """
    return f"{number:,.0f} {noun if round(number) == 1 else plural or f'{noun}s'}"


def folded(text: str, columns: int) -> str:
    """Return text with line feeds in place of spaces, so that a terminal breaks no word.

    A longer word stays whole, and so does a line of code: its selection is pasted as it was.
    """
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip(" ")))
        parts = textwrap.wrap(
            line, max(columns, 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        lines += parts if len(line) > columns and not line.startswith(TO_COPY) else [line]
    return "\n".join(lines)


def size(nbytes: float) -> str:
    """Return a number of bytes in decimal units: `512 bytes`, `12 kB`, `33.6 MB`, `3.00 TB`."""
    unit, name, digits = next((one for one in _UNITS if nbytes >= one[0]), _UNITS[-1])
    return f"{nbytes / unit:,.{digits}f} {name}"


def rate(nbytes: float, seconds: float) -> str:
    """Return bytes a second: `9.6 MB/s`; always in MB, so that a line that is redrawn keeps its unit."""
    return f"{nbytes / 1e6 / max(seconds, 1e-9):,.1f} MB/s"


def memory(nbytes: float) -> str:
    """Return memory in binary units, as `limits.memory` takes it: `200 MiB`."""
    return f"{nbytes / 2**20:,.0f} MiB"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: `0.4 s`, `35 s`, `15 min`, `2.5 h`, `2.3 days`."""
    if seconds < 10:
        return f"{round(seconds, 3):.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:,.1f} days"


def cut(text: object, most: int = 200) -> str:
    """Return what a message repeats of a value: at most so many characters, the end replaced by an ellipsis."""
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


def visible(text: str) -> str:
    """Return a text that cannot steer a terminal: what controls it, or reorders or hides text, is shown as U+FFFD.

    Names and properties in a catalogue are untrusted. Line feeds and tabs stay.
    """
    return _HARMFUL.sub("\ufffd", text)


def few(names: Sequence[str], noun: str = "band", most: int = 6) -> str:
    """Return names with commas between them; of many the first ones and how many there are."""
    more = f" … ({counted(len(names), noun)})" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def first_lines(lines: Sequence[str], most: int, further: str = "more") -> list[str]:
    """Return the first lines; of `further` ones how many there are, in a line of its own."""
    left = len(lines) - most
    return [*lines[:most], *([f"… and {left:,} {further}"] if left > 0 else [])]


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Return rows under a header with padded columns; a column of numbers is aligned to the right."""
    lines = [header, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    numeric = [all(row[k][:1].isdigit() for row in rows) and bool(rows) for k in range(len(header))]

    def show(line: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(show(line) for line in lines)
