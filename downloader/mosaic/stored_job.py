"""The job file inside a mosaic: written when the mosaic is created, read to repair it or to compare it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from downloader.errors import DownloadError, JobError
from downloader.job import Job
from downloader.job.service_settings import is_this_machine
from downloader.job.yaml import dump, parse
from downloader.mosaic.record.paths import JOB
from downloader.mosaic.storage.location import Location, locate

_BASE: Final = re.compile(r"# Relative paths start from (?P<base>.+), seen from the mosaic\.\n")
_SECTIONS: Final[tuple[str, ...]] = ("source", "region", "grid", "mosaic")
"""Sections that determine what a mosaic is; the others say with which credentials it is fetched, and how fast."""


def freeze(job: Job) -> str:
    """Return the job as its author wrote it, with a first line that says where its relative paths start from.

    That folder is given relative to the mosaic, so that both may be moved together; there is no such line where the
    mosaic lies in a bucket. A command that prints tokens is left out: its words may hold a secret, and whoever gets the
    mosaic would get a command to run.
    """
    text = job.dump()
    if job.auth.access_token_command is not None:
        text = dump({key: value for key, value in parse(text, "job").values.items() if key != "auth"})
    if isinstance(job.mosaic_path, str):
        return text
    base = os.path.relpath(job.resolve(""), job.mosaic_path)
    return f"# Relative paths start from {base}, seen from the mosaic.\n{text}"


def meaning(text: str) -> str:
    """Return the sections of a job that determine the mosaic; empty for an empty text.

    They are without the mosaic's path, and hold no secret and no fact of the machine.
    """
    if not text.strip():
        return ""
    values = parse(text, "job").values
    kept = {name: values[name] for name in _SECTIONS if name in values}
    kept["mosaic"] = {**kept.get("mosaic", {}), "path": "."}
    return dump(kept)


def thaw(mosaic: Path | str, stated: str, service: str, overrides: Sequence[str] = ()) -> Job:
    """Return the job of an existing mosaic.

    A mosaic may come from somebody else, so its job chooses what is fetched and nothing else: its sections `auth` and
    `executor` are not used, and of `service` only the emulator and an endpoint on this machine or of Google. Credentials
    and the project are those of the caller.

    Args:
        mosaic: its folder, or its URL; relative paths of the job then start from the current folder.
        stated: what `meaning` returned when it was made, for a mosaic that lost its job file.
        service: whose pixels it holds.
        overrides: `key.path=value` texts, as `--set` takes them.

    Raises:
        JobError: there is none, it cannot be read, or it names an endpoint that is not trusted.
    """
    location = locate(mosaic)
    file = f"{location.name}/{JOB}"
    text = _stored_text(location)
    where = location.name if location.has_lease else str(Path(mosaic).absolute())
    base, name = Path(), file
    if text.strip():
        found = None if location.has_lease else _BASE.match(text)
        base = Path(os.path.normpath(Path(where) / found["base"])) if found else base
    elif stated:
        text, name = stated, f"{mosaic}: the job in its attributes"
        if service.startswith("emulator") and not any(o.startswith("service.endpoint=") for o in overrides):
            overrides = [*overrides, "service.endpoint=emulator"]
    else:
        raise JobError(
            f"{mosaic}: its job file was lost ({file}), and its attributes hold none; name the job file in place of the mosaic"
        )
    text = dump(_trusted(parse(text, name).values, name, overrides))
    return Job.parse(text, name, base, [*overrides, f"mosaic.path={json.dumps(where)}"])


def _stored_text(location: Location) -> str:
    """Return the mosaic's job file; empty where it cannot be read."""
    try:
        return (location.read(JOB) or b"").decode()
    except (DownloadError, UnicodeDecodeError):
        return ""


def _trusted(values: Mapping[str, Any], name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the parts of a job that are taken from a mosaic. Raises JobError for an endpoint of somebody else's."""
    kept = {key: value for key, value in values.items() if key not in {"auth", "service", "executor"}}
    service = values.get("service")
    if isinstance(service, dict):
        kept["service"] = {key: service[key] for key in ("endpoint", "emulator") if key in service}
        endpoint = service.get("endpoint")
        host = urlsplit(endpoint).hostname if isinstance(endpoint, str) else None
        said = {override.partition("=")[0].strip() for override in overrides}
        is_known = host is None or is_this_machine(host) or host.endswith(".googleapis.com")
        if not is_known and not said & {"service", "service.endpoint"}:
            raise JobError(
                f"{name}: service.endpoint: no credentials go to {host} because a mosaic says so; add "
                f"--endpoint {endpoint} where you trust it, or name the job file in place of the mosaic"
            )
    return kept
