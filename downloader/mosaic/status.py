"""State of a mosaic, read without a lock and without writing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from downloader.cards import bar, card, facts, rows
from downloader.job import Job
from downloader.mosaic.format.documents import ROOT
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.ownership import read_identity, refuse_foreign
from downloader.mosaic.record.scan import scan
from downloader.mosaic.record.state import Counts, TileFailure, failures_document
from downloader.mosaic.sources import member, parts
from downloader.mosaic.storage.location import MosaicPath, errors_of, locate, no_mosaic
from downloader.mosaic.stored_job import freeze, meaning
from downloader.text import counted, first_lines, table

_SHOWN: Final = 5
"""Failed tiles that the text names; the JSON names all."""


_HEADER: Final = ("group", "bands", "tiles", "stored", "failed", "missing")


@dataclass(frozen=True, slots=True, repr=False)
class Status:
    """State of a mosaic."""

    path: str
    service: str
    """Whose pixels they are."""
    source: Mapping[str, str]
    """The asset and its `updateTime`."""
    groups: Mapping[str, Counts]
    """Group → its tiles."""
    bands: Mapping[str, tuple[str, ...]]
    """Group → its bands."""
    failures: tuple[TileFailure, ...]
    unreadable: int
    """Lines of the ledger that could not be read; what they said was read from the shards."""
    images: int = 1
    """Images that the mosaic is made of."""
    slices: int = 0
    """Length of the leading axis; 0 where there is none; of samples with steps all chips."""
    steps: int = 0
    """Steps of each sample; 0 where there is no such axis."""
    axis: str = ""
    """The leading axis: `time`, `sample`, or none."""
    not_begun: tuple[str, ...] = ()
    """Of several sources those of which nothing is there yet."""

    @property
    def is_complete(self) -> bool:
        """Whether every tile is stored."""
        return not self.not_begun and all(counts.stored == counts.tiles for counts in self.groups.values())

    @property
    def share(self) -> float:
        """Part of the tiles that is stored, 0 to 1."""
        counts = self.groups.values()
        return sum(one.stored for one in counts) / max(1, sum(one.tiles for one in counts))

    def __repr__(self) -> str:
        return f"<Status of {self.path}: {self._how_far()}>"

    def __str__(self) -> str:
        noun = "sample" if self.axis == "sample" else "slice"
        along = counted(self.slices // (self.steps or 1), noun)
        along += f" of {counted(self.steps, 'step')}" if self.steps else ""
        made_of = f", {counted(self.images, 'image')} in {along}" if self.slices else ""
        failed = [f"failed: {key} ({', '.join(bands)}): {text}" for key, bands, _, text in self.failures]
        lines = [
            f"{self.path}: {self._how_far()}, from {self.service}{made_of}",
            table(self._rows(), _HEADER),
            *first_lines(failed, _SHOWN, "more failed tiles (--json lists them all)"),
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        failed = [[str(key), ", ".join(bands), text] for key, bands, _, text in self.failures]
        return card(
            "Status",
            self.path,
            bar(self.share, "over" if self.is_complete else "stopped"),
            facts([("State", self._how_far()), ("Service", self.service)]),
            rows(self._rows(), _HEADER),
            rows(failed, ("failed", "bands", "why")) if failed else "",
        )

    def _rows(self) -> list[list[str]]:
        return [
            [
                name or "/",
                ", ".join(self.bands[name][:6]) + (" …" if len(self.bands[name]) > 6 else ""),
                *(f"{number:,}" for number in (counts.tiles, counts.stored, counts.failed, counts.missing)),
            ]
            for name, counts in self.groups.items()
        ]

    def _how_far(self) -> str:
        if self.is_complete:
            return "complete"
        # Rounded down: 100 % would look complete.
        if self.not_begun:
            return f"not complete, nothing of {', '.join(self.not_begun)} yet"
        return f"not complete, {math.floor(1000 * self.share) / 10:.1f} % stored"

    def to_json(self) -> dict[str, object]:
        """Return the state as plain values."""
        return {
            "path": self.path,
            "service": self.service,
            "source": {
                ("update_time" if key == "updateTime" else key): text for key, text in self.source.items()
            },
            "images": self.images,
            "slices": self.slices,
            "steps": self.steps,
            "not_begun": list(self.not_begun),
            "complete": self.is_complete,
            "share": self.share,
            "groups": {
                name: {"bands": list(self.bands[name]), **counts.to_json()}
                for name, counts in self.groups.items()
            },
            "failures": failures_document(self.failures),
            "unreadable_ledger_lines": self.unreadable,
        }


def status(path: MosaicPath) -> Status:
    """Return the state of the mosaic at `path`, also while another process writes it.

    Raises:
        RefusedError: there is no mosaic of this downloader, or another version of the format made it.
    """
    if there := parts(path):
        return _of_sources(path, there)
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
        steps=identity.layouts[0].group.tiling.steps,
        axis=identity.layouts[0].group.axis,
    )


def _of_sources(path: MosaicPath, there: Mapping[str, MosaicPath]) -> Status:
    """Return the state of a mosaic of several sources, whose groups are named by them; those not begun are left out."""
    each = {name: status(own) for name, own in there.items() if read_identity(own) is not None}
    if not each:
        raise no_mosaic(path)
    return Status(
        path=locate(path).name,
        service=next(iter(each.values())).service,
        source={f"{name}.{key}": text for name, one in each.items() for key, text in one.source.items()},
        groups={
            member(name, group): counts for name, one in each.items() for group, counts in one.groups.items()
        },
        bands={
            member(name, group): bands for name, one in each.items() for group, bands in one.bands.items()
        },
        failures=tuple(
            (replace(key, group=member(name, key.group)), bands, cause, message)
            for name, one in each.items()
            for key, bands, cause, message in one.failures
        ),
        unreadable=sum(one.unreadable for one in each.values()),
        images=sum(one.images for one in each.values()),
        not_begun=tuple(name for name in there if name not in each),
    )


def is_new(path: MosaicPath) -> bool:
    """Return whether nothing is at the path yet.

    Raises:
        RefusedError: something else than a mosaic of this package is there.
    """
    if parts(path):
        return False
    refuse_foreign(locate(path))
    return read_identity(path) is None


def means(path: MosaicPath, job: Job) -> bool:
    """Return whether a mosaic that can be opened is at the path, made or last extended by a job of the same words.

    Raises:
        RefusedError: something else is there.
    """
    identity = read_identity(path)
    return (
        identity is not None and identity.job == meaning(freeze(job)) and locate(path).read(ROOT) is not None
    )


def read_mosaic(path: MosaicPath) -> Identity:
    """Return the identity of the mosaic at `path`. Raises RefusedError if there is none."""
    identity = read_identity(path)
    if identity is None:
        raise no_mosaic(path)
    return identity
