"""The run's side of one worker: its shards, its last answer, and calls to it."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import anyio.to_thread

from downloader._version import __version__
from downloader.engine.dask.cluster import Cluster
from downloader.engine.dask.messages import Assignment, Grant, Instruction, Left, Mail
from downloader.engine.dask.worker import beat, start
from downloader.errors import DownloadError, JobError
from downloader.mosaic.storage.disk_errors import trying
from downloader.mosaic.storage.store import Store
from downloader.planning import ShardKey

GONE: Final = (OSError, TimeoutError, KeyError)
"""Errors of a call to a worker that is gone, or does not answer."""

MISSED: Final = 4
"""Calls to a worker that may fail in a row while the scheduler knows it."""

_BEGIN_S: Final = 60.0
"""Seconds in which a worker must be ready."""

_LOOK_S: Final = 3.0
"""Seconds in which a worker must answer: several looks may fail before it takes its run for gone."""

_FORGET_S: Final = 5.0


@dataclass(slots=True, eq=False)
class Link:
    """The connection of a run to one of its workers."""

    cluster: Cluster
    address: str
    store: Store
    """Objects of the mosaic."""
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    """Of the worker in this run, and of its lock."""
    heard: int = 0
    """Number of its last message that the run has."""
    outstanding: dict[ShardKey, int] = field(default_factory=dict)
    """Shards that it has → about how many requests each takes."""
    done: int = 0
    """About how many requests it has made."""
    futures: set[Any] = field(default_factory=set)
    mail: Mail | None = None
    """Its last answer."""
    missed: int = 0
    """Calls in a row that it did not answer."""
    began: bool = False
    left: Left | None = None
    """Set once it is gone."""
    left_at: float = 0.0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Of all that waits for it."""
    is_told: bool = False
    """Whether it was said that its shards have to wait."""

    async def begin(self, assignment: Assignment) -> None:
        """Start its engine.

        Raises:
            DownloadError: it cannot work.
        """
        await anyio.to_thread.run_sync(
            lambda: trying(
                self.store, "a worker's lock", 4096, lambda: self.store.create_worker_lock(self.name)
            )
        )
        try:
            await self.cluster.call(_BEGIN_S, self.address, start, assignment)
            self.began = True
        except GONE:
            self.left = Left()
        except DownloadError as error:
            raise self._named(error) from error
        except Exception as error:
            raise JobError(
                f"a worker at {self.address} cannot begin ({type(error).__name__}: {error}): it needs this package, of"
                f" version {__version__}, with what it needs"
            ) from error

    def _named(self, error: DownloadError) -> DownloadError:
        """Return an error with the worker's address in its message, where it holds nothing but a message."""
        if type(error).__reduce__ is not BaseException.__reduce__:
            return error
        return type(error)(f"worker {self.address}: {error}")

    async def look(self, instruction: Instruction) -> Mail | None:
        """Send an instruction and return the answer; None where it is gone, or does not answer this time."""
        try:
            mail: Mail | None = await self.cluster.call(_LOOK_S, self.address, beat, self.name, instruction)
        except GONE:
            self.missed += 1
            if self.missed >= MISSED:
                self.left = Left()
            return None
        self.missed = 0
        if mail is None:
            self.left = Left()
        else:
            self.mail = mail
        return mail

    async def forget(self) -> None:
        """Tell it that the run is over, where it has not heard so."""
        if self.began:
            instruction = Instruction(Grant(0, 0.0, 0), self.heard, leave=True)
            with suppress(*GONE), anyio.move_on_after(_FORGET_S):
                await self.cluster.call(_LOOK_S, self.address, beat, self.name, instruction)

    def retire(self) -> bool:
        """Withdraw its right to write; return whether that is done."""
        try:
            return self.store.remove_worker_lock(self.name)
        except OSError:
            return False  # nobody knows: the next turn asks again
