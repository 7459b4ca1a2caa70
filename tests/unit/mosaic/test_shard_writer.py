"""Interleaved pixels are taken apart by field, whatever their number and types."""

from __future__ import annotations

import numpy as np
import pytest

from downloader.mosaic.shard_writer import _planes


@pytest.mark.parametrize(
    "types",
    [["<u2"], ["<u2"] * 4, ["u1", "<f8", "<i2"], ["u1"] * 3, ["<u2"] * 101, ["<f4"] * 257],
    ids=lambda types: f"{len(types)} {types[0]}",
)
@pytest.mark.parametrize("shape", [(256, 256), (1, 256), (255, 1), (77, 201)])
def test_each_field_of_a_part_of_an_answer(types: list[str], shape: tuple[int, int]) -> None:
    """Within strips and beyond them, within one group of fields and in several."""
    dtype = np.dtype([(f"b{number}", one) for number, one in enumerate(types)])
    answer = np.random.default_rng(3).bytes((shape[0] + 5) * (shape[1] + 3) * dtype.itemsize)
    pixels = np.frombuffer(answer, dtype).reshape(shape[0] + 5, shape[1] + 3)[2:-3, 1:-2]
    planes = list(_planes(pixels))
    assert len(planes) == len(types)
    for name, plane in zip(dtype.names or (), planes, strict=True):
        assert plane.flags.c_contiguous
        assert plane.dtype == dtype[name]
        assert plane.shape == shape
        assert plane.tobytes() == pixels[name].tobytes()
