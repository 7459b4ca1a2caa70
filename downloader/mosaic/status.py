"""How far a mosaic is, asked from outside: no lock taken, nothing written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.record.scan import scan
from downloader.mosaic.record.state import Counts
from downloader.mosaic.storage.location import MosaicPath, errors_of, locate, no_mosaic
from downloader.planning import TileKey

__all__ = ["Status", "read_mosaic", "status"]


@dataclass(frozen=True, slots=True)
class Status:
    """What a mosaic is and holds."""

    path: str
    service: str
    """Whose pixels they are."""
    source: Mapping[str, str]
    """The asset and its `updateTime`."""
    groups: Mapping[str, Counts]
    """Group → its tiles."""
    bands: Mapping[str, tuple[str, ...]]
    """Group → its bands."""
    failures: tuple[tuple[TileKey, tuple[str, ...], str, str], ...]
    """(tile, bands, cause, message) of each tile that failed."""
    unreadable: int
    """Lines of the ledger that could not be read; what they said was read from the shards."""
    images: int = 1
    """Images that the mosaic is made of."""
    slices: int = 0
    """Length of the leading axis; 0 where there is none."""
    axis: str = ""
    """The leading axis: `time`, `sample`, or none."""

    @property
    def is_complete(self) -> bool:
        """Whether every tile is stored."""
        return all(counts.stored == counts.tiles for counts in self.groups.values())

    def to_json(self) -> dict[str, object]:
        """Plain values, for `--json`."""
        return {
            "path": self.path,
            "service": self.service,
            "source": dict(self.source),
            "images": self.images,
            "slices": self.slices,
            "complete": self.is_complete,
            "groups": {
                name: {
                    "bands": list(self.bands[name]),
                    "tiles": counts.tiles,
                    "stored": counts.stored,
                    "failed": counts.failed,
                    "missing": counts.missing,
                }
                for name, counts in self.groups.items()
            },
            "failures": [
                {
                    "group": key.group,
                    "slice": key.slice,
                    "row": key.row,
                    "column": key.column,
                    "bands": list(bands),
                    "cause": cause,
                    "message": message,
                }
                for key, bands, cause, message in self.failures
            ],
            "unreadable_ledger_lines": self.unreadable,
        }


def status(path: MosaicPath) -> Status:
    """The state of the mosaic at `path`, also while another process writes it.

    Raises:
        RefusedError: there is no mosaic of this downloader, or a newer version made it.
    """
    location = locate(path)
    identity = read_mosaic(path)
    with errors_of(location):
        found = scan(location.store(), identity.layouts)
    return Status(
        path=location.name,
        service=identity.service,
        source=identity.source,
        groups={name: state.counts() for name, state in found.states.items()},
        bands={
            layout.group.name: tuple(band.id for band in layout.group.bands) for layout in identity.layouts
        },
        failures=tuple(failure for state in found.states.values() for failure in state.failures()),
        unreadable=found.garbage,
        images=1 if identity.listed is None else len(list(identity.listed.images)),
        slices=0 if identity.listed is None else identity.layouts[0].group.tiling.slices,
        axis=identity.layouts[0].group.axis,
    )


def read_mosaic(path: MosaicPath) -> Identity:
    """What the mosaic at `path` is. Raises RefusedError where there is none."""
    identity = read_identity(path)
    if identity is None:
        raise no_mosaic(path)
    return identity
