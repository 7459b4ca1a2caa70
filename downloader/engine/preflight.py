"""Before a run: the plan, what the mosaic has of it already, and on request what a few real tiles say of the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import anyio.to_thread

from downloader.engine.connect import connect, prepare
from downloader.engine.run import mosaic_settings
from downloader.errors import DriftError, RefusedError
from downloader.mosaic.stored_job import meaning
from downloader.resolve.resolve import gather

if TYPE_CHECKING:
    from downloader.engine.connect import Credentials
    from downloader.engine.probe import Probe
    from downloader.engine.stop import Stop
    from downloader.job import Job
    from downloader.mosaic.record.state import GroupState
    from downloader.planning import Estimate, Plan

__all__ = ["Prospect", "Standing", "standing", "survey"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is at the mosaic's path."""

    path: str
    state: Literal["new", "same", "extension", "refused"]
    """Nothing; a mosaic of this job; one that the job extends; something that a run would refuse."""
    reason: str = ""
    """Why it would be refused."""
    stored: Mapping[str, int] = field(default_factory=dict)
    """Group → tiles of the plan that are stored."""
    states: Mapping[str, GroupState] = field(default_factory=dict, repr=False, compare=False)
    """Group → which of its tiles these are."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a run of a job would meet."""

    plan: Plan
    standing: Standing
    probe: Probe | None = None

    def left(self) -> Estimate:
        """What is to come: the plan's cost in proportion to the tiles that are not stored, group by group."""
        from dataclasses import replace

        whole = self.plan.estimate()
        if self.standing.state in {"new", "refused"}:
            return whole
        tiles, pixels, pixels_left, requests = 0, 0.0, 0.0, 0.0
        for group in self.plan.groups:
            all_of_it = group.count_tiles()
            missing = max(0, all_of_it - self.standing.stored.get(group.name, 0))
            tiles += missing
            pixels += all_of_it * group.itemsize
            pixels_left += missing * group.itemsize
            requests += group.count_requests() * missing / max(1, group.tiling.tiles)
        share = pixels_left / pixels if pixels else 0.0
        count = min(whole.requests, ceil(requests))
        model = self.plan.model
        wire = ceil(whole.wire_bytes * share)
        work_s = count * model.base_s + wire / 1e6 * model.per_mb_s
        return replace(
            whole,
            tiles=tiles,
            requests=count,
            wire_bytes=wire,
            disk_bytes=ceil(whole.disk_bytes * share),
            seconds=max(work_s / model.concurrency, count / model.starts_per_s),
        )

    def map(self, output: str | os.PathLike[str]) -> str:
        """Draw the plan: the images' footprints, the region, the tiles to come and those that are there.

        Args:
            output: file to write, a picture (`.png`) or a page (`.html`).

        Returns:
            One line on what is drawn.

        Raises:
            JobError: another ending, or the file cannot be written.
        """
        from downloader.report.html.plan_map import write_map

        return write_map(self, output)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        standing = self.standing
        return {
            "mosaic": {
                "path": standing.path,
                "state": standing.state,
                "reason": standing.reason,
                "stored": dict(standing.stored),
                "left": self.left().to_json(),
            },
            "probe": self.probe and self.probe.to_json(),
        }


async def survey(
    job: Job, stop: Stop, credentials: Credentials | None = None, *, tiles: int = 0, seed: int | None = None
) -> Prospect:
    """What a run of the job would meet; stores nothing.

    Args:
        job: what is to be fetched.
        stop: who may ask to stop.
        credentials: a google-auth object in place of the job's `auth`.
        tiles: how many random tiles to fetch and time; with 0 only metadata is asked for.
        seed: of that draw; None draws anew each time.

    Raises:
        JobError, AuthenticationError, StoppedError: as a run, before its first tile.
    """
    from downloader.engine.probe import probe
    from downloader.mosaic.open import existing

    async with connect(job, credentials) as connection:
        with stop.cancels():
            try:
                there = await anyio.to_thread.run_sync(existing, job.mosaic_path, abandon_on_cancel=True)
            except RefusedError:
                there = None  # said by its standing
            gathered = await gather(job, connection.catalogue, there)
            plan = gathered.plan(job, there.sides if there else None)
            service = connection.client.service_identity

            try:
                stands = await standing(job, plan, service)
            except DriftError:
                # The catalogue's types are an expectation; what is stored has those that were answered.
                plan, _ = await prepare(job, connection, there)
                try:
                    stands = await standing(job, plan, service)
                except DriftError as error:
                    stands = Standing(str(job.mosaic_path), "refused", str(error))
            found = await probe(job, plan, connection, tiles, seed) if tiles else None
    return Prospect(plan, stands, found)


async def standing(job: Job, plan: Plan, service: str) -> Standing:
    """What is at the mosaic's path, looked at in a thread.

    Raises:
        DriftError: a mosaic that means something else.
    """
    return await anyio.to_thread.run_sync(_standing, job, plan, service, abandon_on_cancel=True)


def _standing(job: Job, plan: Plan, service: str) -> Standing:
    from downloader.mosaic.record.identity import Identity
    from downloader.mosaic.record.ownership import read_identity, refuse_strangers
    from downloader.mosaic.record.scan import scan
    from downloader.mosaic.storage.location import locate
    from downloader.mosaic.updates import settle

    location = locate(job.mosaic_path)
    try:
        refuse_strangers(location)
        known = read_identity(job.mosaic_path)
    except RefusedError as error:
        return Standing(location.name, "refused", str(error))
    except OSError as error:
        return Standing(location.name, "refused", error.strerror or str(error))
    if known is None:
        return Standing(location.name, "new")
    new = Identity.of(plan, mosaic_settings(job, plan), service, known, meaning(job))
    settled = settle(known, new, location.name, job.source.on_update)
    if settled.starts_refetching and settled.slices is None:
        return Standing(location.name, "same", "; ".join(settled.notices))
    # Of what is there, not of what will be: the scan reads the ledger and does not mind what is not in it.
    states = scan(location.store(), settled.identity.layouts).states
    stored = {name: state.counts().stored for name, state in states.items()}
    return Standing(
        location.name,
        "extension" if settled.is_extended else "same",
        "; ".join(settled.notices),
        stored,
        states,
    )
