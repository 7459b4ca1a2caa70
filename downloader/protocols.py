"""The seams: each effect behind a Protocol as narrow as its user needs. Parts fill them, tests replace them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from downloader.errors import FetchProblem
    from downloader.events import Outcome
    from downloader.model.image import Image
    from downloader.planning import Estimate, PixelRequest, Request, ShardKey

__all__ = [
    "Catalogue",
    "Clock",
    "Executor",
    "Feed",
    "Limiter",
    "Mosaic",
    "Patient",
    "PixelSource",
    "Progress",
]


class Clock(Protocol):
    """Time, so that tests need not wait for it."""

    def now(self) -> float:
        """Seconds on a clock that never jumps back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class PixelSource(Protocol):
    """Where pixels come from."""

    async def fetch(self, request: PixelRequest) -> NDArray[np.void]:
        """The pixels asked for, checked: a structured (height, width) array with exactly `request.dtype`.

        The array may be read-only and share memory with the answer's body. Safe to call concurrently.

        Raises:
            TileError: this request brought no pixels; its problem says what to do.
        """
        ...


class Catalogue(Protocol):
    """What there is to fetch."""

    async def image(self, asset: str) -> Image:
        """The image of this id or name. Raises JobError where it is none, AuthenticationError where it may not be read."""
        ...


class Limiter(Protocol):
    """One for the whole job: who may ask the service, and when."""

    async def acquire(self) -> int:
        """Return when a request may start, with a ticket to give back.

        Raises:
            StoppedError: the limiter gave up on the service.
        """
        ...

    def release(self, ticket: int, problem: FetchProblem | None) -> None:
        """The request ended: with pixels (None) or with a problem. Never waits; each ticket once."""
        ...

    @property
    def in_doubt(self) -> bool:
        """Whether so much failed that the service itself may be out, and one request at a time finds out."""
        ...

    def restrict(self) -> None:
        """The service said that it restricts this project's parallelism (contract §5.2). May be called often."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        ...

    @property
    def ceiling(self) -> int:
        """Requests that may be under way at the moment."""
        ...


class Mosaic(Protocol):
    """Where pixels go. Band names and keys are the plan's; bands are given by their index in the group."""

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        """Band index → bits of the tiles not stored; empty for a shard that is done."""
        ...

    async def place(self, request: Request, pixels: NDArray[np.void]) -> None:
        """Encode the tiles of `request` and keep them until their shard is committed."""
        ...

    def fail(self, request: Request, problem: FetchProblem) -> None:
        """Note that the tiles of `request` could not be had; saved with the shard."""
        ...

    async def commit(self, key: ShardKey) -> None:
        """Make all that was placed in the shard durable and visible; a no-op where nothing was."""
        ...


class Feed(Protocol):
    """Shards that come as somebody hands them out."""

    def take(self) -> ShardKey | None:
        """The next shard; None where none is at hand."""
        ...

    @property
    def is_ended(self) -> bool:
        """Whether none will come beyond those at hand."""
        ...

    async def more(self) -> None:
        """Return when a shard is at hand, or none will come."""
        ...

    def done(self, key: ShardKey) -> None:
        """All of a shard that could be had is committed, and what could not is on record."""
        ...


class Progress(Protocol):
    """Who watches: a bar, plain lines, a test."""

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """The run begins; `tiles_done` of the estimate's tiles were stored by earlier runs."""
        ...

    def outcome(self, outcome: Outcome) -> None:
        """One request came to an end."""
        ...

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """One call brought no pixels and will be made again."""
        ...

    def notice(self, text: str) -> None:
        """One line worth knowing, once."""
        ...

    def flow(self, in_flight: int, ceiling: int) -> None:
        """Requests under way, and how many may be."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Patient(Protocol):
    """A watcher that a run waits for, lest what it is told pile up."""

    async def room(self) -> None:
        """Return when it keeps up."""
        ...


class Executor(Protocol):
    """How shards are spread over tasks, processes or machines; entered before its first run, left after its last."""

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """Fetch and store what these shards miss; returns when all is committed or the run was asked to stop.

        Raises:
            DownloadError: the job ended before its work did; everything placed so far is committed.
        """
        ...

    @property
    def peak_memory(self) -> int:
        """Largest resident size that a process of its workers had, in bytes; 0 where they are this process."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
