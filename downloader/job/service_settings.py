"""Settings by which a service is reached: address, credentials, time-outs and limits."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from downloader.job.sections.file_section import FileSection
from downloader.job.sections.service import Auth, Limits, RequestSettings, Service


class ServiceSettings(FileSection):
    """Sections of a job by which its service is reached; all that is needed where there is no job."""

    service: Service = Service.model_construct()
    auth: Auth = Auth.model_construct()
    request: RequestSettings = RequestSettings.model_construct()
    limits: Limits = Limits.model_construct()

    is_local: ClassVar[bool] = True
    """True if this process alone asks the service."""
    mosaic_path: ClassVar[Path | str | None] = None
    """Place of the job's mosaic; None where there is no job."""

    @classmethod
    def of(
        cls,
        service: Mapping[str, Any] | str | None = None,
        auth: Mapping[str, Any] | str | None = None,
        overrides: Sequence[str] = (),
    ) -> Self:
        """Return the settings of sections as the job file has them.

        Args:
            service: `service` of the job file.
            auth: `auth` of the job file.
            overrides: `key.path=value` texts, as `--set` takes them.

        Raises:
            JobError: naming key, value and fix.
        """
        given = {"service": service, "auth": auth}
        values = {name: section for name, section in given.items() if section is not None}
        return cls.parse(json.dumps(values), "settings", overrides=overrides)


def is_this_machine(host: str) -> bool:
    """Return whether a host's name, such as `127.0.0.1`, means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
