"""The ledger: one line for each shard committed, written after its pixels are durable.

Each run appends to a file of its own in `.downloader/ledger` (in a bucket: a folder of numbered objects); the first line
names the format. A line tells of one shard which tiles of which bands are stored, how long their objects are, what failed
and why. What it says of a band replaces what earlier lines said (`plain`: what it says of a tile does). The shards are the
truth for pixels, so a line that is torn, lost or wrong costs a read of the shard's own header and index, nothing more.

In a bucket the first line also says how long the files of earlier holders of the lease were when this one took it: lines
that one of them adds later, because it was paused and woke, do not count.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from downloader.errors import RefusedError
from downloader.mosaic.format.shard import EncodedShard
from downloader.mosaic.record.paths import LEDGER
from downloader.mosaic.record.state import FailedTiles, GroupState
from downloader.mosaic.storage.store import Store
from downloader.planning.tiling import bits

FORMAT: Final = 3
"""Version of the lines; another one is refused, never guessed at."""

_SLOTS: Final = 2**20
"""More slots than any shard has."""

_EPOCH: Final = re.compile(r"e(\d+)-")
_STAMP: Final = "%Y%m%dT%H%M%S.%f"


@dataclass(frozen=True, slots=True)
class Piece:
    """One band of a shard in a line of the ledger."""

    stored: int
    """Bits of the slots stored; `plain`: of those that `chunks` names."""
    length: int = 0
    """Bytes of the band's object; 0 for `plain`, whose tiles are objects of their own."""
    chunks: tuple[tuple[int, int, int], ...] = ()
    """`plain`: (slot, length in bytes, crc32c) of each tile's object; length 0 for one that was lost."""

    def applied(self, before: int) -> int:
        """Return the bits of the slots stored after this line, of those stored `before` it."""
        named = sum(1 << slot for slot, _, _ in self.chunks) if self.chunks else -1
        return before & ~named | self.stored

    @classmethod
    def of(cls, made: EncodedShard) -> Piece:
        """Return the piece for a shard's object."""
        return cls(made.stored, made.nbytes)

    @classmethod
    def without(cls, slots: int, profile: str) -> Piece:
        """Return the piece for a band that lost these slots, or, where shards are objects, all of its object."""
        return cls(0, chunks=tuple((slot, 0, 0) for slot in bits(slots)) if profile == "plain" else ())


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of the ledger: a shard that was committed."""

    group: str
    shard: tuple[int, int, int]
    """(layer, row, column), counted in shards."""
    pieces: dict[str, Piece]
    """Band id → what is stored of it."""
    failures: tuple[FailedTiles, ...] = ()
    """All that failed in the shard and is not stored."""
    time: str = ""
    """RFC 3339, UTC."""
    recipe: int = 0
    """How a shard of an overview was made; 0 for the mosaic's own pixels."""

    def applied(self, state: GroupState) -> tuple[int, dict[int, int], tuple[FailedTiles, ...]]:
        """Return the shard's number, band index → bits of the slots stored after this line, and what failed."""
        tiling = state.group.tiling
        index, full = tiling.shard_index(*self.shard), tiling.full_mask(*self.shard)
        before = state.stored(index)
        bands = ((state.bands[name], piece) for name, piece in self.pieces.items() if name in state.bands)
        stored = {band: piece.applied(before[band]) & full for band, piece in bands}
        return index, stored, tuple(replace(one, tiles=one.tiles & full) for one in self.failures)

    def to_line(self) -> bytes:
        """Return the line with its end."""
        document = {
            "group": self.group,
            "shard": self.shard,
            "bands": {
                band: [f"{piece.stored:x}", piece.length, *piece.chunks]
                for band, piece in self.pieces.items()
            },
            "failed": [
                {
                    "tiles": f"{one.tiles:x}",
                    "bands": sorted(one.bands),
                    "cause": one.cause,
                    "message": one.message,
                }
                for one in self.failures
            ],
            "recipe": self.recipe,
            "time": self.time or datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> LedgerEntry:
        """Return the line of a JSON object. Raises KeyError, TypeError or ValueError for anything else."""
        layer, row, column = map(_number, document["shard"])
        pieces = {
            band: Piece(
                _bits(stored),
                _number(length),
                tuple((_number(s, _SLOTS), _number(n), _number(c)) for s, n, c in chunks),
            )
            for band, (stored, length, *chunks) in document["bands"].items()
        }
        failures = tuple(
            FailedTiles(
                _bits(f["tiles"]), frozenset(map(str, f["bands"])), str(f["cause"]), str(f["message"])
            )
            for f in document["failed"]
        )
        place, recipe = (layer, row, column), _number(document["recipe"])
        return cls(str(document["group"]), place, pieces, failures, str(document["time"]), recipe)


class LedgerWriter:
    """Writer of this run's own file; for one thread at a time."""

    def __init__(self, store: Store, epoch: int | None = None) -> None:
        """Choose the name of a new file; nothing is written yet.

        Args:
            store: the mosaic's objects.
            epoch: of the lease; None under a lock, which a run cannot lose while it writes.
        """
        self._store = store
        self._fences = epoch is not None
        runs = _runs(store)
        self._before = {name: sum(size for _, size in pieces) for name, pieces in runs.items()}
        epoch = max(map(_epoch, runs), default=0) if epoch is None else epoch
        # Names sort by epoch and then by time, so that reading them in order lets later runs have the last word. A
        # clock that was set back must not put this file before another.
        before = f"e{epoch:06d}-" if epoch else ""
        stamp = f"{datetime.now(UTC):{_STAMP}}"
        last = max(
            (run[len(before) :].partition("-")[0] for run in runs if run.startswith(before)), default=""
        )
        if last >= stamp and re.fullmatch(r"\d{8}T\d{6}\.\d{6}", last):
            later = datetime.strptime(last, _STAMP).replace(tzinfo=UTC) + timedelta(microseconds=1)
            stamp = f"{later:{_STAMP}}"
        self.key = f"{LEDGER}/{before}{stamp}-{secrets.token_hex(4)}.jsonl"
        self._begun = False

    def begin(self) -> None:
        """Write the first line now, so that lines added by holders of earlier epochs no longer count. Raises OSError."""
        self.append()

    def append(self, *entries: LedgerEntry) -> None:
        """Write lines and make them durable. Raises OSError."""
        lines = b"".join(entry.to_line() for entry in entries)
        if not self._begun:
            header: dict[str, Any] = {
                "ledger": FORMAT,
                "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
            if self._fences:
                header["before"] = self._before
            lines = json.dumps(header).encode() + b"\n" + lines
        self._store.append(self.key, lines)
        self._begun = True


@dataclass(slots=True)
class LedgerReader:
    """Reader of all files of the ledger."""

    store: Store
    garbage: int = field(default=0, init=False)
    """Lines that could not be read; their shards' own headers and indexes are read instead."""

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield the lines of all files, oldest run first, except those added after another run had taken over.

        Raises:
            RefusedError: a file was written by another version.
        """
        runs = _runs(self.store)
        limits = self._limits(runs)
        for run in sorted(runs):
            left = limits.get(run)
            for key, _ in runs[run]:
                data = bytes(self.store.get(key))
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                yield from self._entries(key, data)

    def _limits(self, runs: Mapping[str, list[tuple[str, int]]]) -> dict[str, int]:
        """Return file → number of its bytes that count; files that count whole are left out."""
        limits: dict[str, int] = {}
        for run, pieces in runs.items():
            epoch = _epoch(run)
            if not epoch:
                continue
            try:
                before = json.loads(bytes(self.store.get(pieces[0][0])).partition(b"\n")[0])["before"]
                found = {name: int(before.get(name, 0)) for name in runs if _epoch(name) < epoch}
            except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
                continue
            for name, nbytes in found.items():
                limits[name] = min(nbytes, limits.get(name, nbytes))
        return limits

    def _entries(self, key: str, data: bytes) -> Iterator[LedgerEntry]:
        # A run that was killed may leave a last line without its end; it was never relied on.
        whole, _, torn = data.rpartition(b"\n")
        self.garbage += bool(torn)
        for line in whole.split(b"\n"):
            if not line:
                continue
            try:
                document = json.loads(line)
                if "ledger" in document:
                    self._check(key, document["ledger"])
                    continue
                entry = LedgerEntry.from_document(document)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.garbage += 1
                continue
            yield entry

    def _check(self, key: str, version: object) -> None:
        if version != FORMAT:
            raise RefusedError(
                f"{self.store.name}: {key} is of ledger version {version}, and this downloader reads version {FORMAT}:"
                " use the one that wrote it, or fetch the mosaic again with --overwrite"
            )


def _number(value: int, end: int = 2**32) -> int:
    """Return a number of a line. Raises ValueError where it is none below `end`: arrays have no room for it."""
    if not isinstance(value, int) or not 0 <= value < end:
        raise ValueError(f"{value!r:.50} is no number of a line")
    return value


def _bits(text: str) -> int:
    """Return the bits of a hexadecimal text. Raises ValueError for a sign, too."""
    return int(f"0x{text}", 16)


def last_epoch(store: Store) -> int:
    """Return the highest epoch in the names of the ledger's files; 0 where none has one."""
    return max(map(_epoch, _runs(store)), default=0)


def _runs(store: Store) -> dict[str, list[tuple[str, int]]]:
    """Return name of a file → (key, bytes) of its objects in order; on a disk each has one."""
    runs: dict[str, list[tuple[str, int]]] = {}
    for key, size in sorted(store.list(LEDGER)):
        runs.setdefault(key[len(LEDGER) + 1 :].partition("/")[0], []).append((key, size))
    return runs


def _epoch(run: str) -> int:
    found = _EPOCH.match(run)
    return int(found.group(1)) if found else 0
