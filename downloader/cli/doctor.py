"""`downloader doctor`: check that everything a run needs is in place."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from downloader.cli.options import command, job_options, json_option
from downloader.cli.output import say, say_json

_STATUSES = {
    "service": 2,
    "endpoint": 4,
    "clock": 6,
    "disk": 5,
    "locks": 5,
    "bucket": 5,
    "credentials": 6,
    "project": 6,
    "pixels": 6,
}
"""Check → the exit status of its failure; the first that failed decides."""


@command("doctor")
@click.argument("job", required=False, type=click.Path(path_type=Path))
@job_options
@json_option
def doctor_command(job: Path | None, overrides: list[str], as_json: bool) -> int:
    """Check that everything a run needs is in place, and how to fix what is not.

    Checks versions, disk space, locks, the connection to the service, the clock, credentials, project, permissions and
    what can be seen of the quota, for JOB or else for the defaults and the current folder.

    Examples:
      downloader doctor
      downloader doctor job.yaml
      downloader doctor --project my-project --key-file my-key.json

    Exit status: 0 nothing failed, 2 the job or the address is wrong, 4 the service cannot be reached, 5 the place of the
    mosaic cannot be written, 6 credentials, project or permission.
    """
    from downloader import api

    found = api.doctor(job, overrides=overrides)
    if as_json:
        say_json(found.to_json())
    else:
        columns = (
            shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
        )
        say(found.shown(columns))
    return next((_STATUSES.get(one.name, 1) for one in found.findings if one.level == "fail"), 0)
