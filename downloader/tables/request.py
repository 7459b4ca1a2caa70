"""The request for a table of statistics of places, and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from downloader.arguments import path_text
from downloader.errors import JobError, MissingExtraError
from downloader.text import counted, size

if TYPE_CHECKING:
    import pandas as pd


Layout = Literal["wide", "long"]

Watch = Callable[[int, int], None]
"""Called with (parts done, parts in all); may raise to stop."""


@dataclass(frozen=True, slots=True)
class TableRequest:
    """The arguments of `table`."""

    mosaic: str | Path
    out: str | Path
    by: Any = None
    stats: Sequence[str] = ("mean",)
    bands: Sequence[str] | None = None
    layout: Layout = "wide"
    missing: Literal["raise", "mask"] = "raise"

    @property
    def file(self) -> Path:
        """The file to write. Raises JobError where it cannot be one of a table."""
        file = Path(path_text(self.out, "out", "name a .parquet, .geoparquet or .csv file"))
        if "://" in str(self.out):
            raise JobError(f"{self.out}: a table is written to a disk; name a file there, and copy it")
        if file.suffix.lower() not in {".csv", ".parquet", ".geoparquet"}:
            raise JobError(f"{self.out}: name a .parquet, .geoparquet (which keeps the shapes) or .csv file")
        if file.is_dir():
            raise JobError(f"{self.out}: is a folder; name a file")
        mosaic = path_text(self.mosaic, "mosaic")
        if "://" not in mosaic and file.resolve().is_relative_to(Path(mosaic).resolve()):
            raise JobError(f"{self.out}: lies inside the mosaic {self.mosaic}; name a file outside of it")
        return file


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was written."""

    file: Path
    rows: int
    columns: tuple[str, ...]
    places: int
    outside: int
    """Places of which no pixel lies in the mosaic; their statistics are missing, and nothing of them is valid."""
    empty: int
    """Samples that are cut from no image; of steps without one there is no row."""
    nbytes: int

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("Reading a table as a DataFrame", "xarray") from error
        if self.file.suffix.lower() == ".csv":
            return pd.read_csv(self.file, parse_dates=["time"] if "time" in self.columns else [])
        return pd.read_parquet(self.file)

    def to_json(self) -> dict[str, Any]:
        """Return what was written as plain values."""
        return {**asdict(self), "file": str(self.file), "columns": list(self.columns)}

    def __str__(self) -> str:
        told = f"{self.file}: {counted(self.rows, 'row')} of {counted(self.places, 'place')}, {size(self.nbytes)}"
        if self.outside:
            lie = "lies" if self.outside == 1 else "lie"
            told += f"; {self.outside:,} of the places {lie} outside the mosaic"
        if self.empty:
            have = "has" if self.empty == 1 else "have"
            told += f"; {self.empty:,} of the samples {have} no image"
        return told
