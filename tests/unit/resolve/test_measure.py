"""Shares of many images in few requests, answered by the emulator's own functions."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
import shapely

from downloader.errors import Action, Cause, FetchProblem, JobError, TileError
from downloader.expressions.formula import parse_formula
from downloader.expressions.masks import MaskRule
from downloader.expressions.recipe import ComputedBand, Recipe
from downloader.model.image import Image
from downloader.planning.image_shares import coarse_grid
from downloader.resolve.measure import measure
from earthengine_emulator.catalogue.model import Lattice
from tests.inputs import input_image
from tests.unit.expressions.emulated import compute

# The images lie at the origin of zone 10, 126°W on the equator's grid.
WEST, NORTH = -127.488744, 0.0
STEP = 10 / 111_320
REGION = shapely.box(WEST + STEP, NORTH - 19 * STEP, WEST + 19 * STEP, NORTH - STEP)
RECIPE = Recipe(
    (ComputedBand("a", parse_formula("a", "k"), np.dtype("u1")),), mask=(MaskRule("qa", pattern=1),)
)


def scenes(count):
    """Images of 20 × 20 pixels that cover more from left to right, one after another; the upper half of each is cloudy."""
    result = {}
    for number in range(count):
        mask = np.tile(np.arange(20) >= 20 * (number + 1) / count, (20, 1))
        cloudy = np.repeat((np.arange(20) < 10).astype("u1")[:, None], 20, axis=1)
        result[f"C/{number:03}"] = {
            "a": np.ma.array(np.ones((20, 20), "u1"), mask=mask),
            "qa": np.ma.array(cloudy),
        }
    return result


class Service:
    """Computes; refuses more images in a request than `most`."""

    def __init__(self, scenes, most=1000):
        self.scenes, self.most, self.requests = scenes, most, []

    async def pixels(self, request, subject):
        self.requests.append(request)
        assert request.grid.width * request.grid.height * len(request.bands) < 10_485_760
        if len(request.bands) > 2 * self.most:
            raise TileError(FetchProblem(Action.SPLIT, Cause.MEMORY, "User memory limit exceeded."))
        t = request.grid.transform
        affine = (t.scale_x, t.shear_x, t.translate_x, t.shear_y, t.scale_y, t.translate_y)
        found = compute(
            request.expression,
            self.scenes,
            Lattice("EPSG:4326", request.grid.width, request.grid.height, affine),
        )
        answer = np.zeros(request.grid.shape, request.dtype)
        for name, values in found.items():
            answer[name] = values.data
        return answer


def shares(service, names, known=None):
    pairs = [(Image(name, name, (), update_time="T"), input_image(name)) for name in names]
    return anyio.run(
        lambda: measure(service, pairs, [RECIPE], coarse_grid(REGION, 10), "source.min_clear", known)
    )


def test_three_hundred_images_take_five_requests():
    service = Service(scenes(300))
    found = shares(service, service.scenes)
    assert len(service.requests) == 5
    assert list(found) == list(service.scenes)
    covered = [one.covered for one in found.values()]
    assert covered == sorted(covered)
    assert covered[0] == 0
    assert covered[-1] == 1
    assert covered[149] == pytest.approx(0.5, abs=0.03)
    assert all(one.clear == pytest.approx(0.5, abs=0.06) for one in found.values() if one.covered)


def test_what_was_counted_before_is_not_asked_for_again():
    service = Service(scenes(10))
    before = shares(service, list(service.scenes)[:8])
    service.requests.clear()
    now = shares(service, service.scenes, before)
    [request] = service.requests
    assert len(request.bands) == 4
    assert list(now) == list(service.scenes)
    service.requests.clear()
    assert shares(service, service.scenes, now) == now
    assert service.requests == []


def test_too_much_for_one_request_is_halved():
    service = Service(scenes(20), most=5)
    found = shares(service, service.scenes)
    assert [len(request.bands) // 2 for request in service.requests] == [20, 10, 5, 5, 10, 5, 5]
    assert found == shares(Service(scenes(20)), service.scenes)


def test_one_image_that_is_too_much_ends_the_job_by_its_name():
    with pytest.raises(JobError, match="C/000 cannot be measured: User memory limit exceeded") as caught:
        shares(Service(scenes(1), most=0), ["C/000"])
    assert caught.value.key == "source.min_clear"
