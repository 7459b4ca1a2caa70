"""What overviews were made of: a number for each shard of the pixels, and numbers of these up the levels.

A shard's number changes with every line of the ledger that tells of pixels stored in it; a shard of a level has a
number made of those of the four below. The record keeps the numbers that each shard was made under, so a glance tells
which ones are missing or out of date after a kill, a repair, further times, or pixels fetched again.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.mosaic.record.ledger import LedgerReader
from downloader.mosaic.record.paths import OVERVIEWS_RECORD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from downloader.mosaic.format.layout import GroupLayout
    from downloader.mosaic.storage.store import Store

__all__ = ["Kept", "Record", "combined", "versions"]

_FORMAT: Final = 1
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)


def versions(
    store: Store, layouts: Iterable[GroupLayout], salts: Mapping[str, int]
) -> dict[str, NDArray[np.uint64]]:
    """Group → (layer, row, column) of its shards: a number for what is stored, 0 where nothing ever was.

    Args:
        store: the mosaic's objects.
        layouts: its groups.
        salts: by group, a number for how overviews are made.

    Raises:
        RefusedError: the ledger was written by a newer version.
    """
    tilings = {layout.group.name: layout.group.tiling for layout in layouts}
    found = {
        name: np.zeros((t.shard_layers, t.shard_rows, t.shard_columns), np.uint64)
        for name, t in tilings.items()
    }
    for entry in LedgerReader(store).entries():
        numbers = found.get(entry.group)
        if numbers is None or not entry.pieces:
            continue
        if any(
            place < 0 or place >= length for place, length in zip(entry.shard, numbers.shape, strict=True)
        ):
            continue
        before = int(numbers[entry.shard]) or salts[entry.group]
        numbers[entry.shard] = (zlib.crc32(entry.to_line(), before & 0xFFFFFFFF) << 32 | before >> 32) or 1
    return found


def combined(below: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The numbers of the level above: of 2×2 shards each; 0 where all four are."""
    rows, columns = below.shape[1:]
    padded = np.pad(below, ((0, 0), (0, rows % 2), (0, columns % 2)))
    total = np.zeros((below.shape[0], padded.shape[1] // 2, padded.shape[2] // 2), np.uint64)
    some = np.zeros(total.shape, np.bool_)
    for i in (0, 1):
        for j in (0, 1):
            child = padded[:, i::2, j::2]
            some |= child != 0
            total = (total ^ child) * _MIX
            total ^= total >> _HALF
    total[total == 0] = 1
    total[~some] = 0
    return total


@dataclass
class Kept:
    """What the record keeps of one level."""

    numbers: NDArray[np.uint64]
    """(layer, row, column) of its shards: what each was made under; 0 for none."""
    objects: NDArray[np.uint32]
    """How many objects each has."""

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Kept:
        """Nothing was made."""
        return cls(np.zeros(shape, "<u8"), np.zeros(shape, "<u4"))


@dataclass
class Record:
    """The record of a mosaic's overviews."""

    policies: dict[str, str] = field(default_factory=dict)
    """Band id → policy, as far as somebody asked for another than the band's own."""
    levels: dict[str, Kept] = field(default_factory=dict)
    """By name of the level's group; those that were asked for."""
    told: int = 0
    """A number for what readers are told is stored; 0 while shards are made, and what is told waits for them."""
    stated: Mapping[str, Any] = field(default_factory=dict)
    """What the file says of levels, as it says it."""

    @classmethod
    def read(cls, store: Store) -> Record:
        """The record; an empty one where there is none that can be read."""
        try:
            document = json.loads(bytes(store.get(OVERVIEWS_RECORD)))
            if document["overviews"] != _FORMAT:
                return cls()
            policies = {str(band): str(policy) for band, policy in document["policies"].items()}
            return cls(policies, {}, int(document["told"]), dict(document["levels"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls()

    def level(self, name: str, shape: tuple[int, ...]) -> Kept:
        """What it keeps of a level whose shards are `shape` (layers, rows, columns) now; nothing of what does not fit."""
        kept = self.levels.get(name)
        if kept is None:
            try:
                kept = _kept(self.stated[name], shape)
            except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
                kept = Kept.none(shape)
            self.levels[name] = kept
        return kept

    def write(self, store: Store) -> None:
        """Write it. Raises OSError."""
        levels = {
            name: {
                "shape": list(one.numbers.shape),
                "made_of": _packed(one.numbers),
                "objects": _packed(one.objects),
            }
            for name, one in self.levels.items()
        }
        document = {"overviews": _FORMAT, "told": self.told, "policies": self.policies, "levels": levels}
        store.put(OVERVIEWS_RECORD, [json.dumps(document).encode()])
        store.flush([OVERVIEWS_RECORD])


def _kept(document: Mapping[str, Any], shape: tuple[int, ...]) -> Kept:
    """Of a level that may have grown along its first axis. Raises what a document that is none of ours makes it raise."""
    layers, *rest = map(int, document["shape"])
    if rest != list(shape[1:]) or not 0 <= layers <= shape[0]:
        raise ValueError(f"{document['shape']} is no shape for {shape}")
    kept = Kept.none(shape)
    for name, values in (("made_of", kept.numbers), ("objects", kept.objects)):
        part = values[:layers]
        part[:] = np.frombuffer(_unpacked(document[name], part.nbytes), values.dtype).reshape(part.shape)
    return kept


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 1)).decode()


def _unpacked(text: str, nbytes: int) -> bytes:
    """So many bytes; a text that unpacks to more, however much, costs no more memory."""
    return zlib.decompressobj().decompress(base64.b64decode(text, validate=True), max(1, nbytes))
