"""Open a connection to the service that a job names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.auth.live import live_session
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.client import Access, EarthEngine
from downloader.earthengine.names import HIGH_VOLUME, STANDARD
from downloader.engine.shared_budget import SharedBudget, new_limiter
from downloader.errors import JobError
from downloader.flow.shared_limiter import JobLimiter
from downloader.job import Job
from downloader.job.service_settings import ServiceSettings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


_START_PATIENCE_S = 120.0
"""Seconds in which the catalogue must answer, unless `limits.give_up_after` is less: nothing is lost by giving up."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open client of a service, and its catalogue."""

    client: EarthEngine
    catalogue: EarthEngineCatalogue
    access: Access
    """How other processes reach the same service."""
    limiter: JobLimiter
    """Gives every request of the job its turn."""


@asynccontextmanager
async def connect(
    settings: Job | ServiceSettings,
    credentials: Credentials | None = None,
    budget: SharedBudget | None = None,
) -> AsyncIterator[Connection]:
    """Open a client of a service; an embedded emulator is started for the block, and ended with it.

    Args:
        settings: which service, and as whom.
        credentials: a google-auth object in place of `settings.auth`.
        budget: what the job shares with others of this process; None for a job alone.

    Raises:
        JobError: the emulator does not start, or a key file lies inside the mosaic.
        AuthenticationError: there are no credentials, or unusable ones.
    """
    lent, project = _lent(settings) if credentials is None else (None, None)
    async with reach(settings, credentials or lent, project) as access, access.client() as client:
        shared = new_limiter(settings.limits) if budget is None else budget.limiter(settings.limits, client)
        client.limiter = limiter = JobLimiter(shared, settings.limits.concurrency, client.renewal)
        yield Connection(client, EarthEngineCatalogue(client), access, limiter)


@asynccontextmanager
async def reach(
    settings: Job | ServiceSettings, credentials: Credentials | None = None, project: str | None = None
) -> AsyncIterator[Access]:
    """Yield how a service is reached; nothing is asked and no credentials are looked for yet.

    Args:
        settings: which service, and as whom.
        credentials: a google-auth object in place of `settings.auth`.
        project: that pays where `settings` name none.

    Raises:
        JobError: the emulator does not start, or a key file lies where it must not.
    """
    async with _endpoint(settings) as (standard, high_volume, key_file):
        yield Access(
            standard=standard,
            high_volume=high_volume,
            auth=_auth(settings, credentials, key_file),
            project=settings.service.project or project,
            first_byte_s=settings.request.timeout,
            concurrency=settings.limits.concurrency,
            workload_tag=settings.service.workload_tag,
            patience_s=min(_START_PATIENCE_S, settings.limits.give_up_after),
        )


@asynccontextmanager
async def _endpoint(settings: Job | ServiceSettings) -> AsyncIterator[tuple[str, str, str | None]]:
    """Yield (standard URL, high-volume URL, key file of an emulator started here)."""
    endpoint = settings.service.endpoint
    if endpoint == "emulator":
        from earthengine_emulator.launch import EmulatorProcess, LaunchError, arguments

        served = settings.service.emulator
        switches = arguments(
            rasters={asset: settings.resolve(file) for asset, file in served.rasters.items()},
            folders={asset: settings.resolve(folder) for asset, folder in served.folders.items()},
            latency_ms=served.latency * 1000 or None,
            latency_ms_per_mb=served.latency_per_mb * 1000 or None,
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


def _lent(settings: Job | ServiceSettings) -> tuple[Credentials | None, str | None]:
    """Return credentials and project of a live session of the official client, for a job that leaves both to what is found.

    Objects do not travel to the workers of a cluster.
    """
    chain = settings.auth.kind == "chain" and settings.service.endpoint != "emulator" and settings.is_local
    return live_session() if chain else (None, None)


def _auth(
    settings: Job | ServiceSettings, credentials: Credentials | None, key_file: str | None
) -> AuthSettings:
    if credentials is not None:
        return AuthSettings("credentials", credentials)
    auth = settings.auth
    if auth.kind == "chain" and key_file is not None:
        return AuthSettings("key_file", key_file)
    if auth.kind == "key_file" and auth.key_file is not None:
        _keep_out(settings, settings.resolve(auth.key_file))
        return AuthSettings("key_file", str(settings.resolve(auth.key_file)))
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if auth.kind in {"chain", "application_default"} and named:
        _keep_out(settings, Path(named).expanduser())
    return AuthSettings(auth.kind, auth.access_token_env or auth.access_token_command)


def _keep_out(settings: Job | ServiceSettings, key: Path) -> None:
    """Raise JobError where a key file lies inside the mosaic: it would be given away with it."""
    place = settings.mosaic_path
    if isinstance(place, Path) and key.absolute().resolve().is_relative_to(place.resolve()):
        raise JobError(
            f"{key}: this key file lies inside the mosaic {place}, and whoever gets the one gets the other; move it out"
        )
