"""Results of a run, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from downloader.events import RunState
from downloader.planning.compute_cost import ComputeCost
from downloader.progress.history import History


@dataclass(frozen=True, slots=True)
class FailedTile:
    """A tile that could not be downloaded."""

    group: str
    slice: int
    row: int
    column: int
    bands: tuple[str, ...]
    cause: str
    message: str
    image: str = ""
    """Name of its slice in a time series."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Results of a run, as plain values."""

    mosaic: str
    """Path of the mosaic."""
    state: RunState
    message: str
    """Reason why the run did not end complete, in a line; empty if it did."""
    groups: tuple[str, ...]
    """Names of the mosaic's groups; one empty name if its arrays lie at the root."""
    tiles: int
    """Tiles of the plan."""
    tiles_before: int
    """Stored by earlier runs."""
    tiles_stored: int
    """Stored now, by all runs."""
    tiles_failed: int
    requests: int
    """Calls for pixels of tiles made by this run, retries included."""
    metadata_calls: int
    """Its other calls, retries included: documents, listings, and one pixel of each group before the start."""
    token_calls: int
    """Calls for access tokens, which go to another host."""
    splits: int
    retries: Mapping[str, int]
    """Cause → calls that were repeated for it."""
    wire_bytes: int
    """Bytes of pixels received by this run."""
    disk_bytes: int
    """Bytes of the mosaic's pixel objects."""
    seconds: float
    """Duration of this run, from the first request to the last commit."""
    peak_memory_bytes: int
    """Largest resident size of the process, or of one of its workers."""
    credentials: str
    """Credentials that were used, by name."""
    service: str
    """Service that the pixels come from: Earth Engine, or the data set of an emulator."""
    failed: tuple[FailedTile, ...] = ()
    compute: ComputeCost | None = None
    """Estimated cost of this run's requests that brought pixels; None where the service computed nothing."""
    notices: tuple[str, ...] = field(default=())
    source: str = ""
    """Images and CRS, in a line."""
    job: str = ""
    """The job file as the mosaic keeps it, without secrets."""
    began: str = ""
    """Time when the run began to fetch, RFC 3339, UTC."""
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Python and the libraries that matter → their versions."""
    history: History | None = field(default=None, compare=False)
    """Rates over time, latencies and notices."""

    @property
    def tiles_missing(self) -> int:
        """Tiles that are neither stored nor failed."""
        return self.tiles - self.tiles_stored - self.tiles_failed
