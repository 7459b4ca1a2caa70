"""From a job to a service that answers: where it is, who asks it, and what it says of the job's images."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from downloader.earthengine.band_types import answered_types
from downloader.earthengine.pixels import RestPixelSource
from downloader.errors import JobError
from downloader.job import Job
from downloader.planning import Existing, Plan
from downloader.resolve.resolve import resolve

if TYPE_CHECKING:
    from downloader.earthengine.auth.tokens import AuthSettings
    from downloader.earthengine.catalogue import EarthEngineCatalogue
    from downloader.earthengine.client import EarthEngine

__all__ = ["Access", "Connection", "Credentials", "connect", "prepare", "reach"]

Credentials = Any
"""A google-auth credentials object."""

_START_PATIENCE_S = 120.0
"""Seconds in which the catalogue must answer, unless `limits.give_up_after` is less: nothing is lost by giving up."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the service is reached, and as whom: plain values, so that other processes can do the same.

    Key files are named, never read: whoever opens a client reads its own.
    """

    standard: str
    """Base URL for metadata and computed pixels."""
    high_volume: str
    """Base URL for pixels of assets."""
    auth: AuthSettings
    project: str | None
    """The Cloud project that pays; None for what the environment or the credentials name."""
    concurrency: int
    """Connections at most."""
    first_byte_s: float
    workload_tag: str | None = None
    patience_s: float = _START_PATIENCE_S

    def client(self) -> EarthEngine:
        """A client, to be entered by `async with`. Raises JobError where an address is none."""
        from downloader.earthengine.client import EarthEngine
        from downloader.flow.clock import MonotonicClock

        return EarthEngine(
            standard=self.standard,
            high_volume=self.high_volume,
            auth=self.auth,
            project=self.project,
            clock=MonotonicClock(),
            first_byte_s=self.first_byte_s,
            concurrency=self.concurrency,
            workload_tag=self.workload_tag,
            patience_s=self.patience_s,
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """A service that answers, and who asks it."""

    client: EarthEngine
    catalogue: EarthEngineCatalogue
    access: Access
    """How others reach it."""


@asynccontextmanager
async def connect(job: Job, credentials: Credentials | None = None) -> AsyncIterator[Connection]:
    """The job's service; an embedded emulator is started for the block, and ended with it.

    Raises:
        AuthenticationError: no credentials, or unusable ones.
    """
    from downloader.earthengine.catalogue import EarthEngineCatalogue

    async with reach(job, credentials) as access, access.client() as client:
        yield Connection(client, EarthEngineCatalogue(client), access)


@asynccontextmanager
async def reach(job: Job, credentials: Credentials | None = None) -> AsyncIterator[Access]:
    """How the job's service is reached; nothing is asked and no credentials are looked for yet.

    Raises:
        JobError: the emulator does not start, or a key file lies where it must not.
    """
    async with _endpoint(job) as (standard, high_volume, key_file):
        yield Access(
            standard=standard,
            high_volume=high_volume,
            auth=_auth(job, credentials, key_file),
            project=job.service.project,
            first_byte_s=job.request.timeout,
            concurrency=job.limits.concurrency,
            workload_tag=job.service.workload_tag,
            patience_s=min(_START_PATIENCE_S, job.limits.give_up_after),
        )


async def prepare(
    job: Job,
    connection: Connection,
    there: Existing | None,
    accept: Collection[str] = (),
    source: RestPixelSource | None = None,
) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan of a job with the bands' types as the service answers them, and what there is to say.

    Args:
        job: what is fetched.
        connection: where from.
        there: what the mosaic that is there has settled.
        accept: what may differ from it, as `resolve` takes it.
        source: asked for the types; None for the connection's own.
    """
    resolved = await resolve(job, connection.catalogue, there, accept)
    types = await answered_types(source or RestPixelSource(connection.client), resolved.type_questions(job))
    resolved = resolved.with_types(types)
    return resolved.plan(job, there.sides if there else None), resolved.notices


@asynccontextmanager
async def _endpoint(job: Job) -> AsyncIterator[tuple[str, str, str | None]]:
    """(standard URL, high-volume URL, key file of an emulator started here)."""
    from downloader.earthengine.names import HIGH_VOLUME, STANDARD

    endpoint = job.service.endpoint
    if endpoint == "emulator":
        from earthengine_emulator.launch import EmulatorProcess, LaunchError, arguments

        settings = job.service.emulator
        switches = arguments(
            rasters={asset: job.resolve(file) for asset, file in settings.rasters.items()},
            folders={asset: job.resolve(folder) for asset, folder in settings.folders.items()},
            latency_ms=settings.latency * 1000 or None,
            latency_ms_per_mb=settings.latency_per_mb * 1000 or None,
        )
        try:
            process = await anyio.to_thread.run_sync(lambda: EmulatorProcess(switches, control=False))
        except LaunchError as error:
            raise JobError(f"{error}", key="service.emulator") from error
        try:
            yield process.url, process.high_volume_url, str(process.key_file)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(process.close)
    elif endpoint in {"standard", "high-volume", "auto"}:
        pixels = STANDARD if endpoint == "standard" else HIGH_VOLUME
        yield STANDARD, pixels, None
    else:
        yield endpoint.rstrip("/"), endpoint.rstrip("/"), None


def _auth(job: Job, credentials: Credentials | None, key_file: str | None) -> AuthSettings:
    from downloader.earthengine.auth.tokens import AuthSettings

    if credentials is not None:
        return AuthSettings("credentials", credentials)
    auth = job.auth
    if auth.kind == "chain" and key_file is not None:
        return AuthSettings("key_file", key_file)
    if auth.kind == "key_file" and auth.key_file is not None:
        _keep_out(job, job.resolve(auth.key_file))
        return AuthSettings("key_file", str(job.resolve(auth.key_file)))
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if auth.kind in {"chain", "application_default"} and named:
        _keep_out(job, Path(named).expanduser())
    return AuthSettings(auth.kind, auth.access_token_env or auth.access_token_command)


def _keep_out(job: Job, key: Path) -> None:
    """Raise JobError where a key file lies inside the mosaic: it would be given away with it."""
    place = job.mosaic_path
    if isinstance(place, Path) and key.absolute().resolve().is_relative_to(place.resolve()):
        raise JobError(
            f"{key}: this key file lies inside the mosaic {place}, and whoever gets the one gets the other; move it out"
        )
