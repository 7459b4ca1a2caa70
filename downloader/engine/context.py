"""Everything that one run works with, in one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.arguments import check_choices
from downloader.engine.connect import Connection
from downloader.engine.resources import Spending
from downloader.engine.shared_budget import SharedBudget
from downloader.engine.stop import Stop
from downloader.job import Job
from downloader.mosaic.subset import Chosen, Selection
from downloader.mosaic.updates import OnUpdate
from downloader.mosaic.writer import ZarrMosaic
from downloader.planning import Plan
from downloader.progress.recorder import Recorder
from downloader.progress.tally import Tally
from downloader.protocols import Feed, Progress

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream
    from google.auth.credentials import Credentials

    from downloader.events import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of one run that are not part of its job."""

    credentials: Credentials | None = None
    """A google-auth object in place of the job's `auth`."""
    overwrite: bool = False
    """Delete the mosaic that is there, if this package made it."""
    accept: Collection[str] = ()
    """What may differ from the mosaic that is there: `updates` of images, whose stored pixels stay; `new-images` that
    arrived late, which are added."""
    only: Chosen | None = None
    """Fetch no more than these tiles, as far as they are missing; None for all."""
    feed: Feed | None = None
    """Hands out the shards of `only`, which may grow meanwhile, to a reader that waits for them; None where all shards are
    known from the start."""
    approve: Callable[[Plan, str], Awaitable[None]] | None = None
    """Awaited with the plan and the service's identity before anything is written; what it raises ends the run."""
    budget: SharedBudget | None = None
    """What the job shares with others of this process; None for a job alone."""
    outcomes: MemoryObjectSendStream[Outcome] | None = None
    """Takes what becomes of each request; as long as it is full, no further request starts."""
    spending: Spending = field(default_factory=Spending)
    """What counts against the job's `limits` already, to which the run adds."""

    def __post_init__(self) -> None:
        check_choices(self.accept, "accept", ("updates", "new-images"))

    def on_update(self, job: Job) -> OnUpdate:
        """Return what to do with images whose `updateTime` changed."""
        return "keep" if "updates" in self.accept else job.source.on_update


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchContext:
    """Everything that fetching the pixels of a plan needs."""

    job: Job
    plan: Plan
    connection: Connection
    memory: int
    """Bytes for pixels on their way: answers, and shards that are open."""
    progress: Progress
    """Told of each event."""
    stop: Stop
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext(FetchContext):
    """Everything that a run works with, once its mosaic is open."""

    mosaic: ZarrMosaic
    chosen: Selection | None = None
    """The part of the mosaic that is fetched; None for all that is missing."""
    tally: Tally
    """Counts of this run's events."""
    recorder: Recorder
    """History of this run, for its report."""

    @property
    def on_update(self) -> OnUpdate:
        """Treatment of images that change while they are fetched."""
        return self.options.on_update(self.job)
