"""Findings of the checks."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from textwrap import TextWrapper
from typing import Any, Literal

from downloader.cards import card, rows
from downloader.text import counted

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    name: str
    """Name of one or two words, such as `credentials`."""
    level: Level
    text: str
    """The result, without secrets."""
    remedy: str = ""
    """Advice; empty where nothing is to be done."""

    def shown(self, columns: int | None = None) -> str:
        """Return the finding, and its remedy below it, in lines no longer than `columns`."""
        wrapper = TextWrapper(
            sys.maxsize if columns is None else max(columns, 40),
            f"{self.level:<4}  {self.name:<12} ",
            " " * 19,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines = wrapper.wrap(self.text)
        wrapper.initial_indent, wrapper.subsequent_indent = f"{'':19}→ ", " " * 21
        return "\n".join(lines + wrapper.wrap(self.remedy))


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis:
    """Findings of all checks."""

    findings: tuple[Finding, ...]
    requests: int
    """Number of requests to the service, without those for tokens."""

    @property
    def is_well(self) -> bool:
        """Whether nothing failed."""
        return all(finding.level != "fail" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "well": self.is_well,
            "findings": [asdict(finding) for finding in self.findings],
            "requests": self.requests,
        }

    def __str__(self) -> str:
        return self.shown()

    def __repr__(self) -> str:
        return f"<Diagnosis: {counted(len(self.findings), 'check')}, {self._verdict()}>"

    def _repr_html_(self) -> str:
        found = [[one.level, one.name, one.text, one.remedy] for one in self.findings]
        return card(
            "Diagnosis", self._verdict(), rows(found, ("", "check", "found", "what to do"), most=len(found))
        )

    def _verdict(self) -> str:
        counts = {level: sum(f.level == level for f in self.findings) for level in ("warn", "fail")}
        return ", ".join(f"{count} {level}" for level, count in counts.items() if count) or "all is well"

    def shown(self, columns: int | None = None) -> str:
        """Return the findings as text, in lines no longer than `columns`."""
        lines = [finding.shown(columns) for finding in self.findings]
        return "\n".join(
            [*lines, "", f"{self._verdict()}; {counted(self.requests, 'request')} to the service"]
        )
