"""`downloader doctor`: check that everything a run needs is in place."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from downloader.cli.options import command, job_options, json_option
from downloader.cli.output import say, say_json

_STATUSES = {
    2: {"service"},
    4: {"endpoint"},
    5: {"disk", "locks", "bucket"},
    6: {"clock", "credentials", "project", "pixels"},
}
"""Exit status → checks whose failure it is; the first that failed decides."""


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
    failed = [one.name for one in found.findings if one.level == "fail"]
    return next((status for status, names in _STATUSES.items() if failed[0] in names), 1) if failed else 0
