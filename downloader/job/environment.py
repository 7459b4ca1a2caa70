"""Environment variables that say how the service is reached, for jobs that leave it open."""

from __future__ import annotations

import os
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from downloader.errors import JobError
from downloader.job.job import Job
from downloader.job.sections.service import Auth, Service
from downloader.job.service_settings import ServiceSettings

_Settings = TypeVar("_Settings", Job, ServiceSettings)

_SERVICE: Final = {"endpoint": "DOWNLOADER_ENDPOINT", "project": "DOWNLOADER_PROJECT"}
_KEY_FILE: Final = "DOWNLOADER_KEY_FILE"


def with_environment(settings: _Settings) -> _Settings:
    """Return a job, or settings, with what the environment says where they say nothing.

    Raises:
        JobError: a variable has a value that means nothing.
    """
    given = {
        key: os.environ[name]
        for key, name in _SERVICE.items()
        if os.environ.get(name) and key not in settings.service.model_fields_set
    }
    changed: dict[str, Any] = {}
    if given:
        stated = settings.service.model_dump(exclude_unset=True)
        try:
            changed["service"] = Service.model_validate({**stated, **given})
        except ValidationError as error:
            names = " and ".join(f"{_SERVICE[key]}={value}" for key, value in given.items())
            raise JobError(f"{names}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    key_file = os.environ.get(_KEY_FILE)
    endpoint = changed.get("service", settings.service).endpoint
    # An emulator that is started here has a key of its own.
    if key_file and endpoint != "emulator" and "auth" not in settings.model_fields_set:
        changed["auth"] = Auth(key_file=os.path.abspath(os.path.expanduser(key_file)))  # noqa: PTH100,PTH111
    return settings.model_copy(update=changed) if changed else settings
