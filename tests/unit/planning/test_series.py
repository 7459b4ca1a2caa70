"""Images on one lattice: the answer is built first, then fetched through the plan's own requests.

In the manner of stackstac's test: a random table of images with holes, of every offset, with bands that one lacks; the
expected cube is painted pixel by pixel from the table alone. The reader that serves the requests is asked for nothing
outside of what a slice's images cover.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.planning import Existing, Tiling, make_plan
from downloader.planning.recipes import steps_of
from downloader.planning.series import arrange, group_images, series_of_one, slices_of

UTM = Crs("EPSG:32610")
X, Y = 499980.0, 4200000.0
NAMES = ("B2", "B5")
SCALE = {"B2": 10, "B5": 20}
FILL = 0
OFF_THE_EARTH = PixelGrid(UTM, AffineTransform(10, 0, 1e9, 0, -10, 1e9), 9, 9)


def grid(name: str, column: int, row: int, width: int, height: int) -> PixelGrid:
    scale = SCALE[name]
    return PixelGrid(
        UTM, AffineTransform(scale, 0, X + scale * column, 0, -scale, Y - scale * row), width, height
    )


@st.composite
def tables(draw: st.DrawFn) -> list[Image]:
    """Images anywhere around the region, most with both bands."""
    images = []
    for number in range(draw(st.integers(1, 5))):
        column, row = draw(st.integers(-30, 60)), draw(st.integers(-30, 60))
        width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
        names = draw(st.sampled_from([NAMES, NAMES, ("B2",)])) if number else NAMES
        images.append(image(number, column, row, width, height, names, draw(st.integers(1, 3))))
    return images


def image(number: int, column: int, row: int, width: int, height: int, names=NAMES, day: int = 1) -> Image:
    bands = tuple(Band(name, np.dtype("<u2"), grid(name, column, row, width, height)) for name in names)
    return Image(
        f"projects/p/assets/C/{number}",
        f"C/{number}",
        bands,
        update_time="2020-01-01T00:00:00Z",
        start_time=f"2017-04-{day:02d}T{number:02d}:00:00Z",
        properties={"N": number},
    )


def value(number: int, name: str, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What an image shows at pixels of the common lattice; every third pixel of it is masked."""
    seen = (columns + rows + number) % 3 != 0
    return np.where(seen, 1 + number * 10_000 + columns % 50 * 100 + rows % 50 + NAMES.index(name) * 7, FILL)


def painted(members: tuple[Image, ...], name: str, window: Window) -> np.ndarray:
    """The first valid pixel of the images, (height, width) of a window of the common lattice."""
    rows, columns = np.mgrid[window.row : window.row_end, window.column : window.column_end]
    out = np.full(window.shape, FILL)
    for one in reversed(members):
        for band in one.bands:
            if band.id != name:
                continue
            left = round((band.grid.transform.translate_x - X) / SCALE[name])
            top = round((Y - band.grid.transform.translate_y) / SCALE[name])
            inside = (columns >= left) & (columns < left + band.grid.width)
            inside &= (rows >= top) & (rows < top + band.grid.height)
            shown = value(int(one.id[2:]), name, columns, rows)
            out = np.where(inside & (shown != FILL), shown, out)
    return out


SOURCE = {"collection": "C", "start": "2017-01-01", "end": "2018-01-01", "bands": list(NAMES)}


def job(**sections) -> Job:
    values = {
        "source": SOURCE,
        "region": {"bbox": [X, Y - 600, X + 610, Y + 10], "crs": "EPSG:32610"},
        "mosaic": {"path": "m"},
    }
    return Job.from_dict(values | sections)


def meets(of: Job, one: PixelGrid) -> bool:
    """Whether pixels lie in the job's region, by any part of one."""
    (west, south, east, north), t = of.region.bbox, one.transform
    left, top = t.translate_x, t.translate_y
    right, bottom = left + t.scale_x * one.width, top + t.scale_y * one.height
    scale = t.scale_x  # every pixel that the region overlaps is taken whole
    west, east = np.floor((west - X) / scale) * scale + X, np.ceil((east - X) / scale) * scale + X
    north, south = Y - np.floor((Y - north) / scale) * scale, Y - np.ceil((Y - south) / scale) * scale
    return left < east and west < right and bottom < north and south < top


class Reader:
    """Serves what `pixel_request` asks for, from the table alone."""

    def __init__(self, images: list[Image]) -> None:
        self.by_name = {one.name: one for one in images}
        self.by_id = {one.id: one for one in images} | self.by_name

    def read(self, request) -> np.ndarray:
        names = [band.id for band in request.bands]
        members = self.mosaicked(request)
        t = request.grid.transform
        out = np.zeros(request.grid.shape, request.dtype)
        for name in names:
            assert any(band.id == name for one in members for band in one.bands), "asked for a band it lacks"
            assert t.scale_x == SCALE[name]
            column, row = round((t.translate_x - X) / t.scale_x), round((Y - t.translate_y) / t.scale_x)
            out[name] = painted(members, name, Window(column, row, request.grid.width, request.grid.height))
        return out

    def mosaicked(self, request) -> tuple[Image, ...]:
        """The images that are read, the one on top first."""
        return (self.by_name[request.asset],) if request.asset else tuple(self._mosaicked(request.expression))

    def check_members(self, request) -> None:
        """Images of a graph lie where it is asked for, on either of their grids; one alone may tell that there is none."""
        t, shape = request.grid.transform, request.grid.shape
        left, top = t.translate_x, t.translate_y
        right, bottom = left + t.scale_x * shape[1], top + t.scale_y * shape[0]
        members = list(self._mosaicked(request.expression)) if request.expression else []
        for one in members if len(members) > 1 else ():
            # Those of the other pixel size are taken some pixels larger, as for resampling.
            assert any(
                b.grid.transform.translate_x - 200 < right
                and left < b.grid.transform.translate_x + b.grid.width * b.grid.transform.scale_x + 200
                and b.grid.transform.translate_y + 200 > bottom
                and top > b.grid.transform.translate_y - b.grid.height * b.grid.transform.scale_x - 200
                for b in one.bands
            )

    def _mosaicked(self, expression: str):
        """Images of an expression, the one on top first: `mosaic` puts its last on top."""
        ids = [node["constantValue"] for node in nodes(json.loads(expression)) if "constantValue" in node]
        found = [self.by_id[text] for text in ids if isinstance(text, str) and text in self.by_id]
        return dict.fromkeys(sorted(found, key=lambda one: one.start_time))


def nodes(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from nodes(item)


@given(
    images=tables(), every=st.sampled_from(["image", "day", "N"]),
    deep=st.sampled_from([(1, 1, 0), (2, 4, 0), (3, 3, 3), (4, 8, 5), (1, 6, 4)]),
)  # fmt: skip
def test_the_cube_is_what_the_images_show(images, every, deep) -> None:
    """With chunks of `depth` slices in shards of `run`, `stack` of which come in one request."""
    depth, run, stack = deep
    images.sort(key=lambda one: one.start_time)
    named = group_images(images, every)
    series = arrange(named, NAMES, properties=["N"])
    over = {} if every == "image" else {"every": every, "reduce": "first"}
    many = job(source={**SOURCE, "on_missing_band": "nodata", **over})
    steps = steps_of(many, images)
    composites = steps if over else None
    series = replace(series, slices=slices_of(named, ["N"], every, steps), composites=composites)
    met = any(meets(many, band.grid) for one in images for band in one.bands)
    try:
        plan = make_plan(many, series, images[0])
    except JobError:
        assert not met
        return
    assert met or every != "image"
    plan = replace(
        plan,
        groups=tuple(
            replace(
                g,
                tiling=replace(g.tiling, tile=16, shard=2, shard_slices=run, depth=depth),
                shape=(2, 2),
                stack=stack,
            )
            for g in plan.groups
        ),
    )
    reader = Reader(images)
    assert [part.id for part in plan.slices] == [label for label, _ in named]
    assert [part.properties["N"] for part in plan.slices] == [int(members[0].id[2:]) for _, members in named]
    for group in plan.groups:
        (name,) = (band.id for band in group.bands)
        cube = np.full((group.tiling.slices, *group.grid.shape), FILL)
        asked = np.zeros(cube.shape, int)
        for key in group.shards():
            for request in group.requests(key):
                for number in request.block.numbers:
                    block = replace(request.block, slice=number, slices=1)
                    asked_for = plan.pixel_request(replace(request, block=block))
                    pixels = reader.read(asked_for)
                    reader.check_members(asked_for)
                    here = (number, *request.window.slices)
                    cube[here] = pixels[name]
                    asked[here] += 1
                whole = plan.pixel_request(request)
                assert len(whole.bands) == request.block.slices
                assert set(reader.mosaicked(whole)) >= set(reader.mosaicked(asked_for))
        corner = group.grid.transform
        window = Window(
            round((corner.translate_x - X) / SCALE[name]),
            round((Y - corner.translate_y) / SCALE[name]),
            group.grid.width,
            group.grid.height,
        )
        for index, (_, members) in enumerate(named):
            np.testing.assert_array_equal(cube[index], painted(members, name, window))
            extent = group.extents[index]
            touched = np.zeros(group.grid.shape, int)
            for one in extent:
                touched[one.aligned(16).clip(group.grid.bounds).slices] = 1
            if group.absent and 0 in group.absent[index]:
                touched[:] = 0
            np.testing.assert_array_equal(asked[index], touched)


@given(images=tables(), pick=st.integers(0, 4))
def test_an_anchor_keeps_the_grid_where_it_is(images, pick) -> None:
    """Whichever image comes first, the pixels of a mosaic that exists stay on its lattice."""
    first = arrange(group_images(images, "image"), NAMES)
    anchors = [lattice.grid for lattice in first.lattices]
    earlier = image(7, pick * 3 - 50, 20, 9, 9)
    again = arrange(group_images([earlier, *images], "image"), NAMES, anchors=anchors)
    assert [lattice.grid for lattice in again.lattices] == anchors
    for old, new in zip(first.lattices, again.lattices, strict=True):
        assert new.extents[1:] == old.extents


def test_bands_of_one_pixel_size_and_another_phase_are_no_lattice() -> None:
    shifted = replace(grid("B2", 0, 0, 9, 9), transform=AffineTransform(10, 0, X + 5, 0, -10, Y))
    one = Image(
        "n", "i", (Band("A", np.dtype("<u2"), grid("B2", 0, 0, 9, 9)), Band("B", np.dtype("<u2"), shifted))
    )
    series = arrange([("i", (one,))], None)
    assert [[band.id for band in lattice.bands] for lattice in series.lattices] == [["A"], ["B"]]


def test_images_without_a_common_lattice_are_refused_with_what_there_is() -> None:
    other = replace(grid("B2", 0, 0, 9, 9), crs=Crs("EPSG:32611"))
    half = replace(grid("B2", 0, 0, 9, 9), transform=AffineTransform(10, 0, X + 2.5, 0, -10, Y))
    images = [image(k, 0, 0, 9, 9, ("B2",)) for k in range(3)]
    images[1] = replace(images[1], bands=(Band("B2", np.dtype("<u2"), other),))
    images[2] = replace(images[2], bands=(Band("B2", np.dtype("<u2"), half),))
    with pytest.raises(JobError) as caught:
        arrange(group_images([*images, image(3, 5, 5, 9, 9, ("B2",))], "image"), ("B2",))
    assert str(caught.value).splitlines() == [
        "source: these images share no lattice, and nothing is warped unless the job asks for it. Found:",
        "  EPSG:32610, pixels of 10 × 10 m, pixel edges at (0, 0): C/0 B2 and 1 more",
        "  EPSG:32611, pixels of 10 × 10 m, pixel edges at (0, 0): C/1 B2",
        "  EPSG:32610, pixels of 10 × 10 m, pixel edges at (2.5, 0): C/2 B2",
        "To have all on one grid, resampled by the service, add to the job:",
        "  grid: {crs: EPSG:32610, resolution: 10}",
    ]
    pasted = job(grid={"crs": "EPSG:32610", "resolution": 10})
    assert pasted.grid.resolution == (10, 10)


def test_onto_another_grid_extents_are_what_the_image_touches() -> None:
    images = [image(0, 0, 0, 9, 9), image(1, 11, 3, 4, 4)]
    target = PixelGrid(UTM, AffineTransform(30, 0, 0, 0, -30, 0), 1, 1)
    series = arrange(group_images(images, "image"), NAMES, onto=lambda bands: target)
    (lattice,) = series.lattices
    assert [band.id for band in lattice.bands] == list(NAMES)
    for cover, one in zip(lattice.extents, images, strict=True):
        extent = Window.hull(cover)
        for band in one.bands:
            for corner in ((0, 0), (band.grid.width, band.grid.height)):
                x, y = band.grid.transform.at(*corner)
                assert extent.column * 30 <= x <= extent.column_end * 30
                assert -extent.row_end * 30 <= y <= -extent.row * 30


@pytest.mark.parametrize(
    ("images", "bands", "words"),
    [
        ([], NAMES, "no image matches; widen the period"),
        ([image(0, 0, 0, 9, 9, ())], None, "C/0 has no bands"),
        ([image(0, 0, 0, 9, 9)], ("B7",), "no image has a band 'B7'"),
    ],
)
def test_what_cannot_be_arranged_is_refused(images, bands, words) -> None:
    with pytest.raises(JobError, match=words):
        arrange(group_images(images, "image"), bands)


def test_types_that_differ_are_refused() -> None:
    other = image(1, 0, 0, 9, 9, ("B2",))
    other = replace(other, bands=(replace(other.bands[0], dtype=np.dtype("<f4")),))
    with pytest.raises(JobError, match=r"B2 is uint16 in C/0 and float32 in C/1"):
        arrange(group_images([image(0, 0, 0, 9, 9), other], "image"), ("B2",))


def test_days_are_utc_or_the_suns() -> None:
    evening = replace(image(0, 0, 0, 9, 9), start_time="2017-04-20T23:30:00Z", longitude=-122.0)
    later = replace(image(1, 0, 0, 9, 9), start_time="2017-04-21T00:30:00Z", longitude=-122.0)
    assert [label for label, _ in group_images([evening, later], "day")] == ["2017-04-20", "2017-04-21"]
    assert [label for label, _ in group_images([evening, later], "solar_day")] == ["2017-04-20"]
    # Without a footprint the middle of the pixels says where the sun stands: these lie near 123 degrees west.
    bare = [replace(one, longitude=None) for one in (evening, later)]
    assert [label for label, _ in group_images(bare, "solar_day")] == ["2017-04-20"]
    eastern = [replace(one, longitude=179.9) for one in (evening, later)]
    assert [label for label, _ in group_images(eastern, "solar_day")] == ["2017-04-21"]
    nowhere = replace(bare[0], bands=(replace(bare[0].bands[0], grid=OFF_THE_EARTH),))
    with pytest.raises(JobError, match=r"C/0 has no footprint, and its pixels no longitude.*every: day"):
        group_images([nowhere], "solar_day")
    with pytest.raises(JobError, match=r"C/0 has no property 'ORBIT'"):
        group_images([evening], "ORBIT")
    with pytest.raises(JobError, match=r"C/0 has no time"):
        group_images([replace(evening, start_time="")], "day")


@pytest.mark.parametrize(
    ("chunks", "tiling"),
    [
        ("auto", Tiling(61, 61, 3, 61, 1, 128, 128)),
        ({"time": 5}, Tiling(61, 61, 3, 61, 1, 5, 5)),
        ({"time": 1}, Tiling(61, 61, 3)),
    ],
)
def test_planes_smaller_than_a_tile_are_cut_in_deep_chunks(chunks, tiling) -> None:
    images = [image(number, 0, 0, 70, 70, names=("B2",)) for number in range(3)]
    asked = job(source={**SOURCE, "bands": ["B2"]}, mosaic={"path": "m", "chunks": chunks})
    series = arrange(group_images(images, "image"), ("B2",))
    (group,) = make_plan(asked, series, images[0]).groups
    assert group.tiling == tiling
    assert sum(1 for key in group.shards() for _ in group.requests(key)) == 3
    known = {"": Tiling(61, 61, 2, 61, 1, 16, 16)}
    (again,) = make_plan(asked, series, images[0], Existing(known)).groups
    kept = replace(known[""], slices=3)
    assert again.tiling == (kept if chunks == "auto" else tiling), "what is asked for is told as a difference"


def test_depth_wants_a_time_axis() -> None:
    one = image(0, 0, 0, 70, 70, names=("B2",))
    asked = Job.from_dict({"source": {"asset": "C/0"}, "mosaic": {"path": "m", "chunks": {"time": 8}}})
    with pytest.raises(
        JobError, match=r"mosaic\.chunks: goes with a time axis, which this job does not have"
    ):
        make_plan(asked, series_of_one(asked, one), one)
