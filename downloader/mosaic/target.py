"""State of a job's mosaic path before a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from downloader.errors import RefusedError
from downloader.job import Job
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.ownership import read_identity, refuse_foreign
from downloader.mosaic.record.scan import scan
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.storage.location import locate
from downloader.mosaic.stored_job import meaning
from downloader.mosaic.updates import plan_update
from downloader.planning import Plan


@dataclass(frozen=True, slots=True)
class TargetState:
    """Contents of a mosaic's path, compared with a plan."""

    path: str
    state: Literal["new", "same", "extension", "refused"]
    """`new`: nothing; `same`: a mosaic of this job; `extension`: a mosaic that the job extends; `refused`: something that
    a run would refuse to write to."""
    reason: str = ""
    """Why it would be refused."""
    stored: Mapping[str, int] = field(default_factory=dict)
    """Group → tiles of the plan that are stored."""
    states: Mapping[str, GroupState] = field(default_factory=dict, repr=False, compare=False)
    """Group → which of its tiles these are."""


def read_target(job: Job, plan: Plan, service: str) -> TargetState:
    """Compare the path of the job's mosaic with a plan. Reads the whole ledger, so call it in a thread.

    Args:
        job: what is to be fetched, and where to.
        plan: the plan of the job.
        service: identity of the service that the pixels come from.

    Raises:
        DriftError: the mosaic that is there means something else.
    """
    location = locate(job.mosaic_path)
    try:
        refuse_foreign(location)
        known = read_identity(job.mosaic_path)
    except RefusedError as error:
        return TargetState(location.name, "refused", str(error))
    except OSError as error:
        return TargetState(location.name, "refused", error.strerror or str(error))
    if known is None:
        return TargetState(location.name, "new")
    new = Identity.of(plan, MosaicSettings.of(job, plan), service, known, meaning(job.dump()))
    settled = plan_update(known, new, location.name, job.source.on_update)
    if settled.starts_refetching and settled.slices is None:
        return TargetState(location.name, "same", "; ".join(settled.notices))
    # The layouts that are there, not those to be: the scan ignores what is not in the ledger.
    states = scan(location.store(), settled.identity.layouts).states
    stored = {name: state.counts().stored for name, state in states.items()}
    return TargetState(
        location.name,
        "extension" if settled.is_extended else "same",
        "; ".join(settled.notices),
        stored,
        states,
    )
