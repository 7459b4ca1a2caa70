"""A season in three steps, for a workflow engine: fetch, make overviews, hand over a GeoTIFF.

The steps are plain functions of paths and texts: what goes from one to the next can be stored and shown, and each may be
run again at any time, since what is there is not fetched again. `flow_of` makes a flow of Prefect (3) of them; without
an engine `season` is a function like any other.

    python flow.py job.yaml            # by itself
    python flow.py job.yaml --prefect  # as a flow of Prefect
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import downloader


def fetch(job: str) -> str:
    """Fetch what the job misses; the mosaic's path. Fails for good, or so that a retry continues."""
    try:
        report = downloader.download(job, progress=False)
    except downloader.IncompleteError as error:
        # Some tiles failed: what follows works with what is there, and says so.
        report = error.report
    return report.mosaic


def look(mosaic: str) -> str:
    """Make the overviews that are missing; the mosaic's path again."""
    downloader.overviews(mosaic)
    return mosaic


def hand_over(mosaic: str, out: str) -> list[str]:
    """A GeoTIFF for each band; their paths."""
    files = downloader.export(mosaic, Path(out) / "{band}.tif", missing="mask")
    return [str(one.file) for one in files]


def season(job: str, out: str) -> list[str]:
    """The steps one after the other."""
    return hand_over(look(fetch(job)), out)


def worth_a_retry(error: BaseException) -> bool:
    """Whether the same step may succeed later: a quota, an outage, another run at work; not a wrong job or key."""
    return isinstance(error, downloader.StoppedError | downloader.LockedError)


def flow_of() -> Callable[[str, str], list[str]]:
    """The same as a flow of Prefect: retries where they help, each step on the engine's page."""
    from prefect import flow, task

    def again(_task: object, _run: object, state: object) -> bool:
        try:
            state.result()  # type: ignore[attr-defined]
        except BaseException as error:  # noqa: BLE001  # whatever it was
            return worth_a_retry(error)
        return False

    fetching = task(fetch, retries=20, retry_delay_seconds=900, retry_condition_fn=again)
    looking, handing = task(look), task(hand_over)

    @flow(name="season")
    def as_flow(job: str, out: str) -> list[str]:
        return handing(looking(fetching(job)), out)

    return as_flow


if __name__ == "__main__":
    run = flow_of() if "--prefect" in sys.argv else season
    print(*run(sys.argv[1], "out"), sep="\n")
