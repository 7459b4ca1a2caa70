"""Overviews: right pixels at right places, only what is out of date made anew, and no hole taken for data."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import odc.geo.xr  # registers the accessor
import pytest
import rioxarray  # registers the accessor
import xarray as xr

from downloader.errors import JobError, LockedError, RefusedError, StoppedError
from downloader.model.grid import Window
from downloader.model.image import Band
from downloader.mosaic.format.coverage import Coverage
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.overviews.coverage import _worst
from downloader.mosaic.overviews.downsample import POLICIES, halve
from downloader.mosaic.overviews.levels import levels_of, policies_of
from downloader.mosaic.overviews.overviews import overviews
from downloader.mosaic.overviews.stale import of_four
from downloader.mosaic.reader import open_group, open_tree
from downloader.mosaic.record import ledger
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.record.paths import OVERVIEWS_RECORD
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.verify.repair import repair_mosaic
from downloader.mosaic.verify.verify import verify
from downloader.planning import Group, Plan, Tiling
from tests.mosaics import PROBLEM, UTM, band_pixels, coverage_of, day, fill, image_of, one_group, series

_ = (odc.geo.xr, rioxarray)
# affine's own word to rioxarray and odc-geo about their use of it.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

SERVICE = "earth-engine"
LARGE = Window(100, 200, 1300, 1111)
PROFILES = pytest.mark.parametrize("profile", ["sharded", "plain"])


async def make(path: Path, plan: Plan, *, most: int | None = None, **options) -> Plan:
    async with open_for_writing(
        path, plan, MosaicSettings(**options), service=SERVICE, job_text="source: …\n"
    ) as mosaic:
        await fill(mosaic, plan, most=most)
    return plan


def halved(values: np.ndarray, policy: str = "MEAN", valid: np.ndarray | None = None, blank=0) -> np.ndarray:
    """A level of whole arrays: a last odd row or column has only itself."""
    rows, columns = (length % 2 for length in values.shape)
    seen = np.ones(values.shape, bool) if valid is None else valid
    pad = ((0, rows), (0, columns))
    return halve(np.pad(values, pad), np.pad(seen, pad), policy, blank)


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def values(path: Path, level: int, band: str = "B2") -> np.ndarray:
    return open_group(path, level=level, chunks=None, missing="ignore")[band].values


@PROFILES
@pytest.mark.parametrize("shard", [1, 2, 4])
async def test_each_level_is_made_of_the_one_below(tmp_path, profile, shard) -> None:
    plan = await make(tmp_path / "m", one_group(window=LARGE, shard=shard), profile=profile)
    made = overviews(tmp_path / "m")
    assert made.levels == {"": (2, 4)}
    assert made.made == made.shards > 0
    grid = plan.groups[0].grid
    for band, name in enumerate(("B2", "B3")):
        expected = band_pixels(plan.groups[0], band)
        for level in (2, 4):
            expected = halved(expected)
            found = open_group(tmp_path / "m", level=level)
            np.testing.assert_array_equal(found[name].values, expected)
            transform = found[name].rio.transform()
            assert (transform.a, transform.e) == (10 * level, -10 * level)
            assert (transform.c, transform.f) == (grid.transform.translate_x, grid.transform.translate_y)
            assert found[name].rio.crs.to_epsg() == 32610
            assert found.odc.geobox.shape == expected.shape
            assert (coverage_of(tmp_path / "m", f"overviews/{level}") == Coverage.STORED).all()


@PROFILES
async def test_twice_is_once(tmp_path, profile) -> None:
    await make(tmp_path / "m", one_group(window=LARGE), profile=profile)
    overviews(tmp_path / "m")
    before = tree(tmp_path / "m")
    assert overviews(tmp_path / "m").made == 0
    assert {k: v for k, v in tree(tmp_path / "m").items() if "lock" not in k} == {
        k: v for k, v in before.items() if "lock" not in k
    }


async def test_readers_of_the_pixels_see_nothing_of_it(tmp_path) -> None:
    plan = await make(tmp_path / "m", one_group(window=LARGE))
    before = xr.open_zarr(tmp_path / "m").load()
    overviews(tmp_path / "m")
    after = xr.open_zarr(tmp_path / "m").load()
    assert after.identical(before)
    assert verify(tmp_path / "m").is_clean
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        assert await fill(mosaic, plan) == 0
    assert values(tmp_path / "m", 2).shape == (556, 650)


async def test_groups_have_overviews_of_their_own_and_stay_a_tree(tmp_path) -> None:
    fine = one_group(["B2"], name="10m", window=LARGE)
    coarse = one_group(["B5"], name="20m", window=Window(50, 100, 650, 556))
    small = one_group(["B1"], name="60m", window=Window(0, 0, 200, 200))
    groups = fine.groups + coarse.groups + small.groups
    plan = Plan(image_of(tuple(b for g in groups for b in g.bands)), groups, fine.model)
    await make(tmp_path / "m", plan)
    made = overviews(tmp_path / "m")
    assert made.levels == {"10m": (2, 4), "20m": (2,), "60m": ()}
    assert open_group(tmp_path / "m", "20m", level=2)["B5"].shape == (278, 325)
    found = xr.open_datatree(tmp_path / "m", engine="zarr")
    assert found["overviews/10m/4/B2"].shape == (278, 325)
    assert set(open_tree(tmp_path / "m").children) == {"10m", "20m", "60m"}
    with pytest.raises(JobError, match=r"no overview of level 2; make some"):
        open_group(tmp_path / "m", "60m", level=2)
    with pytest.raises(JobError, match=r"no overview of level 3; its overviews are 2, 4"):
        open_group(tmp_path / "m", "10m", level=3)


async def test_the_convention_is_told_where_the_levels_are(tmp_path) -> None:
    plan = one_group(window=LARGE, slices=2)
    await make(tmp_path / "m", plan)
    overviews(tmp_path / "m")
    root = json.loads((tmp_path / "m/zarr.json").read_text())
    assert not {"multiscales", "zarr_conventions"} & root["attributes"].keys()
    group = json.loads((tmp_path / "m/overviews/zarr.json").read_text())
    layout = group["attributes"]["multiscales"]["layout"]
    assert [entry["asset"] for entry in layout] == ["2", "4"]
    assert layout[1] == {
        "asset": "4",
        "derived_from": "2",
        "transform": {"scale": [1, 2, 2], "translation": [0, 0, 0]},
        "spatial:transform": [40, 0, 500980, 0, -40, 4198000],
        "spatial:shape": [278, 325],
        "resampling_method": "average",
    }
    names = [one["name"] for one in group["attributes"]["zarr_conventions"]]
    assert names == ["multiscales", "proj:", "spatial:"]
    assert group["attributes"]["proj:code"] == "EPSG:32610"
    for entry in layout:
        for name in ("B2", "coverage/tiles"):
            node = json.loads((tmp_path / f"m/overviews/{entry['asset']}/{name}/zarr.json").read_text())
            assert root["consolidated_metadata"]["metadata"][f"overviews/{entry['asset']}/{name}"] == node
            assert group["consolidated_metadata"]["metadata"][f"{entry['asset']}/{name}"] == node
    assert group["consolidated_metadata"]["metadata"]["4/B2"]["shape"] == [2, 278, 325]


async def test_nodata_counts_for_nothing_and_policies_differ_by_band(tmp_path) -> None:
    window = Window(0, 0, 600, 520)
    names = tuple(f"by_{policy}" for policy in POLICIES)
    bands = tuple(Band(name, np.dtype("u1"), UTM, pyramiding=name[3:]) for name in names)
    group = Group("", UTM, window, bands, Tiling(600, 520, 1, 256, 2), (1, 1))
    plan = Plan(image_of(bands), (group,), one_group().model)
    await make(tmp_path / "m", plan, nodata=dict.fromkeys(names, 9))
    assert overviews(tmp_path / "m").policies == {"": dict(zip(names, POLICIES, strict=True))}
    for index, name in enumerate(names):
        pixels = band_pixels(group, index)
        expected = halved(pixels, name[3:], pixels != 9, 9)
        np.testing.assert_array_equal(values(tmp_path / "m", 2, name), expected)
    # Known to the mosaic itself, whatever the catalogue says later; what is asked for is kept.
    assert policies_of(read_identity(tmp_path / "m").layouts[0])["by_MODE"] == "MODE"
    assert overviews(tmp_path / "m", policies={"by_MEAN": "max"}).made == 1
    pixels = band_pixels(group, 0)
    np.testing.assert_array_equal(values(tmp_path / "m", 2, "by_MEAN"), halved(pixels, "MAX", pixels != 9, 9))
    again = overviews(tmp_path / "m")
    assert (again.made, again.policies[""]["by_MEAN"]) == (0, "MAX")
    with pytest.raises(JobError, match="no band 'B9'"):
        overviews(tmp_path / "m", policies={"B9": "max"})
    with pytest.raises(JobError, match="choose mean, sample, min"):
        overviews(tmp_path / "m", policies={"by_MEAN": "average"})


async def test_masked_pixels_count_for_nothing(tmp_path) -> None:
    window = Window(0, 0, 600, 520)
    bands = (Band("B2", np.dtype("u2"), UTM), Band("B2_mask", np.dtype("u1"), UTM, mask_of=("B2",)))
    group = Group("", UTM, window, bands, Tiling(600, 520, 1, 256, 2), (1, 1))
    await make(tmp_path / "m", Plan(image_of(bands), (group,), one_group().model))
    overviews(tmp_path / "m")
    valid = band_pixels(group, 1) == 1
    assert valid.any()
    np.testing.assert_array_equal(values(tmp_path / "m", 2), halved(band_pixels(group, 0), valid=valid))
    np.testing.assert_array_equal(values(tmp_path / "m", 2, "B2_mask"), halved(band_pixels(group, 1), "MAX"))


async def test_nan_counts_for_nothing(tmp_path, monkeypatch) -> None:
    plan = one_group(["B2"], dtype="f4", window=Window(0, 0, 600, 520))
    pixels = band_pixels(plan.groups[0], 0)
    pixels[::3, ::2] = np.nan
    monkeypatch.setattr(
        "tests.mosaics.band_pixels",
        lambda group, band, window=None, slice_=0: pixels[window.slices],
    )
    await make(tmp_path / "m", plan)
    overviews(tmp_path / "m")
    np.testing.assert_array_equal(values(tmp_path / "m", 2), halved(pixels, valid=~np.isnan(pixels)))


@PROFILES
async def test_holes_stay_holes(tmp_path, profile) -> None:
    plan = one_group(["B2"], window=LARGE, shard=2)
    async with open_for_writing(
        tmp_path / "m", plan, MosaicSettings(profile=profile), service=SERVICE
    ) as mosaic:
        await fill(mosaic, plan, most=17)
        key = list(plan.groups[0].shards())[-1]
        mosaic.fail(next(plan.groups[0].requests(key)), PROBLEM)
        await mosaic.commit(key)
        await mosaic.finish()
    assert overviews(tmp_path / "m").missing == {"": 13}
    base = open_group(tmp_path / "m", chunks=None, missing="ignore")
    stored = coverage_of(tmp_path / "m") == Coverage.STORED
    seen = stored.repeat(256, 0).repeat(256, 1)[: LARGE.height, : LARGE.width]
    np.testing.assert_array_equal(values(tmp_path / "m", 2), halved(base.B2.values, valid=seen))
    cover = coverage_of(tmp_path / "m", "overviews/2")
    for row, column in np.ndindex(cover.shape):
        below = coverage_of(tmp_path / "m")[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        worst = next(v for v in (Coverage.FAILED, Coverage.MISSING, Coverage.STORED) if (below == v).any())
        assert cover[row, column] == worst
    # A rerun fetches them, and the overviews follow.
    await make(tmp_path / "m", plan, profile=profile)
    assert (coverage_of(tmp_path / "m", "overviews/2") == Coverage.FAILED).any()
    followed = overviews(tmp_path / "m")
    assert 0 < followed.made <= followed.shards
    np.testing.assert_array_equal(
        open_group(tmp_path / "m", level=2)["B2"].values, halved(band_pixels(plan.groups[0], 0))
    )


@PROFILES
async def test_what_is_lost_or_repaired_is_made_again_and_no_more(tmp_path, profile) -> None:
    plan = await make(tmp_path / "m", one_group(["B2"], window=LARGE, shard=1), profile=profile)
    whole = overviews(tmp_path / "m").shards
    (tmp_path / "m/overviews/2/B2/c/1/1").unlink()
    assert overviews(tmp_path / "m").made == 2  # and the one above
    # Damage below: the tile is dropped, and what was made of it is a hole too until it is fetched again.
    damaged = tmp_path / "m/B2/c/0/0"
    damaged.write_bytes(damaged.read_bytes()[:-40] + b"x" * 40)
    repair_mosaic(tmp_path / "m", "source: …\n")
    assert overviews(tmp_path / "m").made == 2
    assert coverage_of(tmp_path / "m", "overviews/2")[0, 0] == Coverage.MISSING
    await make(tmp_path / "m", plan, profile=profile)
    assert overviews(tmp_path / "m").made == 2 < whole
    np.testing.assert_array_equal(values(tmp_path / "m", 4), halved(halved(band_pixels(plan.groups[0], 0))))


async def test_damage_that_nobody_mended_is_named(tmp_path) -> None:
    await make(tmp_path / "m", one_group(["B2"], window=LARGE, shard=1))
    damaged = tmp_path / "m/B2/c/2/3"
    data = bytearray(damaged.read_bytes())
    data[5] ^= 255
    damaged.write_bytes(data)
    with pytest.raises(StoppedError, match=r"B2, tile row 2, column 3 is damaged .* verify --repair"):
        overviews(tmp_path / "m")


class _KilledError(Exception):
    pass


async def test_stopped_at_any_shard_it_goes_on_and_nothing_half_is_seen(tmp_path) -> None:
    await make(tmp_path / "m", one_group(["B2"], window=LARGE, shard=1))
    whole = 3 * 3 + 2 * 2 - 0

    def stop_after(most: int):
        def watch(done: int, total: int) -> None:
            if done == most:
                raise _KilledError

        return watch

    made = 0
    while True:
        try:
            last = overviews(tmp_path / "m", watch=stop_after(3))
            break
        except _KilledError:
            made += 3
            root = json.loads((tmp_path / "m/zarr.json").read_text())
            assert "multiscales" not in root["attributes"]
            assert not any("overviews" in path for path in root["consolidated_metadata"]["metadata"])
    assert last.shards == whole == 13
    assert made + last.made <= whole + 3
    assert values(tmp_path / "m", 4).shape == (278, 325)


async def test_while_it_is_made_anew_coverage_calls_it_missing(tmp_path) -> None:
    plan = one_group(["B2"], window=LARGE, shard=1)
    await make(tmp_path / "m", plan, most=12)
    overviews(tmp_path / "m")
    first = np.pad(coverage_of(tmp_path / "m") == Coverage.STORED, ((0, 1), (0, 0)), constant_values=True)
    await make(tmp_path / "m", plan)

    def killed(done: int, total: int) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        overviews(tmp_path / "m", watch=killed)
    cover = coverage_of(tmp_path / "m", "overviews/2")
    unchanged = first.reshape(3, 2, 3, 2).all((1, 3))  # each from 2 × 2 tiles, in the last row from 1 × 2
    assert unchanged.any()
    assert not unchanged.all()
    assert (cover == np.where(unchanged, Coverage.STORED, Coverage.MISSING)).all()
    overviews(tmp_path / "m")
    assert (coverage_of(tmp_path / "m", "overviews/2") == Coverage.STORED).all()


async def test_further_times_add_and_leave_the_others(tmp_path) -> None:
    small = Window(100, 200, 700, 600)
    await make(tmp_path / "m", series([day(3), day(6)], window=small))
    overviews(tmp_path / "m")
    before = tree(tmp_path / "m/overviews/2/B2/c")
    plan = series([day(3), day(6), day(9)], window=small)
    await make(tmp_path / "m", plan)
    assert open_group(tmp_path / "m", level=2).sizes["time"] == 2
    made = overviews(tmp_path / "m")
    assert (made.made, made.shards) == (1, 3)
    after = tree(tmp_path / "m/overviews/2/B2/c")
    assert before.items() <= after.items()
    found = open_group(tmp_path / "m", level=2, chunks=None)
    assert found.image_id.values.tolist() == ["TEST/03", "TEST/06", "TEST/09"]
    for index in range(3):
        np.testing.assert_array_equal(
            found.B3.values[index], halved(band_pixels(plan.groups[0], 1, slice_=index))
        )


async def test_another_run_keeps_it_away_and_overwriting_takes_it_along(tmp_path) -> None:
    plan = one_group(window=LARGE)
    await make(tmp_path / "m", plan)
    overviews(tmp_path / "m")
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE):
        with pytest.raises(LockedError):
            overviews(tmp_path / "m")
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE, purpose="overwrite"):
        assert not (tmp_path / "m/overviews").exists()
        assert not (tmp_path / "m" / OVERVIEWS_RECORD).exists()
    with pytest.raises(RefusedError, match="is not a mosaic"):
        overviews(tmp_path / "nothing")


async def test_a_lost_ledger_makes_all_anew_and_a_lost_record_nothing(tmp_path) -> None:
    await make(tmp_path / "m", one_group(["B2"], window=LARGE))
    whole = overviews(tmp_path / "m").shards
    for file in (tmp_path / "m/.downloader/ledger").iterdir():
        file.unlink()
    assert overviews(tmp_path / "m").made == whole
    (tmp_path / "m" / OVERVIEWS_RECORD).unlink()
    assert overviews(tmp_path / "m").made == 0
    assert json.loads((tmp_path / "m" / OVERVIEWS_RECORD).read_text()) == {"overviews": 2, "policies": {}}
    for damaged in ("{", '{"overviews": 1}', '{"overviews": 2, "policies": 3}'):
        (tmp_path / "m" / OVERVIEWS_RECORD).write_text(damaged)
        assert overviews(tmp_path / "m").made == 0


async def test_nothing_is_written_where_nothing_is_stale(tmp_path, monkeypatch) -> None:
    await make(tmp_path / "m", one_group(["B2"], window=LARGE))
    overviews(tmp_path / "m")
    monkeypatch.setattr(DiskStore, "put", lambda _, key, __: pytest.fail(key))
    monkeypatch.setattr(DiskStore, "append", lambda _, key, __: pytest.fail(key))
    assert overviews(tmp_path / "m").made == 0


async def test_pixels_that_are_newer_than_a_clock_set_back_are_made_anew(tmp_path, monkeypatch) -> None:
    """The order of the ledger counts: a run whose clock is an hour behind still comes after the overviews."""
    plan = one_group(["B2"], window=LARGE)
    await make(tmp_path / "m", plan)
    overviews(tmp_path / "m")

    class Behind(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) - timedelta(hours=1)

    (tmp_path / "m/B2/c/0/0").unlink()
    monkeypatch.setattr(ledger, "datetime", Behind)
    async with open_for_writing(tmp_path / "m", plan, service=SERVICE) as mosaic:
        await fill(mosaic, plan)
    assert overviews(tmp_path / "m").made > 0


async def test_lost_metadata_is_not_lost_further(tmp_path) -> None:
    await make(tmp_path / "m", one_group(window=LARGE))
    root = json.loads((tmp_path / "m/zarr.json").read_text())
    root["consolidated_metadata"]["metadata"]["B3"] = 3
    (tmp_path / "m/zarr.json").write_text(json.dumps(root))
    with pytest.raises(RefusedError, match="verify --repair"):
        overviews(tmp_path / "m")
    assert json.loads((tmp_path / "m/zarr.json").read_text()) == root
    repair_mosaic(tmp_path / "m", "source: …\n")
    overviews(tmp_path / "m")
    assert values(tmp_path / "m", 2, "B3").shape == (556, 650)
    # And a repair keeps the overviews.
    (tmp_path / "m/B2/zarr.json").unlink()
    repair_mosaic(tmp_path / "m", "source: …\n")
    assert values(tmp_path / "m", 2, "B3").shape == (556, 650)


async def test_more_bands_have_overviews_too(tmp_path) -> None:
    await make(tmp_path / "m", one_group(["B2"], window=LARGE))
    overviews(tmp_path / "m")
    plan = await make(tmp_path / "m", one_group(["B2", "B4"], window=LARGE))
    assert values(tmp_path / "m", 2, "B2").shape == (556, 650)
    overviews(tmp_path / "m")
    np.testing.assert_array_equal(values(tmp_path / "m", 2, "B4"), halved(band_pixels(plan.groups[0], 1)))


async def test_a_small_mosaic_needs_none(tmp_path) -> None:
    await make(tmp_path / "m", one_group(window=Window(0, 0, 512, 300)))
    made = overviews(tmp_path / "m")
    assert made.levels == {"": ()}
    assert str(made).startswith("no overviews")


def test_a_tile_is_as_bad_as_the_worst_below_and_outside_only_where_all_are() -> None:
    for four in itertools.product(range(5), repeat=4):
        found = _worst(np.array(four, np.uint8).reshape(1, 2, 2))[0, 0, 0]
        worst = next(v for v in (4, 0, 1, 2, 3) if v in four)
        assert found == worst
    assert _worst(np.full((2, 3, 1), Coverage.STORED, np.uint8)).tolist() == [[[Coverage.STORED]] * 2] * 2


def test_a_shard_is_made_of_the_four_below() -> None:
    below = np.zeros((1, 3, 5), np.uint64)
    assert not of_four(below).any()
    below[0, 2, 4] = 7
    assert of_four(below).tolist() == [[[0, 0, 0], [0, 0, 7]]]
    below[0, 0, 1] = 3
    assert of_four(below)[0, 0, 0] == 3


async def test_levels_lie_over_the_pixels_whatever_the_grid(tmp_path) -> None:
    plan = one_group(window=Window(3, 5, 1031, 517))
    await make(tmp_path / "m", plan)
    (layout,) = read_identity(tmp_path / "m").layouts
    for level in levels_of(layout, policies_of(layout)):
        here, there = level.layout.group.grid, layout.group.grid
        assert here.transform.at(0, 0) == there.transform.at(0, 0)
        assert here.transform.at(1, 1) == there.transform.at(level.factor, level.factor)
        assert here.width == -(-there.width // level.factor)
