"""Wrong calls of the library: each is one error of the tree, whose text names the argument, the value and what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import downloader
from earthengine_emulator import EmulatorProcess
from tests.harness import ASSET, MadeMosaic

JOB = {
    "source": {"asset": ASSET, "bands": ["B4"]},
    "region": {"bbox": [-122.12, 37.38, -122.08, 37.40]},
    "mosaic": {"path": "x.zarr"},
}
FIRST = {
    **dict.fromkeys(("open", "open_tree"), "job"),
    **dict.fromkeys(("export", "table", "preview"), "mosaic"),
    "verify": "target",
    "overviews": "path",
}
"""Call → its argument that is the mosaic, where a case gives no other."""
BOX = [-122.12, 37.38, -122.08, 37.40]


@pytest.fixture
def stored(
    make: Callable[..., MadeMosaic],
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A mosaic of one band, which no call here changes; the service is the emulator."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOWNLOADER_ENDPOINT", emulator.url)
    monkeypatch.setenv("DOWNLOADER_KEY_FILE", str(emulator.key_file))
    return make("sharded", bands=("B4",)).path


@pytest.mark.parametrize(
    ("call", "given", "message"),
    [
        ("open", {"job": None}, "job: None: give a job file's path"),
        ("open", {"job": 3}, "job: 3: give a job file's path"),
        ("open_tree", {"job": None}, "job: None: give a job file's path"),
        ("open", {"job": "COPERNICUS/S2"}, "COPERNICUS/S2 is not a mosaic .* say where .* store="),
        ("open", {"job": ASSET, "region": BOX}, f"{ASSET} is not a mosaic .* store= .* region="),
        ("open", {"job": ["a", "b"]}, r"\['a', 'b'\]: give the path of the mosaic"),
        ("open", {"bands": ["B4"]}, "bands: .*zarr is a mosaic, whose job is settled"),
        ("open", {"chunks": "huh"}, "chunks: 'huh': write 'shard', 'auto', None.*sizes of the axes y, x"),
        ("open", {"chunks": -5}, "chunks: -5: write"),
        ("open", {"chunks": {"row": 512}}, "chunks: {'row': 512}: write .*axes y, x"),
        ("open", {"chunks": {"x": "abc"}}, "chunks: {'x': 'abc'}: write"),
        ("open_tree", {"chunks": "huh"}, "chunks: 'huh': write"),
        ("open", {"wait": "long"}, "wait: 'long': write a number of at least 0"),
        ("open", {"missing": "nan"}, "missing: 'nan' is none of raise, mask, ignore"),
        ("open", {"progress": "tqdm"}, "progress: 'tqdm': write True or False; a function of your own goes to on_event"),
        ("open", {"job": JOB, "store": 3}, "store: 3: write a folder's path"),
        ("download", {"job": None}, "job: None: give a job file's path"),
        ("download", {"job": ASSET}, f"{ASSET}: there is no job file .* give the path of its mosaic"),
        ("download", {"job": ASSET, "path": 3}, "path: 3: write a folder's path"),
        ("download", {"job": ASSET, "path": "x", "region": "paris"}, "region.file: paris is no file; name a vector file"),
        ("download", {"job": JOB, "on_event": "print"}, "on_event: 'print': give a function"),
        ("download", {"job": JOB, "progress": "tqdm"}, "progress: 'tqdm': write True or False"),
        ("download", {"job": JOB, "accept": "all"}, "accept: 'all': write a list, of updates, new-images"),
        ("download", {"job": JOB, "accept": ["all"]}, "accept: 'all' is none of updates, new-images"),
        ("plan", {"job": None}, "job: None: give a job file's path"),
        ("plan", {"job": JOB, "probe": -1}, "probe: -1: write a number of at least 0"),
        ("plan", {"job": JOB, "probe": "few"}, "probe: 'few': write a number of at least 0"),
        ("export", {"mosaic": None, "out": "x.tif"}, "mosaic: None: write a folder's path"),
        ("export", {"out": None}, r"out: None: name a \.tif or \.nc file"),
        ("export", {"out": "x.tif", "bands": "B4"}, r"bands: 'B4': write a list of names, such as \['B4'\]"),
        ("export", {"out": "x.tif", "window": ("a", 0, 1, 1)}, r"window: \('a', 0, 1, 1\): write 4 numbers: column, row"),
        ("export", {"out": "x.tif", "bbox": [1, 2]}, r"bbox: \[1, 2\]: write 4 numbers: west, south"),
        ("export", {"out": "x.tif", "missing": "nan"}, "missing: 'nan' is none of raise, mask, ignore"),
        ("table", {"mosaic": None, "out": "x.csv"}, "mosaic: None: write a folder's path"),
        ("table", {"out": None}, r"out: None: name a \.parquet"),
        ("table", {"out": "x.csv", "stats": "mean"}, r"stats: 'mean': write a list of names, such as \['mean'\]"),
        ("table", {"out": "x.csv", "by": 3}, "by: 3 is no file and no GeoDataFrame"),
        ("verify", {"target": None}, "target: None: write the path of a mosaic"),
        ("verify", {"resample": -1}, "resample: -1: write a number of at least 0"),
        ("verify", {"resample": "all"}, "resample: 'all': write a number"),
        ("status", {"target": JOB}, "target: {'source': .*…: write the path of a job file or of a mosaic"),
        ("run_status", {"target": None}, "target: None: write the path"),
        ("overviews", {"policies": "mode"}, "policies: 'mode': write band and policy"),
        ("overviews", {"path": None}, "mosaic: None: write a folder's path"),
        ("stac", {"mosaic": None}, "mosaic: None: write a folder's path"),
        ("images", {"collection": "COPERNICUS/S2", "filter": 5}, "filter: 5: write a condition"),
        ("images", {"collection": "COPERNICUS/S2", "order_by": 5}, "order_by: 5: write the name of a property"),
        ("preview", {"output": None}, r"output: None: name a \.png file"),
        ("preview", {"output": "x.png", "min": "dark"}, "min: 'dark': write a number"),
        ("preview", {"output": "x.png", "size": 0}, "size: 0: write a number of at least 1"),
        ("preview", {"output": "x.png", "percentiles": 3}, "percentiles: 3: write 2 numbers: lower, upper"),
        ("preview", {"output": "x.png", "palette": 3}, "palette: 3: write a list of names"),
        ("doctor", {"job": JOB, "service": {}}, "service and auth: a job has these in itself"),
        ("images", {"collection": None}, "asset: None: write an id"),
        ("images", {"collection": "COPERNICUS/S2", "region": [1, 2, 3]}, r"region: \[1, 2, 3\]: write 4 numbers: west"),
        ("images", {"collection": "COPERNICUS/S2", "region": [170, -10, -170, 10]}, "region: west must lie below east"),
        ("inspect", {"asset": 3}, "asset: 3: write an id"),
        ("thumbnail", {"image": ASSET, "max": 1, "bands": "B4"}, "bands: 'B4': write a list of names"),
    ],
)  # fmt: skip
def test_each_says_what_is_wrong(stored: Path, call: str, given: dict[str, Any], message: str) -> None:
    if call in FIRST:
        given = {FIRST[call]: stored, **given}
    with pytest.raises(downloader.DownloadError, match=message) as caught:
        getattr(downloader, call)(**given)
    assert len(str(caught.value)) < 420, "a sentence or two"


def test_four_numbers_and_files_are_regions_wherever_one_is_named(emulator: EmulatorProcess) -> None:
    """Of a job, of a listing: as its keyword `region` takes them."""
    found = downloader.images(
        "COPERNICUS/S2", start="2017-04-01", end="2017-05-15", region=BOX, service={"endpoint": emulator.url},
        auth={"key_file": str(emulator.key_file)},
    )  # fmt: skip
    assert ASSET in [image.id for image in found]
    shape = downloader.Job.from_dict({**JOB, "region": "fields.geojson"}).region
    assert (shape.file, shape.bbox) == ("fields.geojson", None)
