"""The report of a run: opened, saved, as text, as JSON and as a page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from downloader.errors import JobError
from downloader.model.document import to_document
from downloader.mosaic.reader import open_group, open_tree
from downloader.report.cost_text import cost_text
from downloader.report.how_to_open import opening_line
from downloader.report.html.page import report_card, report_page
from downloader.report.run_result import RunResult
from downloader.tables.request import Layout, Table
from downloader.tables.table import table
from downloader.text import counted, duration, first_lines, memory, rate, size

if TYPE_CHECKING:
    import xarray


KINDS: Final = (".html", ".json", ".txt")
"""Endings of the files that a report is saved as."""

_SHOWN: Final = 5
"""Failed tiles that the text names; the JSON names all."""


@dataclass(frozen=True, slots=True, repr=False)
class Report(RunResult):
    """What a run did. Raised errors carry one as `.report`."""

    def open(
        self,
        group: str | None = None,
        *,
        level: int = 1,
        chunks: Any = "shard",  # noqa: ANN401  # whatever xarray takes
        mask_and_scale: bool = False,
        missing: Literal["raise", "mask", "ignore"] = "raise",
    ) -> xarray.Dataset:
        """Open the mosaic, or one group of it, as an `xarray.Dataset`.

        Args:
            group: name of the group; needed where there are several.
            level: 1 for the pixels; 2, 4, 8, … for an overview whose pixels are so many times as large.
            chunks: `"shard"` reads lazily, a shard at a time (needs Dask); None reads without Dask.
            mask_and_scale: turn nodata, and what `mosaic.mask` calls masked, into NaN, and such bands into floats.
            missing: what to do where tiles are not there: refuse, show NaN, or show the fill value.

        Raises:
            IncompleteError: tiles are missing and `missing` is `"raise"`.
        """
        return open_group(
            self.mosaic, group, level=level, chunks=chunks, mask_and_scale=mask_and_scale, missing=missing
        )

    def open_tree(
        self,
        *,
        chunks: Any = "shard",  # noqa: ANN401  # whatever xarray takes
        mask_and_scale: bool = False,
        missing: Literal["raise", "mask", "ignore"] = "raise",
    ) -> xarray.DataTree:
        """Open all groups as an `xarray.DataTree`; arguments as in `open`."""
        return open_tree(self.mosaic, chunks=chunks, mask_and_scale=mask_and_scale, missing=missing)

    def table(
        self,
        out: str | os.PathLike[str],
        *,
        by: Any = None,  # noqa: ANN401  # a path, or a table of another library
        stats: Sequence[str] = ("mean",),
        bands: Sequence[str] | None = None,
        layout: Layout = "wide",
        missing: Literal["raise", "mask"] = "raise",
    ) -> Table:
        """Write statistics of places in the mosaic as Parquet or CSV; arguments and errors as those of `downloader.table`."""
        return table(
            self.mosaic, os.fspath(out), by=by, stats=stats, bands=bands, layout=layout, missing=missing
        )

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
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "history"}
        history = None if self.history is None else self.history.to_json()
        document: dict[str, Any] = to_document(values) | {
            "history": history,
            "tiles_missing": self.tiles_missing,
        }
        return document

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
            lines.append(f"open it: {opening_line(self)}")
        return "\n".join(lines)
