"""Which images a series has: the frozen list, what is new by itself, what arrived late, what is gone."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from downloader.errors import Action, FetchProblem, JobError, TileError
from downloader.expressions.coverage_stack import coverage_bands
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.model.time import instant_us
from downloader.planning import Existing
from downloader.resolve.collection import collect, find_again
from downloader.resolve.search import Search

GRID = PixelGrid(Crs("EPSG:32610"), AffineTransform(10.0, 0, 499980.0, 0, -10.0, 4200000.0), 1000, 1000)


def image(
    day: int,
    *,
    collection: str = "C",
    cloudy: float = 5,
    update: str = "2020-01-01T00:00:00Z",
    bands=("B2", "B3"),
    grid=GRID,
) -> Image:
    return Image(
        f"projects/earthengine-public/assets/{collection}/{day:02d}",
        f"{collection}/{day:02d}",
        tuple(Band(band, np.dtype("<u2"), grid) for band in bands),
        update_time=update,
        start_time=f"2017-04-{day:02d}T12:00:00Z",
        properties={"CLOUDY": cloudy},
    )


class FakeCatalogue:
    """A collection as a list; what is asked of it."""

    def __init__(self, *images: Image, broken: str = "404 asset") -> None:
        self.there = {one.name: one for one in images}
        self.hidden: set[str] = set()
        """Names that a listing leaves out, though they can be read."""
        self.broken = broken
        self.asked: list[str] = []
        self.listed: list[dict[str, object]] = []

    async def image(self, asset: str, bands=None) -> Image:
        self.asked.append(asset)
        name = asset if asset.startswith("projects/") else f"projects/earthengine-public/assets/{asset}"
        if name in self.there:
            return self.there[name]
        action = Action.FAIL_ASSET if self.broken == "404 asset" else Action.FAIL_JOB
        problem = FetchProblem(action, self.broken, f"{asset} not found", 404)
        raise JobError(problem.message) from TileError(problem)

    async def images(self, query) -> list[Image]:
        self.listed.append(asdict(query))
        first, behind = instant_us(query.start or "1970-01-01"), instant_us(query.end or "2100-01-01")
        found = [
            one
            for one in self.there.values()
            if one.id.startswith(f"{query.collection}/")
            if first <= (instant_us(one.start_time) or 0) < behind and one.name not in self.hidden
        ]
        found.sort(key=lambda one: one.properties["CLOUDY"] if query.order_by else one.start_time)
        return found[: query.limit]


class CountingCatalogue(FakeCatalogue):
    """One that computes which part of its upper rows each image covers, and which of them are clear."""

    def __init__(self, *images: Image, rows: dict[str, tuple[float, float]]) -> None:
        super().__init__(*images)
        self.rows = rows
        self.counted: list[list[str]] = []

    async def pixels(self, request, subject):
        here = [one.id for one in self.there.values() if one.id in request.expression]
        self.counted.append(here)
        answer = np.zeros(request.grid.shape, request.dtype)
        height = request.grid.height
        for id_, (covered, clear) in zip(here, coverage_bands(len(here)), strict=True):
            rows = [round(share * height) for share in self.rows[id_]]
            answer[covered][: rows[0]] = 1
            answer[clear][: rows[1]] = 1
        return answer


def job(start="2017-04-01", end="2017-04-10", **source) -> Job:
    many = (
        {"images": source.pop("images")}
        if "images" in source
        else {"collection": "C", "start": start, "end": end}
    )
    return Job.from_dict(
        {
            "source": {**many, **source},
            "region": {"bbox": [500000, 4190000, 505000, 4195000], "crs": "EPSG:32610"},
            "mosaic": {"path": "m"},
        }
    )


async def run(catalogue, a_job, known=None, accept=()):
    existing = (
        None
        if known is None
        else Existing({"": 1}, tuple(lattice.grid for lattice in known.series.lattices), known.listed)
    )
    return await collect(Search(a_job, catalogue, existing=existing, accept=accept))


def ids(found) -> list[str]:
    return [part.id[-2:] for part in found.series.slices]


async def test_a_new_series_is_in_order_of_time() -> None:
    catalogue = FakeCatalogue(image(6), image(3), image(9), image(12))
    found = await run(catalogue, job(properties=["CLOUDY"]))
    assert ids(found) == ["03", "06", "09"]
    assert found.listed.period == (instant_us("2017-04-01"), instant_us("2017-04-10"))
    assert found.listed.facts == {"collection": "C", "every": "image", "mask": "none", "scale": "none"}
    assert [band.id for band in found.image.bands] == ["B2", "B3"]
    (asked,) = catalogue.listed
    assert asked["region"]["type"] == "Polygon"
    assert asked["keep"] == {"CLOUDY"}
    assert found.notices == ()


async def test_a_longer_period_appends_also_what_lies_before() -> None:
    catalogue = FakeCatalogue(image(3), image(6), image(9), image(12), image(15))
    known = await run(catalogue, job("2017-04-05", "2017-04-10"))
    assert ids(known) == ["06", "09"]
    found = await run(catalogue, job("2017-04-01", "2017-04-14"), known)
    assert ids(found) == ["06", "09", "03", "12"]
    assert found.notices == ()


async def test_a_tile_without_a_date_that_joins_later_waits_to_be_accepted() -> None:
    tiles = [replace(image(day), start_time="") for day in (3, 6)]
    catalogue = FakeCatalogue(tiles[0])
    mosaic = job(None, None, every="all", reduce="first")
    known = await run(catalogue, mosaic)
    assert known.listed.period is None
    assert [part.time_us for part in known.series.slices] == [None]
    catalogue.there[tiles[1].name] = tiles[1]
    found = await run(catalogue, mosaic, known)
    assert [one.id for one in found.listed.images] == ["C/03"]
    (notice,) = found.notices
    assert notice.startswith("C/06: not among the images that the mosaic was made of")
    accepted = await run(catalogue, mosaic, known, ["new-images"])
    assert [one.id for one in accepted.listed.images] == ["C/03", "C/06"]


async def test_late_arrivals_are_told_of_and_wait_to_be_accepted() -> None:
    catalogue = FakeCatalogue(image(3), image(9))
    known = await run(catalogue, job())
    catalogue.there |= {image(6).name: image(6), image(12).name: image(12)}
    found = await run(catalogue, job(end="2017-04-20"), known)
    assert ids(found) == ["03", "09", "12"]
    (notice,) = found.notices
    assert notice.startswith("C/06: inside the period that the mosaic covers")
    assert "--accept new-images" in notice
    accepted = await run(catalogue, job(), known, ["new-images"])
    assert ids(accepted) == ["03", "09", "06"]
    again = await run(catalogue, job(end="2017-04-20"), accepted)
    assert ids(again) == ["03", "09", "06", "12"]
    assert again.notices == ()


async def test_an_image_that_is_gone_stays_on_the_list() -> None:
    catalogue = FakeCatalogue(image(3), image(6), image(9))
    known = await run(catalogue, job())
    del catalogue.there[image(6).name]
    found = await run(catalogue, job(), known)
    assert ids(found) == ["03", "06", "09"]
    assert found.series == known.series
    (notice,) = found.notices
    assert notice.startswith(
        "C/06: cannot be read any more (projects/earthengine-public/assets/C/06 not found)"
    )
    assert image(6).name not in await find_again(Search(job(), catalogue), known.listed)


async def test_one_that_the_filter_meets_no_more_is_asked_for_itself() -> None:
    catalogue = FakeCatalogue(image(3), image(6))
    known = await run(catalogue, job(filter="CLOUDY < 10"))
    catalogue.there[image(6).name] = image(6, update="2021")
    catalogue.hidden = {image(6).name}
    found = await run(catalogue, job(filter="CLOUDY < 10"), known)
    assert ids(found) == ["03", "06"]
    assert [one.update_time for one in found.listed.images] == ["2020-01-01T00:00:00Z", "2021"]
    assert catalogue.asked == [image(6).name]


async def test_an_outage_is_no_vanishing() -> None:
    catalogue = FakeCatalogue(image(3), image(6), broken="401")
    known = await run(catalogue, job())
    del catalogue.there[image(6).name]
    with pytest.raises(JobError):
        await run(catalogue, job(), known)


async def test_a_limit_counts_at_the_first_run_and_what_it_leaves_later() -> None:
    images = [image(day, cloudy=20 - day) for day in (2, 4, 6, 8)]
    catalogue = FakeCatalogue(*images)
    known = await run(catalogue, job(limit=3, order_by="CLOUDY"))
    assert ids(known) == ["04", "06", "08"]
    catalogue.there[image(12).name] = image(12, cloudy=1)
    same = await run(catalogue, job(limit=3, order_by="CLOUDY", end="2017-04-20"), known)
    assert ids(same) == ["04", "06", "08"]
    more = await run(catalogue, job(limit=4, order_by="CLOUDY", end="2017-04-20"), known)
    assert ids(more) == ["04", "06", "08", "12"]
    assert "left out by source.limit" in more.notices[0]


async def test_images_of_a_day_that_was_cut_join_its_slice() -> None:
    morning = replace(image(6), start_time="2017-04-06T08:00:00Z")
    evening = replace(image(6), name=f"{image(6).name}b", id="C/06b", start_time="2017-04-06T20:00:00Z")
    catalogue = FakeCatalogue(morning)
    known = await run(catalogue, job(every="day", reduce="first", end="2017-04-06T12:00:00Z"))
    catalogue.there[evening.name] = evening
    found = await run(catalogue, job(every="day", reduce="first", end="2017-04-08"), known)
    assert [part.id for part in found.series.slices] == ["2017-04-06"]
    (part,) = found.series.slices
    assert [name for name, _ in part.images] == [morning.name, evening.name]


async def test_named_images_are_each_taken_once_and_more_of_them_append() -> None:
    catalogue = FakeCatalogue(image(3), image(6), image(9))
    known = await run(catalogue, job(images=["C/06", image(6).name, "C/09"]))
    assert ids(known) == ["06", "09"]
    assert known.listed.period is None
    found = await run(catalogue, job(images=["C/03", "C/06", "C/09"]), known)
    assert ids(found) == ["06", "09", "03"]
    fewer = await run(catalogue, job(images=["C/09"]), known)
    assert ids(fewer) == ["09"], "what the job no longer names is for the mosaic to refuse"
    del catalogue.there[image(6).name]
    gone = await run(catalogue, job(images=["C/06", "C/09"]), known)
    assert ids(gone) == ["06", "09"]
    assert "C/06: cannot be read any more" in gone.notices[0]


async def test_an_image_that_was_never_there_is_a_mistake_of_the_job() -> None:
    with pytest.raises(JobError, match="C/07 not found"):
        await run(FakeCatalogue(image(3)), job(images=["C/03", "C/07"]))


async def test_a_missing_band_needs_a_nodata_value() -> None:
    catalogue = FakeCatalogue(image(3), image(6, bands=("B2",)))
    with pytest.raises(JobError, match=r"C/06 has no band 'B3'.*on_missing_band: nodata"):
        await run(catalogue, job())
    with pytest.raises(JobError, match=r"C/06 has no B3, and B3 no nodata value .* such as \{B3: 0\}"):
        await run(catalogue, job(on_missing_band="nodata"))
    filled = Job.from_dict(
        job(on_missing_band="nodata").model_dump(mode="json", exclude_unset=True)
        | {"mosaic": {"path": "m", "nodata": {"B3": 0}}}
    )
    found = await run(catalogue, filled)
    assert [sorted(lacks) for lacks in found.series.lattices[0].absent] == [[], ["B3"]]


async def test_another_resolution_needs_one_crs_and_keeps_the_first_corner() -> None:
    other = replace(GRID, crs=Crs("EPSG:32611"))
    mixed = FakeCatalogue(image(3), image(6, grid=other))
    coarse = Job.from_dict(job().model_dump(mode="json", exclude_unset=True) | {"grid": {"resolution": 30}})
    with pytest.raises(
        JobError, match=r"EPSG:32610, EPSG:32611; say which one .* grid: \{crs: EPSG:32610, resolution: 30\}"
    ):
        await run(mixed, coarse)
    west = replace(GRID, transform=replace(GRID.transform, translate_x=GRID.transform.translate_x - 10))
    catalogue = FakeCatalogue(image(6))
    known = await run(catalogue, coarse)
    catalogue.there[image(3).name] = image(3, grid=west)
    found = await run(catalogue, coarse, known, ["new-images"])
    assert [lattice.grid for lattice in found.series.lattices] == [
        lattice.grid for lattice in known.series.lattices
    ]
    assert ids(found) == ["06", "03"]


async def test_a_list_in_a_file(tmp_path) -> None:
    (tmp_path / "ids.txt").write_text("# mine\nC/06\n\n C/03 \n")
    listed = Job.parse(
        "source: {images: ids.txt}\nregion: {bbox: [500000, 4190000, 505000, 4195000], crs: 'EPSG:32610'}\n"
        "mosaic: {path: m}\n",
        base=tmp_path,
    )
    found = await run(FakeCatalogue(image(3), image(6)), listed)
    assert ids(found) == ["03", "06"]
    (tmp_path / "ids.txt").write_text("# none\n")
    with pytest.raises(JobError, match="names no image"):
        await run(FakeCatalogue(), listed)
    (tmp_path / "ids.txt").unlink()
    with pytest.raises(JobError, match=r"there is no file .*ids\.txt"):
        await run(FakeCatalogue(), listed)


async def test_several_collections_and_months() -> None:
    """Each is listed; images that begin in other months are left out before the limit counts."""
    may = replace(image(6), name=f"{image(6).name}m", id="C/6m", start_time="2017-05-06T19:00:00Z")
    catalogue = FakeCatalogue(image(3), image(6), may)
    found = await run(catalogue, job(end="2017-06-01", season="MAM"))
    assert ids(found) == ["03", "06", "6m"]
    assert found.listed.facts["months"] == "3, 4, 5"
    found = await run(catalogue, job(end="2017-06-01", months=[5], limit=1))
    assert ids(found) == ["6m"]
    found = await run(catalogue, job(collection=["C", "D"]))
    assert [query["collection"] for query in catalogue.listed[-2:]] == ["C", "D"]
    assert found.listed.facts["collection"] == "C, D"


CHOICE = {"mask": {"band": "B3", "bits": [0]}, "min_cover": 0.5, "min_clear": 0.6}


async def test_images_are_chosen_by_shares_before_the_limit_counts() -> None:
    rows = {"C/03": (0.3, 0.3), "C/06": (1.0, 0.4), "C/07": (0.8, 0.6), "C/08": (0.6, 0.6)}
    catalogue = CountingCatalogue(image(3), image(6), image(7), image(8), rows=rows)
    a_job = job(**CHOICE, limit=1)
    known = await run(catalogue, a_job)
    assert ids(known) == ["07"]
    assert catalogue.counted == [["C/03", "C/06", "C/07", "C/08"]]
    assert {one.id: one.covered for one in known.listed.shares} == pytest.approx(
        {"C/03": 0.3, "C/06": 1, "C/07": 0.8, "C/08": 0.6}, abs=0.02
    )
    assert {one.id: one.clear for one in known.listed.shares} == pytest.approx(
        {"C/03": 1, "C/06": 0.4, "C/07": 0.75, "C/08": 1}, abs=0.03
    )
    assert known.listed.coarse_m == 40
    assert known.listed.facts["min_cover"] == "0.5"
    assert known.listed.facts["min_clear"] == "0.6"
    again = await run(catalogue, a_job, known)
    assert ids(again) == ["07"]
    assert again.listed.shares == known.listed.shares
    assert len(catalogue.counted) == 1


async def test_what_changed_or_is_new_is_counted_and_what_is_on_the_list_stays() -> None:
    rows = {"C/03": (1.0, 1.0), "C/06": (1.0, 0.1)}
    catalogue = CountingCatalogue(image(3), image(6), rows=rows)
    known = await run(catalogue, job(**CHOICE))
    assert ids(known) == ["03"]
    for day in (3, 6):
        catalogue.there[image(day).name] = image(day, update="2021-01-01T00:00:00Z")
    catalogue.there[image(12).name] = image(12)
    rows |= {"C/03": (0.1, 0.1), "C/06": (1.0, 1.0), "C/12": (0.9, 0.9)}
    found = await run(catalogue, job(end="2017-04-14", **CHOICE), known)
    assert catalogue.counted[1:] == [["C/03", "C/06", "C/12"]]
    assert ids(found) == ["03", "12"]
    assert "C/06: inside the period that the mosaic covers" in found.notices[0]


async def test_an_image_that_lacks_the_masks_band_stands_among_the_shares() -> None:
    """It is not counted, and kept by on_missing_band: nodata."""
    catalogue = CountingCatalogue(image(2, bands=("B2",)), image(3), rows={"C/03": (1, 0.9)})
    lenient = job(bands=["B2"], on_missing_band="nodata", **CHOICE)
    filled = lenient.model_dump(mode="json", exclude_unset=True) | {
        "mosaic": {"path": "m", "nodata": {"B2": 0}}
    }
    found = await run(catalogue, Job.from_dict(filled))
    assert ids(found) == ["02", "03"]
    assert catalogue.counted == [["C/03"]]
    assert {one.id: (one.lacks, one.left_by) for one in found.listed.shares} == {
        "C/03": ("", ""), "C/02": ("it has no band 'B3'", ""),
    }  # fmt: skip


async def test_shares_that_leave_no_image_are_named() -> None:
    catalogue = CountingCatalogue(image(3), image(6), rows={"C/03": (0.2, 0.2), "C/06": (1.0, 0.25)})
    with pytest.raises(
        JobError,
        match=r"leaves none of 2 images; the best, C/06, 2\d% of what it covers is clear, less than min_clear 60%",
    ) as caught:
        await run(catalogue, job(**CHOICE))
    assert caught.value.key == "source.min_clear"


async def test_a_limit_counts_the_images_of_all_collections() -> None:
    """In the order asked for, whichever collection they are of; ties by time, then by id."""
    catalogue = FakeCatalogue(
        *(image(day, cloudy=day) for day in (2, 4, 6)),
        *(image(day, collection="D", cloudy=8 - day) for day in (2, 3, 4, 5)),
    )
    both = {"collection": ["C", "D"]}
    assert ids(await run(catalogue, job(**both, limit=3))) == ["02", "02", "03"]
    found = await run(catalogue, job(**both, limit=3, order_by="-CLOUDY"))
    assert [part.id for part in found.series.slices] == ["D/02", "D/03", "C/06"]
    assert all(asked["limit"] is None for asked in catalogue.listed)
    found = await run(catalogue, job(**both, limit=3, order_by="CLOUDY"))
    assert [part.id for part in found.series.slices] == ["C/02", "C/04", "D/05"]
    found = await run(catalogue, job(**both, limit=4, order_by="CLOUDY"), found)
    assert [part.id for part in found.series.slices] == ["C/02", "C/04", "D/05"]
    assert "left out by source.limit" in found.notices[0]


PICK = {"mask": {"band": "B3", "bits": [0]}, "pick": {"clearest": 1, "per": "16d"}}
"""From 1 April on, so that days 1 to 16 are the first period."""


async def test_the_clearest_of_each_period_is_picked() -> None:
    """By the share of the region that is clear, which is less than that of what an image covers; ties by time."""
    rows = {
        "C/02": (0.2, 0.2),
        "C/05": (0.8, 0.6),
        "C/09": (1.0, 0.6),
        "C/18": (1.0, 0.0),
        "C/20": (1.0, 0.1),
    }
    catalogue = CountingCatalogue(*map(image, (2, 5, 9, 18, 20)), rows=rows)
    found = await run(catalogue, job(end="2017-05-01", **PICK))
    assert ids(found) == ["05", "20"]
    assert found.listed.facts["pick"] == "clearest 1 per 16d"
    assert {one.id: one.left_by for one in found.listed.shares} == {
        "C/02": "pick", "C/05": "", "C/09": "pick", "C/18": "pick", "C/20": "",
    }  # fmt: skip
    assert found.listed.coarse_m == 40
    two = await run(catalogue, job(end="2017-05-01", **PICK | {"pick": {"clearest": 2, "per": "all"}}))
    assert ids(two) == ["05", "09"]


async def test_a_later_end_adds_picks_and_changes_none() -> None:
    """Neither by what is clearer now, nor by what arrived late; what needs no counting is not asked for."""
    rows = {"C/02": (1, 0.2), "C/05": (1, 0.4), "C/18": (1, 0.9), "C/20": (1, 0.5), "C/22": (1, 1)}
    catalogue = CountingCatalogue(*map(image, (2, 5, 18, 20, 22)), rows=rows)
    known = await run(catalogue, job(end="2017-04-20", **PICK))
    assert ids(known) == ["05", "18"]
    assert len(catalogue.counted) == 1
    again = await run(catalogue, job(end="2017-04-20", **PICK), known)
    assert again.listed == known.listed
    rows["C/02"] = (1, 1)
    catalogue.there |= {image(3).name: image(3), image(2).name: image(2, update="2021-01-01T00:00:00Z")}
    later = image(28)
    catalogue.there |= {"may": replace(later, name="may", id="C/40", start_time="2017-05-20T12:00:00Z")}
    rows |= {"C/40": (1, 0.01)}
    found = await run(catalogue, job(end="2017-06-01", **PICK), known)
    assert ids(found) == ["05", "18", "40"]
    assert catalogue.counted[1:] == [["C/40"]]
    assert found.notices == ()
    assert [one.left_by for one in found.listed.shares] == ["pick", "", "", ""]


async def test_a_period_with_fewer_picks_takes_what_arrives_late_where_that_is_accepted() -> None:
    rows = {"C/02": (1, 0.2), "C/05": (1, 0.4), "C/07": (1, 0.3)}
    catalogue = CountingCatalogue(image(2), rows=rows)
    a_job = job(end="2017-04-17", **PICK | {"pick": {"clearest": 2, "per": "16d"}})
    known = await run(catalogue, a_job)
    for day in (5, 7):
        catalogue.there[image(day).name] = image(day)
    found = await run(catalogue, a_job, known)
    assert ids(found) == ["02"]
    assert "C/05, C/07: inside the period that the mosaic covers" in found.notices[0]
    assert {one.id: one.left_by for one in found.listed.shares} == {
        "C/02": "",
        "C/05": "late",
        "C/07": "late",
    }
    accepted = await run(catalogue, a_job, found, ["new-images"])
    assert ids(accepted) == ["02", "05"]
    assert {one.id: one.left_by for one in accepted.listed.shares} == {"C/02": "", "C/05": "", "C/07": "pick"}


async def test_a_limit_counts_before_the_picks() -> None:
    rows = {"C/02": (1, 0.2), "C/03": (1, 0.4), "C/05": (1, 0.9)}
    catalogue = CountingCatalogue(*map(image, (2, 3, 5)), rows=rows)
    found = await run(catalogue, job(limit=2, **PICK))
    assert ids(found) == ["03"]
    assert catalogue.counted == [["C/02", "C/03"]]
    found = await run(catalogue, job(limit=2, min_clear=0.3, **PICK))
    assert ids(found) == ["05"]
    assert ids(await run(catalogue, job(limit=1, min_clear=0.3, **PICK))) == ["03"]


async def test_an_image_that_cannot_be_counted_is_never_picked() -> None:
    catalogue = CountingCatalogue(image(2, bands=("B2",)), image(3), rows={"C/03": (1, 0)})
    lenient = {"bands": ["B2"], "on_missing_band": "nodata"}
    found = await run(catalogue, job(**lenient, **PICK))
    assert ids(found) == ["03"]
    (lacking, _) = sorted(found.listed.shares, key=lambda one: one.id)
    assert (lacking.lacks, lacking.left_by) == ("it has no band 'B3'", "pick")
    assert (await run(catalogue, job(**lenient, **PICK), found)).notices == ()
    with pytest.raises(JobError, match="C/02 has no band 'B3'"):
        await run(catalogue, job(bands=["B2"], **PICK))
    del catalogue.there[image(3).name]
    with pytest.raises(JobError, match="none of 1 images can be counted; of C/02, it has no band 'B3'"):
        await run(catalogue, job(**lenient, **PICK))


def test_a_share_of_what_no_mask_leaves_is_refused() -> None:
    with pytest.raises(JobError, match="is the share that mask leaves; add it, such as mask: clouds"):
        job(min_clear=0.5)
    with pytest.raises(JobError, match=r"min_cover: 90: must be at most 1"):
        job(min_cover=90)
