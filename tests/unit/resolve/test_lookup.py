"""Images asked for one by one: what is an answer, what ends the job, and how many tasks that takes."""

from __future__ import annotations

import asyncio

import pytest

from downloader.errors import Action, AuthenticationError, FetchProblem, JobError, StoppedError, TileError
from downloader.job import Job
from downloader.model.image import Image
from downloader.planning.inputs import JobFiles
from downloader.resolve.lookup import is_of_one_image, look_up, source_facts


class OneByOne:
    """A catalogue whose images are named, all but a few that are gone."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.most_tasks = 0

    async def image(self, asset, bands=None):
        self.most_tasks = max(self.most_tasks, len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        if asset in self.errors:
            raise self.errors[asset]
        return Image(asset, asset, ())


def gone() -> AuthenticationError:
    error = AuthenticationError("may not be read")
    error.__cause__ = TileError(FetchProblem(Action.FAIL_ASSET, "403", "may not be read", 403))
    return error


async def test_each_image_is_asked_for_once_by_a_few_tasks() -> None:
    """A task an image took the memory of 100,000 of them (and a burst in the limiter's queue)."""
    catalogue = OneByOne()
    answers = await look_up(catalogue, [f"a{k % 5000}" for k in range(10_000)], None, is_of_one_image)
    assert list(answers)[:2] == ["a0", "a1"]
    assert len(answers) == 5000
    assert catalogue.most_tasks < 40


async def test_an_error_that_is_expected_is_an_answer() -> None:
    catalogue = OneByOne(b=gone(), c=JobError("no image"))
    answers = await look_up(catalogue, ["a", "b", "c"], None, is_of_one_image)
    assert isinstance(answers["a"], Image)
    assert (str(answers["b"]), str(answers["c"])) == ("may not be read", "no image")


@pytest.mark.parametrize("error", [StoppedError("an outage"), AuthenticationError("no credentials")])
async def test_any_other_error_ends_the_job(error) -> None:
    with pytest.raises(type(error), match=str(error)):
        await look_up(OneByOne(b=error), ["a", "b", "c"], None, is_of_one_image)


def test_facts_name_what_selects_the_images() -> None:
    job = Job.from_dict(
        {
            "source": {"collection": "C", "start": "2020-01-01", "end": "2021-01-01", "filter": "A  <\n 3"},
            "region": {"bbox": [0, 0, 1, 1]},
            "mosaic": {"path": "m"},
        }
    )
    assert source_facts(job, JobFiles()) == {"collection": "C", "filter": "A < 3"}
