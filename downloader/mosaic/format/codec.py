"""The codecs of one chunk of pixels: encoding, decoding, and their names in the array's metadata."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


CRC_BYTES: Final = 4
"""Length of a crc32c at the end of a chunk or an index, little-endian."""

_BLOSC: Final = {"lz4": ("lz4", 5), "zstd": ("zstd", 1)}
"""Compressor and level. Without Blosc's bitshuffle Zstandard makes pixels of 16 bits larger than lz4 with it."""

Buffer = bytes | memoryview | np.ndarray[Any, np.dtype[np.uint8]]


@lru_cache(maxsize=1)
def _crc_function() -> Callable[[object], int]:
    import google_crc32c

    function: Callable[[object], int] = google_crc32c.value
    return function


def crc32c(data: Buffer | NDArray[np.generic]) -> int:
    """Return the CRC-32C of `data`; a view must be of a read-only buffer, as the C library takes no other."""
    return _crc_function()(data)


def checksum(data: Buffer | NDArray[np.generic]) -> bytes:
    """Return the CRC-32C of `data` as the four bytes that follow it, little-endian."""
    return crc32c(data).to_bytes(CRC_BYTES, "little")


@dataclass(frozen=True)
class ChunkCodec:
    """The codecs of one chunk: little-endian bytes, a compressor, and a checksum where the profile has one."""

    compressor: str
    """`lz4`, `zstd` or `none`, as `MosaicSettings` says."""
    checksum: bool
    """Whether a crc32c follows the compressed bytes."""

    @cached_property
    def _compressor(self) -> Any:  # noqa: ANN401 - numcodecs is untyped
        import numcodecs

        name, level = _BLOSC[self.compressor]
        return numcodecs.Blosc(cname=name, clevel=level, shuffle=numcodecs.Blosc.BITSHUFFLE)

    def encode(self, chunk: NDArray[np.generic]) -> bytes:
        """Return the bytes of a C-contiguous, little-endian array."""
        if self.compressor == "none":
            plain = chunk.view()
            plain.flags.writeable = False  # what the checksum's library asks for
            # One copy, in place of one of the pixels and one that adds the checksum.
            return b"".join((plain.data, checksum(plain) if self.checksum else b""))
        data: bytes = self._compressor.encode(chunk)
        return data + checksum(data) if self.checksum else data

    def decode(
        self, data: Buffer, dtype: np.dtype[np.generic], shape: tuple[int, ...]
    ) -> NDArray[np.generic]:
        """Decode bytes of `encode` into an array of `dtype` and `shape`.

        Raises:
            ValueError: the bytes are damaged.
        """
        body = np.frombuffer(data, np.uint8)
        if self.checksum:
            if not self.intact(data):
                raise ValueError("the chunk's checksum does not match")
            body = body[:-CRC_BYTES]
        if self.compressor != "none":
            # Blosc trusts its own header (length at byte 12) and reads beyond a buffer that was cut short.
            if body[12:16].tobytes() != body.size.to_bytes(4, "little"):
                raise ValueError(
                    f"the chunk does not decompress: it is {body.size} bytes long, and its header says otherwise"
                )
            try:
                body = np.frombuffer(self._compressor.decode(body), np.uint8)
            except RuntimeError as error:
                raise ValueError(f"the chunk does not decompress: {error}") from error
        return body.view(dtype).reshape(shape)

    def intact(self, data: Buffer) -> bool:
        """Return whether the checksum at the end of an encoded chunk is right; True where the profile has none."""
        if not self.checksum:
            return True
        view = np.frombuffer(data, np.uint8)
        return view.size > CRC_BYTES and checksum(view[:-CRC_BYTES]) == view[-CRC_BYTES:].tobytes()

    def to_json(self, dtype: np.dtype[np.generic]) -> list[dict[str, object]]:
        """Return the codecs as Zarr v3's metadata names them, written as zarr-python writes them."""
        codecs: list[dict[str, object]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if dtype.itemsize == 1:
            codecs = [{"name": "bytes"}]
        if self.compressor != "none":
            name, level = _BLOSC[self.compressor]
            configuration = {
                "typesize": dtype.itemsize,
                "cname": name,
                "clevel": level,
                "shuffle": "bitshuffle",
                "blocksize": 0,
            }
            codecs.append({"name": "blosc", "configuration": configuration})
        if self.checksum:
            codecs.append({"name": "crc32c"})
        return codecs
