"""What is written, three readers read alike: zarr-python, zarrs (as its codec pipeline, in Rust) and xarray."""

from __future__ import annotations

import numpy as np
import xarray
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downloader.model.grid import Window
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from tests.mosaics import band_pixels, day, fill, one_group, series

TYPES = ["|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8"]
PIPELINES = {
    "zarr-python": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(TYPES),
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    shard=st.sampled_from([1, 2, 4]),
    profile=st.sampled_from(["sharded", "plain"]),
    compressor=st.sampled_from(["lz4", "zstd", "none"]),
    deep=st.none() | st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 2)),
)
async def test_a_mosaic_is_the_same_for_every_reader(
    tmp_path_factory, dtype, size, shard, profile, compressor, deep
) -> None:
    """One image, or a series of `deep` slices, in chunks of so many, of which a shard holds so many."""
    path = tmp_path_factory.mktemp("m")
    shape = {"window": Window(3, 5, *size), "shard": shard, "tile": 32}
    if deep is None or profile == "plain":
        deep, plan = None, one_group(["B2", "B3"], dtype=dtype, **shape)
    else:
        slices, depth, chunks = deep
        images = [day(number + 1, dtype=dtype) for number in range(slices)]
        plan = series(images, **shape, depth=depth, shard_slices=depth * chunks)
    (group,) = plan.groups
    chosen = MosaicSettings(profile=profile, compressor=compressor, durability="scratch")
    async with open_for_writing(path, plan, chosen, service="earth-engine") as mosaic:
        await fill(mosaic, plan)
        await mosaic.finish()
    sent = {
        band.id: band_pixels(group, number)
        if deep is None
        else np.stack([band_pixels(group, number, slice_=index) for index in range(deep[0])])
        for number, band in enumerate(group.bands)
    }
    for name, pipeline in PIPELINES.items():
        with zarr.config.set({"codec_pipeline.path": pipeline}):
            root = zarr.open_group(path, mode="r")
            for band, pixels in sent.items():
                assert type(root[band]._async_array.codec_pipeline).__name__ == pipeline.rpartition(".")[2]
                assert root[band][:].tobytes() == pixels.tobytes(), (name, band)
    with xarray.open_dataset(path, engine="zarr", chunks=None, mask_and_scale=False) as scene:
        for band, pixels in sent.items():
            assert scene[band].dtype == np.dtype(dtype)
            assert scene[band].to_numpy().tobytes() == pixels.tobytes(), ("xarray", band)
