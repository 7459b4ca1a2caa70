"""How a service is reached: where it is, as whom, and how patiently."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr

from downloader.job.sections.file_section import FileSection
from downloader.job.sections.service import Auth, Limits, RequestSettings, Service


class ServiceSettings(FileSection):
    """The sections of a job that say how its service is reached; all that is needed where there is no job."""

    service: Service = Service.model_construct()
    auth: Auth = Auth.model_construct()
    request: RequestSettings = RequestSettings.model_construct()
    limits: Limits = Limits.model_construct()

    _mosaic: Path | str | None = PrivateAttr(default=None)
    _is_local: bool = PrivateAttr(default=True)

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

    def placed(self, base: Path, mosaic: Path | str, *, is_local: bool) -> Self:
        """Return the same settings of a job: its folder, where its mosaic is, and whether this process fetches."""
        copy = self.model_copy()
        copy._base, copy._mosaic, copy._is_local = base, mosaic, is_local  # noqa: SLF001  # its own class
        return copy

    @property
    def is_local(self) -> bool:
        """Whether this process alone asks the service."""
        return self._is_local

    @property
    def mosaic_path(self) -> Path | str | None:
        """Where the job's mosaic is; None where there is no job."""
        return self._mosaic


def is_this_machine(host: str) -> bool:
    """Return whether a host's name, such as `127.0.0.1`, means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
