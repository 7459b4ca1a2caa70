"""Canaries, and the body of a pixel request; the service is a function."""

import json

import numpy as np
import pytest

from downloader.earthengine.band_types import settle
from downloader.earthengine.pixels import request_body
from downloader.errors import Action, FetchProblem, JobError, StoppedError, TileError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.planning import BandType, Group, PixelRequest, Plan, ServiceModel, Tiling


def group(name, scale, *bands, size=1000):
    lattice = PixelGrid(
        Crs(code="EPSG:32610"), AffineTransform(scale, 0, 499980, 0, -scale, 4200000), size, size
    )
    window = Window(256, 512, 300, 300)
    made = tuple(Band(band, np.dtype(code), lattice) for band, code in bands)
    return Group(name, lattice, window, made, Tiling(300, 300), (1, 1))


def plan_of(*groups):
    bands = tuple(band for g in groups for band in g.bands)
    return Plan(Image("projects/p/assets/a", "a", bands), groups, ServiceModel())


class Service:
    """Answers canaries with the types of `answers`; its client passes everything through once."""

    def __init__(self, answers):
        self.answers = answers
        self.seen = []
        self.client = self

    async def persist(self, attempt, subject):
        try:
            return await attempt()
        except TileError as error:
            raise StoppedError(f"{subject}: {error}") from error

    async def fetch_as_answered(self, request):
        self.seen.append(request)
        fields = [
            (name, self.answers[name]) for name in (b.id for b in request.bands) if name in self.answers
        ]
        if not fields:
            raise TileError(FetchProblem(Action.RETRY, "reset", "gone"))
        return np.zeros(request.grid.shape, dtype=fields)


TWO = plan_of(group("10m", 10, ("B2", "<u2"), ("B3", "<u2")), group("20m", 20, ("B5", "<u2")))


async def test_a_catalogue_that_is_right_changes_nothing():
    service = Service({"B2": "<u2", "B3": "<u2", "B5": "<u2"})
    settled = await settle(service, TWO)
    assert settled.image is TWO.image
    assert settled.notices == ()


async def test_one_pixel_of_each_group_is_asked_at_the_regions_corner():
    service = Service({"B2": "<u2", "B3": "<u2", "B5": "<u2"})
    await settle(service, TWO)
    assert [[b.id for b in r.bands] for r in service.seen] == [["B2", "B3"], ["B5"]]
    assert [r.grid.shape for r in service.seen] == [(1, 1), (1, 1)]
    corner = service.seen[0].grid.transform
    assert (corner.translate_x, corner.translate_y) == (499980 + 2560, 4200000 - 5120)


async def test_the_answered_type_wins_and_is_said():
    service = Service({"B2": "<u2", "B3": "<f4", "B5": "<f8"})
    settled = await settle(service, TWO)
    assert [band.dtype.str for band in settled.image.bands] == ["<u2", "<f4", "<f8"]
    assert len(settled.notices) == 2
    assert "B3 comes as float32, not as uint16" in settled.notices[0]


async def test_other_names_end_the_job():
    service = Service({"B2": "<u2", "B5": "<u2"})
    with pytest.raises(JobError, match="asked for the bands B2, B3, the service answers B2"):
        await settle(service, TWO)


async def test_a_failure_comes_out_as_itself():
    with pytest.raises(StoppedError, match=r"EPSG:32610.*gone"):
        await settle(Service({}), TWO)


async def test_more_bands_than_one_request_takes_are_asked_in_runs():
    many = plan_of(group("", 10, *((f"B{k}", "u1") for k in range(1500))))
    service = Service({f"B{k}": "u1" for k in range(1500)})
    assert (await settle(service, many)).image is many.image
    assert [len(r.bands) for r in service.seen] == [1024, 476]


def test_the_body_is_the_quickstarts_plus_crs_and_the_whole_affine():
    grid = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10, 0, 499980, 0, -10, 4200000), 256, 256)
    bands = tuple(BandType(name, np.dtype("<u2")) for name in ("B2", "B3", "B4", "B8"))
    assert request_body(PixelRequest("a", grid, bands)) == {
        "fileFormat": "NPY",
        "bandIds": ["B2", "B3", "B4", "B8"],
        "grid": {
            "affineTransform": {
                "scaleX": 10, "shearX": 0, "translateX": 499980, "shearY": 0, "scaleY": -10, "translateY": 4200000,
            },
            "dimensions": {"width": 256, "height": 256},
            "crsCode": "EPSG:32610",
        },
    }  # fmt: skip
    assert request_body(PixelRequest("a", grid, bands), "nightly")["workloadTag"] == "nightly"


def test_numbers_survive_the_wire_to_their_last_bit():
    scale = 1 / 3
    grid = PixelGrid(Crs(code="EPSG:4326"), AffineTransform(scale, 0, -180.1, 0, -scale, 0.1 + 0.2), 1, 1)
    body = json.loads(json.dumps(request_body(PixelRequest("a", grid, (BandType("B", np.dtype("u1")),)))))
    assert AffineTransform.from_json(body["grid"]["affineTransform"]) == grid.transform
