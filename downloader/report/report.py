"""What a run did: the sum of its outcomes, as a value, as text, as JSON and as a page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from downloader.errors import JobError
from downloader.text import counted, duration, memory, rate, size

if TYPE_CHECKING:
    import xarray

    from downloader.events import RunState
    from downloader.progress import History

__all__ = ["KINDS", "FailedTile", "Report"]

KINDS: Final = (".html", ".json", ".txt")
"""Endings of the files that a report is saved as."""

_SHOWN = 5
"""Failed tiles that the text names; the JSON names all."""


@dataclass(frozen=True, slots=True)
class FailedTile:
    """A tile that could not be had."""

    group: str
    slice: int
    row: int
    column: int
    bands: tuple[str, ...]
    cause: str
    message: str
    image: str = ""
    """Of a series: what its slice is called."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did. Raised errors carry one as `.report`."""

    mosaic: str
    """Path of the mosaic."""
    state: RunState
    message: str
    """One line: why it ended, where it did not end complete."""
    groups: tuple[str, ...]
    """Names of the mosaic's groups; one empty name where its arrays lie at the root."""
    tiles: int
    """Tiles of the plan."""
    tiles_before: int
    """Stored by earlier runs."""
    tiles_stored: int
    """Stored now, over all runs."""
    tiles_failed: int
    requests: int
    """Calls made by this run, retries included."""
    splits: int
    retries: Mapping[str, int]
    """Cause → calls made again for it."""
    wire_bytes: int
    """Bytes of pixels received by this run."""
    disk_bytes: int
    """Bytes of the mosaic's pixel objects."""
    seconds: float
    """Of this run, from the first request to the last commit."""
    peak_memory_bytes: int
    """Largest resident size of the process, or of one of its workers."""
    credentials: str
    """Which credentials were used."""
    service: str
    """Whose pixels: Earth Engine, or an emulator's data set."""
    failed: tuple[FailedTile, ...] = ()
    notices: tuple[str, ...] = field(default=())
    source: str = ""
    """One line: which images, and in which CRS."""
    job: str = ""
    """The job file as the mosaic keeps it, without secrets."""
    began: str = ""
    """When the run began to fetch, RFC 3339, UTC."""
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Python and the libraries that matter → their versions."""
    history: History | None = field(default=None, compare=False)
    """How the run went over time, place by place."""

    @property
    def tiles_missing(self) -> int:
        """Neither stored nor failed."""
        return self.tiles - self.tiles_stored - self.tiles_failed

    def open(
        self,
        group: str | None = None,
        *,
        level: int = 1,
        chunks: Any = "shard",  # noqa: ANN401  # whatever xarray takes
        mask_and_scale: bool = False,
        missing: Literal["raise", "mask", "ignore"] = "raise",
    ) -> xarray.Dataset:
        """The mosaic, or one group of it, as an `xarray.Dataset`.

        Args:
            group: name of the group; needed where there are several.
            level: 1 for the pixels; 2, 4, 8, … for an overview whose pixels are so many times as large.
            chunks: `"shard"` reads lazily, a shard at a time (needs Dask); None reads without Dask.
            mask_and_scale: turn nodata, and what `mosaic.mask` calls masked, into NaN, and such bands into floats.
            missing: what to do where tiles are not there: refuse, show NaN, or show the fill value.

        Raises:
            IncompleteError: tiles are missing and `missing` is `"raise"`.
        """
        from downloader.mosaic.reader import open_group

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
        """All groups as an `xarray.DataTree`; arguments as in `open`."""
        from downloader.mosaic.reader import open_tree

        return open_tree(self.mosaic, chunks=chunks, mask_and_scale=mask_and_scale, missing=missing)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report: a page (`.html`), a document (`.json`) or text (`.txt`), by the file's ending.

        Raises:
            JobError: another ending.
            OSError: the file cannot be written.
        """
        file = Path(path)
        make = {".html": self.to_html, ".json": self.to_json, ".txt": self.summary}.get(file.suffix)
        if make is None:
            raise JobError(f"{file}: a report is saved as {', '.join(KINDS)}; name such a file")
        file.write_text(make() + "\n", encoding="utf-8")

    def to_html(self) -> str:
        """One page that needs no other file, no network and no JavaScript; pictures are drawn from the mosaic."""
        from downloader.report.html import report_page

        return report_page(self)

    def to_json(self) -> str:
        """One JSON document."""
        # Not `asdict` of all: it copies mappings by their own type, which a Counter does not survive.
        document: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        document |= {
            "retries": dict(self.retries),
            "versions": dict(self.versions),
            "history": self.history and self.history.to_json(),
            "failed": [asdict(tile) for tile in self.failed],
            "tiles_missing": self.tiles_missing,
        }
        return json.dumps(document, indent=2, sort_keys=True)

    def summary(self) -> str:
        """The report as text, a few lines."""
        seconds = self.seconds or float("inf")
        lines = [
            f"{self.state}: {self.tiles_stored:,} of {self.tiles:,} tiles"
            + (f", {self.tiles_failed:,} failed" if self.tiles_failed else "")
            + (f", {self.tiles_missing:,} missing" if self.tiles_missing else "")
            + f" in {self.mosaic}",
        ]
        if self.message:
            lines.append(self.message)
        lines.append(
            "this run: no requests"
            if not self.requests
            else f"this run: {counted(self.requests, 'request')}, {size(self.wire_bytes)} in {duration(self.seconds)} "
            f"({rate(self.wire_bytes, seconds)}, {self.requests / seconds:,.1f} requests/s)"
        )
        lines.append(f"{size(self.disk_bytes)} on disk, peak memory {memory(self.peak_memory_bytes)}")
        if self.retries:
            most_first = sorted(self.retries.items(), key=lambda item: (-item[1], item[0]))
            lines.append("retries: " + ", ".join(f"{count:,} × {cause}" for cause, count in most_first))
        if self.splits:
            lines.append(f"splits: {self.splits:,}")
        lines.extend(
            f"failed: {tile.group or '/'} {tile.slice}/{tile.row}/{tile.column}"
            f"{f' of {tile.image}' if tile.image else ''}: {tile.message}"
            for tile in self.failed[:_SHOWN]
        )
        if len(self.failed) > _SHOWN:
            lines.append(
                f"… and {len(self.failed) - _SHOWN:,} more failed tiles (--report FILE.json lists them all)"
            )
        if self.state == "complete":
            lines.append(f"open it: {self.how_to_open()}")
        return "\n".join(lines)

    def how_to_open(self) -> str:
        """A line of Python that opens the mosaic."""
        if "://" in self.mosaic:
            ours = "open_tree" if len(self.groups) > 1 else "open_group"
            return f"downloader.mosaic.{ours}({self.mosaic!r})"
        opened = "open_datatree" if len(self.groups) > 1 else "open_dataset"
        return f'xarray.{opened}({self.mosaic!r}, engine="zarr", decode_coords="all")'
