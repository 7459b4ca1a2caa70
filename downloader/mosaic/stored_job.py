"""The job that a mosaic keeps: written into it when it is made, read back to repair it or to compare it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from downloader.earthengine.names import is_this_machine
from downloader.errors import JobError
from downloader.job import Job
from downloader.job.yaml import dump, parse

__all__ = ["freeze", "meaning", "thaw"]

_BASE: Final = re.compile(r"# Relative paths start from (?P<base>.+), seen from the mosaic\.\n")
_SECTIONS: Final[tuple[str, ...]] = ("source", "region", "grid", "mosaic")
"""What says what a mosaic is; the other sections say who fetches it, and how fast."""


def freeze(job: Job) -> str:
    """The job as its author wrote it, with a first line that says where its relative paths start from.

    That folder is told as seen from the mosaic, so that both may be moved together; nothing is told where the mosaic
    lies in a bucket, from which no way leads to a folder. A command that prints tokens is left out: its words may hold a
    secret, and whoever gets the mosaic would get a command to run.
    """
    text = job.dump()
    if job.auth.access_token_command is not None:
        text = dump({key: value for key, value in parse(text, "job").values.items() if key != "auth"})
    if isinstance(job.mosaic_path, str):
        return text
    base = os.path.relpath(job.resolve(""), job.mosaic_path)
    return f"# Relative paths start from {base}, seen from the mosaic.\n{text}"


def meaning(job: Job) -> str:
    """The sections of the job that say what the mosaic is, without its path: no secret, and nothing of the machine."""
    values = parse(job.dump(), "job").values
    kept = {name: values[name] for name in _SECTIONS if name in values}
    kept["mosaic"] = {key: value for key, value in kept["mosaic"].items() if key != "path"} | {"path": "."}
    return dump(kept)


def thaw(mosaic: Path | str, stated: str, service: str, overrides: Sequence[str] = ()) -> Job:
    """The job of an existing mosaic.

    A mosaic may come from a stranger: what its job says is fetched, but no command of it is run, no cluster of it is
    joined, and no credentials go to a server that only it names.

    Args:
        mosaic: its folder, or its URL; relative paths of the job then start from the current folder.
        stated: what `meaning` said when it was made, for one that lost its job file.
        service: whose pixels it holds.
        overrides: `key.path=value` texts, as `--set` takes them.

    Raises:
        JobError: there is none, it cannot be read any more, or it asks for one of these.
    """
    from downloader.mosaic.record.paths import JOB
    from downloader.mosaic.storage.location import locate

    location = locate(mosaic)
    file = f"{location.name}/{JOB}"
    try:
        text = (location.read(JOB) or b"").decode()
    except (OSError, UnicodeDecodeError):
        text = ""
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
    if not any(o.partition("=")[0].strip().startswith("executor") for o in overrides):
        # A cluster runs what it likes where it is joined: none is joined because a mosaic says so.
        overrides = [*overrides, "executor=local"]
    path = json.dumps(where)
    job = Job.parse(text, name, base, [*overrides, f"mosaic.path={path}"])
    _distrust(job, name, overrides)
    return job


def _distrust(job: Job, name: str, overrides: Sequence[str]) -> None:
    said = {override.partition("=")[0].strip() for override in overrides}
    if job.auth.access_token_command is not None and not said & {"auth", "auth.access_token_command"}:
        raise JobError(
            f"{name}: auth.access_token_command: no command is run because a mosaic says so; name the job file in place "
            "of the mosaic, or a --key-file"
        )
    host = urlsplit(job.service.endpoint).hostname
    known = host is None or is_this_machine(host) or host.endswith(".googleapis.com")
    if not known and not said & {"service", "service.endpoint"}:
        raise JobError(
            f"{name}: service.endpoint: no credentials go to {host} because a mosaic says so; add "
            f"--endpoint {job.service.endpoint} where you trust it, or name the job file in place of the mosaic"
        )
