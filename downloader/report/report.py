"""The report of a run: opened, saved, as text, as JSON and as a page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from downloader.errors import JobError
from downloader.model.document import to_document
from downloader.mosaic.reader import open_group, open_tree
from downloader.report.cost_text import cost_text
from downloader.report.how_to_open import opening_line
from downloader.report.html.page import report_card, report_page
from downloader.report.run_result import RunResult
from downloader.tables.table import table
from downloader.text import TO_COPY, counted, duration, first_lines, memory, rate, size

_P = ParamSpec("_P")
_R = TypeVar("_R")

KINDS: Final = (".html", ".json", ".txt")
"""Endings of the files that a report is saved as."""

_SHOWN: Final = 5
"""Failed tiles that the text names; the JSON names all."""


def _of_mosaic(call: Callable[Concatenate[str, _P], _R]) -> Callable[Concatenate[RunResult, _P], _R]:
    """Return the method of a report that calls a function with its mosaic's path."""

    @wraps(call)
    def method(self: RunResult, /, *arguments: _P.args, **keywords: _P.kwargs) -> _R:
        return call(self.mosaic, *arguments, **keywords)

    return method


@dataclass(frozen=True, slots=True, repr=False)
class Report(RunResult):
    """Report of a run. Raised errors carry one as `.report`."""

    open = _of_mosaic(open_group)
    """Open the mosaic, or one group of it, as an `xarray.Dataset`: `open_group` of the mosaic."""

    open_tree = _of_mosaic(open_tree)
    """Open all groups as an `xarray.DataTree`."""

    table = _of_mosaic(table)
    """Write statistics of places in the mosaic as Parquet or CSV; arguments and errors as those of `downloader.table`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as a page (`.html`), a JSON document (`.json`) or text (`.txt`), by the file's ending.

        Raises:
            JobError: the file has another ending.
            OSError: the file cannot be written.
        """
        file = Path(path)
        match file.suffix:
            case ".html":
                text = self.to_html()
            case ".json":
                text = json.dumps(self.to_json(), indent=2, sort_keys=True)
            case ".txt":
                text = str(self)
            case _:
                raise JobError(f"{file}: a report is saved as {', '.join(KINDS)}; name such a file")
        file.write_text(text + "\n", encoding="utf-8")

    def to_html(self) -> str:
        """Return one page that needs no other file, no network and no JavaScript. Reads the mosaic for its pictures."""
        return report_page(self)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        document: dict[str, Any] = to_document(replace(self, history=None))
        history = self.history and self.history.to_json()
        return document | {"history": history, "tiles_missing": self.tiles_missing}

    def __repr__(self) -> str:
        return (
            f"<Report of {self.mosaic}: {self.state}, {self.tiles_stored:,} of {counted(self.tiles, 'tile')}>"
        )

    def _repr_html_(self) -> str:
        return report_card(self, str(self))

    def __str__(self) -> str:
        seconds = self.seconds or float("inf")
        lines = [
            f"{self.state}: {self.tiles_stored:,} of {self.tiles:,} tiles"
            + (f", {self.tiles_failed:,} failed" if self.tiles_failed else "")
            + (f", {self.tiles_missing:,} missing" if self.tiles_missing else "")
            + f" in {self.mosaic}"
        ]
        if self.message:
            lines.append(self.message)
        lines.append(
            "this run: no requests"
            if not self.requests
            else f"this run: {counted(self.requests, 'request')}, {size(self.wire_bytes)} in {duration(self.seconds)} "
            f"({rate(self.wire_bytes, seconds)}, {self.requests / seconds:,.1f} requests/s)"
        )
        if self.compute is not None:
            lines.append(f"compute: {cost_text(self.compute)}; what was charged, only the service knows")
        lines.append(f"{size(self.disk_bytes)} on disk, peak memory {memory(self.peak_memory_bytes)}")
        if self.retries:
            most_first = sorted(self.retries.items(), key=lambda item: (-item[1], item[0]))
            lines.append("retries: " + ", ".join(f"{count:,} × {cause}" for cause, count in most_first))
        if self.splits:
            lines.append(f"splits: {self.splits:,}")
        failed = [
            f"failed: {tile.group or '/'} {tile.slice}/{tile.row}/{tile.column}"
            f"{f' of {tile.image}' if tile.image else ''}: {tile.message}"
            for tile in self.failed
        ]
        lines += first_lines(failed, _SHOWN, "more failed tiles (--report FILE.json lists them all)")
        if self.state == "complete":
            lines.append(f"{TO_COPY}{opening_line(self)}")
        return "\n".join(lines)
