"""What the job says about the mosaic, settled: how pixels are laid down, not which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["MosaicSettings"]


@dataclass(frozen=True, slots=True)
class MosaicSettings:
    """How a mosaic is stored (DESIGN §5, `mosaic`)."""

    profile: Literal["sharded", "plain"] = "sharded"
    """`sharded`: many tiles an object, checksums inside. `plain`: one object a tile, readable by GDAL 3.12."""
    compressor: Literal["lz4", "zstd", "none"] = "lz4"
    """Blosc lz4 level 5 with bitshuffle, Blosc Zstandard level 1 with it, or bare bytes."""
    durability: Literal["full", "scratch"] = "full"
    """`full` flushes pixels to the disk before the ledger's line; `scratch` trusts the machine to stay up."""
    nodata: Mapping[str, float] = field(default_factory=dict)
    """Band id → the value that says no data; bands that are absent have none declared."""
