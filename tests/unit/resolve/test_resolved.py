"""Types before plans: which pixels are asked for them, and what an answer changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from downloader.errors import JobError
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.planning import ImageList
from downloader.planning.inputs import JobFiles
from downloader.planning.samples import Point, Points, Sample, SampleList
from downloader.planning.series import arrange, group_images, series_of_one
from downloader.resolve.resolved import ResolvedSource


def grid(scale: float = 10, x: float = 499980) -> PixelGrid:
    side = round(100_000 / scale)
    return PixelGrid(Crs(code="EPSG:32610"), AffineTransform(scale, 0, x, 0, -scale, 4200000), side, side)


def image(name: str = "a", day: int = 1, **bands: PixelGrid) -> Image:
    made = tuple(Band(band, np.dtype("<u2"), own) for band, own in (bands or {"B2": grid()}).items())
    return Image(f"projects/p/assets/{name}", name, made, start_time=f"2020-01-{day:02d}T00:00:00Z")


def job(source: dict | None = None, **sections) -> Job:
    return Job.from_dict({"source": source or {"asset": "a"}, "mosaic": {"path": "m"}, **sections})


def asked(questions) -> list[list[tuple[str, list[str]]]]:
    return [[(name, [band.id for band in request.bands]) for name, request in one] for one in questions]


def at(request) -> tuple[float, float]:
    return request.grid.transform.translate_x, request.grid.transform.translate_y


NAME = "projects/p/assets/a"


def one(image: Image, job: Job) -> ResolvedSource:
    return ResolvedSource(image, series=series_of_one(job, image))


def test_one_pixel_of_each_lattice_is_asked_at_the_regions_corner() -> None:
    asks = job(region={"window": {"column": 256, "row": 512, "width": 300, "height": 300}})
    questions = one(image(B2=grid(), B3=grid(), B5=grid(20)), asks).type_questions(asks)
    assert asked(questions) == [[(NAME, ["B2", "B3"])], [(NAME, ["B5"])]]
    requests = [one[0][1] for one in questions]
    assert [request.grid.shape for request in requests] == [(1, 1), (1, 1)]
    assert at(requests[0]) == (499980 + 2560, 4200000 - 5120)


def test_only_bands_asked_for_are_asked_and_masks_with_them() -> None:
    asks = job({"asset": "a", "bands": ["B3"]}, mosaic={"path": "m", "mask": "any"})
    found = one(image(B2=grid(), B3=grid()), asks).type_questions(asks)
    assert asked(found) == [[(NAME, ["B3", "mask"])]]
    assert found[0][0][1].expression, "masks are computed"


def test_more_bands_than_one_request_takes_are_asked_in_runs() -> None:
    source = one(image(**{f"B{k}": grid() for k in range(1500)}), job())
    assert [len(one[0][1]) for one in asked(source.type_questions(job()))] == [1024, 476]


def test_a_region_outside_is_refused_before_anything_is_asked() -> None:
    asks = job(region={"window": {"column": 99_999_000, "row": 0, "width": 3, "height": 3}})
    with pytest.raises(JobError, match="outside"):
        one(image(), asks).type_questions(asks)


def series(*images: Image) -> ResolvedSource:
    named = group_images(images, "image")
    made = arrange(named, None)
    return ResolvedSource(images[0], series=made, listed=ImageList(tuple(named)))


SERIES = {"collection": "C", "start": "2020-01-01", "end": "2021-01-01"}
BOX = {"bbox": [500000, 4190000, 505000, 4195000], "crs": "EPSG:32610"}


def test_of_a_series_the_first_image_in_the_region_speaks_and_others_stand_by() -> None:
    away = image("away", 1, B2=grid(x=499980 + 200_000))
    images = [away, *(image(f"i{day}", day) for day in range(2, 20))]
    (question,) = series(*images).type_questions(job(SERIES, region=BOX))
    names = [name.rpartition("/")[2] for name, _ in question]
    assert names == [f"i{day}" for day in range(2, 11)], "eight alternatives, none outside the region"


def test_a_band_that_the_first_image_lacks_is_asked_of_the_next_that_has_it() -> None:
    found = series(image("a", 1), image("b", 2, B2=grid(), B3=grid()))
    made = arrange(group_images([image("a", 1), image("b", 2, B2=grid(), B3=grid())], "image"), ("B2", "B3"))
    questions = replace(found, series=made).type_questions(job(SERIES, region=BOX))
    assert [
        (one[0][0].rpartition("/")[2], bands) for one in questions for _, bands in asked([one])[0][:1]
    ] == [
        ("a", ["B2"]),
        ("b", ["B3"]),
    ]


def samples() -> ResolvedSource:
    rows = tuple(Point(str(k), 500000.0 + 1000 * k, 4195000.0, -123.0, 37.9, f"line {k}") for k in range(3))
    first, second = image("a"), image("b", 2)
    return ResolvedSource(
        first,
        JobFiles(points=Points(Crs(code="EPSG:32610"), (), rows)),
        samples=SampleList(
            Crs(code="EPSG:32610"),
            (),
            (Sample(rows[0], ""), Sample(rows[1], first.name), Sample(rows[2], second.name)),
        ),
        listed=ImageList(tuple((one.id, (one,)) for one in (first, second))),
        views={one.name: one for one in (first, second)},
    )


def test_samples_are_asked_for_at_their_points() -> None:
    (question,) = samples().type_questions(job(SERIES, region={"points": {"file": "p.csv", "chip": 32}}))
    assert [name.rpartition("/")[2] for name, _ in question] == ["a", "b"]
    assert at(question[0][1]) == (501000 - 501000 % 10, 4195000)


@pytest.mark.parametrize(
    "source", [one(image(B2=grid(), B3=grid()), job()), series(image("a"), image("b", 2)), samples()]
)
def test_the_answered_type_wins_and_is_said(source: ResolvedSource) -> None:
    changed = source.with_types({"B2": np.dtype("<f4")})
    assert changed.image.bands[0].dtype == np.dtype("<f4")
    (notice,) = changed.notices
    assert "B2 comes as float32, not as uint16" in notice
    if source.series is not None:
        assert changed.series.lattices[0].bands[0].dtype == np.dtype("<f4")
    if source.samples:
        assert {band.dtype for one in changed.views.values() for band in one.bands} == {np.dtype("<f4")}


def test_a_catalogue_that_is_right_changes_nothing() -> None:
    source = one(image(), job())
    assert source.with_types({"B2": np.dtype("<u2")}) is source
