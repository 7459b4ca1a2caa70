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
from tests.mosaics import band_pixels, fill, one_group

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
)
async def test_a_mosaic_is_the_same_for_every_reader(
    tmp_path_factory, dtype, size, shard, profile, compressor
) -> None:
    path = tmp_path_factory.mktemp("m")
    plan = one_group(["B2", "B3"], dtype=dtype, window=Window(3, 5, *size), shard=shard, tile=32)
    (group,) = plan.groups
    chosen = MosaicSettings(profile=profile, compressor=compressor, durability="scratch")
    async with open_for_writing(path, plan, chosen, service="earth-engine") as mosaic:
        await fill(mosaic, plan)
        await mosaic.finish()
    sent = {band.id: band_pixels(group, number) for number, band in enumerate(group.bands)}
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
