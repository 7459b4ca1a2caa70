"""Protocols of the engine's surroundings: each effect stands behind one, which tests replace."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from downloader.errors import FetchProblem
    from downloader.events import Event
    from downloader.model.image import Image
    from downloader.model.image_query import ImageQuery
    from downloader.planning import PixelRequest, Request, ShardKey


Progress: TypeAlias = "Callable[[Event], object]"
"""A function that is told of each event, on the run's event loop; what it raises ends the run."""


class Clock(Protocol):
    """Time, so that tests need not wait for it."""

    def now(self) -> float:
        """Return the seconds of a clock that never jumps back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class PixelSource(Protocol):
    """Source of pixels."""

    async def fetch(self, request: PixelRequest) -> NDArray[np.void]:
        """Return the pixels asked for, checked: a structured (height, width) array with exactly `request.dtype`.

        The array may be read-only and share memory with the answer's body. Safe to call concurrently.

        Raises:
            TileError: this request brought no pixels; its problem says what to do.
        """


class Catalogue(Protocol):
    """Metadata of images, as the service tells it."""

    async def image(self, asset: str, bands: Collection[str] | None = None) -> Image:
        """Return the image of an id or full name.

        Args:
            asset: id or full name.
            bands: bands that must be usable; others that are not are left out. None wants all.

        Raises:
            JobError: it is no image, or one of the bands cannot be used.
            AuthenticationError: it may not be read.
            StoppedError: the service did not answer for too long.
        """

    async def images(self, query: ImageQuery) -> list[Image]:
        """Return the images that meet a query: by time, then by id, unless it names an order.

        Raises:
            JobError: there is no such collection, a condition is wrong, or far too many images meet them.
            AuthenticationError, StoppedError: as for `image`.
        """
        ...

    async def computed(self, expression: str, name: str) -> Image | None:
        """Return the bands, types and grids that the service reports for an expression; None for a collection of images.

        Args:
            expression: serialised, canonical JSON.
            name: name that the image gets.

        Raises:
            JobError: it computes something else, or the service refuses it.
            AuthenticationError, StoppedError: as for `image`.
        """

    async def pixels(self, request: PixelRequest, subject: str) -> NDArray[np.void]:
        """Return a few pixels that help to choose images: a structured (height, width) array of `request.dtype`.

        Args:
            request: what is asked for.
            subject: what messages say it was about.

        Raises:
            TileError: it is too much for one request.
            JobError: the service refuses it.
            AuthenticationError, StoppedError: as for `image`.
        """


class Limiter(Protocol):
    """Gate of all requests of a job to the service."""

    async def acquire(self) -> int:
        """Wait until a request may start, and return the ticket to give back.

        Raises:
            StoppedError: the limiter gave up on the service.
        """

    def release(self, ticket: int, problem: FetchProblem | None) -> None:
        """Note that a request ended, with pixels (None) or a problem. Never waits; each ticket once."""

    async def again(self, ticket: int) -> None:
        """Wait until another request may start in place of the one that holds `ticket`."""

    @property
    def in_doubt(self) -> bool:
        """Whether so much failed that the service itself may be out, and one request at a time finds out."""

    def restrict(self) -> None:
        """Note that the service restricts this project's parallelism (docs/contract.md §5.2). May be called often."""

    @property
    def in_flight(self) -> int:
        """Requests under way."""

    @property
    def ceiling(self) -> int:
        """Requests that may be under way at the moment."""


class Mosaic(Protocol):
    """Store of pixels. Band names and keys are the plan's; bands are given by their index in the group."""

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        """Return the tiles that are not stored, as band index → bits; empty for a shard that is done."""

    async def place(self, request: Request, pixels: NDArray[np.void]) -> None:
        """Encode the tiles of `request` and keep them until their shard is committed."""

    def fail(self, request: Request, problem: FetchProblem) -> None:
        """Note that the tiles of `request` could not be had; saved with the shard."""

    async def commit(self, key: ShardKey) -> None:
        """Make all that was placed in the shard durable and visible; a no-op where nothing was."""


class Feed(Protocol):
    """Shards to work through, all known from the start or handed out bit by bit."""

    def take(self) -> ShardKey | None:
        """Return the next shard; None where none is at hand."""

    @property
    def is_ended(self) -> bool:
        """Whether no shard will follow those at hand."""

    async def more(self) -> None:
        """Wait until a shard is at hand, or none will follow."""

    def done(self, key: ShardKey) -> None:
        """Accept that a shard is finished: committed, with what failed of it on record."""


class Executor(Protocol):
    """Runner of shards in tasks, processes or machines."""

    async def run(self, shards: Iterable[ShardKey]) -> None:
        """Fetch and store what these shards miss; returns when all is committed or the run was asked to stop.

        Raises:
            DownloadError: the job ended before its work did; everything placed so far is committed.
        """

    @property
    def peak_memory(self) -> int:
        """Largest resident size that a process of its workers had, in bytes; 0 where they are this process."""
