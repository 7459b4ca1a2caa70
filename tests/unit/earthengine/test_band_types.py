"""Types as they are answered, and the body of a pixel request; the service is a function."""

import json

import numpy as np
import pytest

from downloader.earthengine.band_types import answered_types
from downloader.earthengine.pixels import request_body
from downloader.errors import Action, Cause, FetchProblem, JobError, StoppedError, TileError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.planning import BandType, PixelRequest


def question(*bands, images=("a",)):
    pixel = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10, 0, 499980, 0, -10, 4200000), 1, 1)
    types = tuple(BandType(band, np.dtype("<u2")) for band in bands)
    return [(name, PixelRequest(name, pixel, types)) for name in images]


class Service:
    """Answers with the types of `answers`; its client passes everything through once."""

    def __init__(self, answers, gone=()):
        self.answers = answers
        self.gone = gone
        self.seen = []
        self.client = self

    async def persist(self, attempt, subject):
        try:
            return await attempt()
        except TileError as error:
            kind = JobError if error.problem.action is Action.FAIL_ASSET else StoppedError
            raise kind(f"{subject}: {error}") from error

    async def fetch_as_answered(self, request):
        self.seen.append(request)
        if request.asset in self.gone:
            raise TileError(FetchProblem(Action.FAIL_ASSET, "404 asset", "no such image"))
        fields = [
            (name, self.answers[name]) for name in (b.id for b in request.bands) if name in self.answers
        ]
        if not fields:
            raise TileError(FetchProblem(Action.RETRY, Cause.RESET, "gone"))
        return np.zeros(request.grid.shape, dtype=fields)


TWO = [question("B2", "B3"), question("B5")]


async def test_the_answered_types_are_told_by_band():
    service = Service({"B2": "<u2", "B3": "<f4", "B5": "<f8"})
    types = await answered_types(service, TWO)
    assert {name: dtype.str for name, dtype in types.items()} == {"B2": "<u2", "B3": "<f4", "B5": "<f8"}
    assert [[b.id for b in r.bands] for r in service.seen] == [["B2", "B3"], ["B5"]]


async def test_other_names_end_the_job():
    service = Service({"B2": "<u2", "B5": "<u2"})
    with pytest.raises(JobError, match="asked for the bands B2, B3, the service answers B2"):
        await answered_types(service, TWO)


async def test_a_failure_comes_out_as_itself():
    with pytest.raises(StoppedError, match=r"EPSG:32610.*gone"):
        await answered_types(Service({}), TWO)


async def test_another_image_answers_where_the_first_are_gone():
    service = Service({"B2": "<u2"}, gone={"a", "b"})
    types = await answered_types(service, [question("B2", images=("a", "b", "c", "d"))])
    assert set(types) == {"B2"}
    assert [request.asset for request in service.seen] == ["a", "b", "c"]
    with pytest.raises(JobError, match="no such image"):
        await answered_types(service, [question("B2", images=("a", "b"))])


def test_the_body_is_the_quickstarts_plus_crs_and_the_whole_affine():
    grid = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10, 0, 499980, 0, -10, 4200000), 256, 256)
    bands = tuple(BandType(name, np.dtype("<u2")) for name in ("B2", "B3", "B4", "B8"))
    assert json.loads(request_body(PixelRequest("a", grid, bands))) == {
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
    assert json.loads(request_body(PixelRequest("a", grid, bands), "nightly"))["workloadTag"] == "nightly"
    graph = {"result": "0", "values": {"0": {"constantValue": 1}}}
    computed = json.loads(request_body(PixelRequest("", grid, bands, json.dumps(graph))))
    assert (computed["expression"], computed["bandIds"]) == (graph, ["B2", "B3", "B4", "B8"])


def test_numbers_survive_the_wire_to_their_last_bit():
    scale = 1 / 3
    grid = PixelGrid(Crs(code="EPSG:4326"), AffineTransform(scale, 0, -180.1, 0, -scale, 0.1 + 0.2), 1, 1)
    body = json.loads(request_body(PixelRequest("a", grid, (BandType("B", np.dtype("u1")),))))
    assert AffineTransform.from_json(body["grid"]["affineTransform"]) == grid.transform
