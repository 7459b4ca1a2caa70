"""`downloader preview`: stretches, colours and slices of a mosaic that was fetched, held against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from downloader.previews.colormaps import lookup
from tests.harness import command, job, window, write_job
from tests.oracle import QUICKSTART, oracle_window


@pytest.fixture(scope="module")
def look(tmp_path_factory, emulator_process):
    """Draw the same mosaic with some flags; what came, and what was said."""
    folder = tmp_path_factory.mktemp("preview")
    emulator_process.reset()
    file = write_job(folder, job(emulator_process, folder / "m.zarr", region=window(0, 0, 500, 400)))
    assert command("run", file).status == 0

    def drawn(*flags):
        ended = command("preview", folder / "m.zarr", "-o", folder / "x.png", *flags)
        assert ended.status == 0, ended
        with Image.open(folder / "x.png") as picture:
            return np.asarray(picture), ended.out

    drawn.folder = folder
    return drawn


def pixels(band: str) -> np.ndarray:
    return oracle_window(QUICKSTART, band, 0, 0, 500, 400).astype(float)


def levels(band: str, low: float, high: float) -> np.ndarray:
    return (np.clip((pixels(band) - low) / (high - low), 0, 1) * 255 + 0.5).astype("u1")


def test_percentiles(look):
    image, said = look("--bands", "B4,B3,B2", "--stretch", "0,50")
    for channel, band in enumerate(("B4", "B3", "B2")):
        low, high = np.percentile(pixels(band), [0, 50])
        np.testing.assert_array_equal(image[..., channel], levels(band, low, high))
        assert f"{low:.6g} to {high:.6g}" in said


def test_limits_by_band(look):
    image, said = look("--bands", "B4,B3,B2", "--min", "0,100,200", "--max", "3000")
    for channel, (band, low) in enumerate((("B4", 0), ("B3", 100), ("B2", 200))):
        np.testing.assert_array_equal(image[..., channel], levels(band, low, 3000))
    assert "stretched from 0 to 3000, 100 to 3000, 200 to 3000" in said


@pytest.mark.parametrize("palette", ["viridis", "magma-r", "white,1a9850"])
def test_one_band_in_colours(look, palette):
    image, _ = look("--bands", "B8", "--palette", palette, "--min", "0", "--max", "4000")
    np.testing.assert_array_equal(image[..., :3], lookup(palette)[levels("B8", 0, 4000)])
    assert (image[..., 3] == 255).all()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--stretch", "2"], "write LOW,HIGH, such as 2,98"),
        (["--stretch", "98,2"], "not two percentiles in ascending order"),
        (["--min", "a"], "'a': write N[,N,N]"),
        (["--min", "nan"], "write N[,N,N]"),
        (["--min", "1,2"], "one for each of the 3 bands; got 2"),
        (["--min", "9", "--max", "3"], "min 9 is not below max 3"),
        (["--palette", "jet", "--bands", "B8"], "viridis"),
        (["--palette", "viridis"], "colours one band"),
        (["--slice", "0"], "no leading axis"),
        (["--time", "0"], "not a time series"),
    ],
)
def test_what_cannot_be_drawn_says_why(look, flags, words):
    ended = command("preview", look.folder / "m.zarr", "-o", look.folder / "y.png", *flags)
    assert ended.status == 2, ended
    assert words in ended.err
    assert not (look.folder / "y.png").exists()
