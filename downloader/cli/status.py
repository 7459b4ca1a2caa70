"""`downloader status`: how far a mosaic is, and how the run that writes it is doing."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from downloader.cli.output import say

if TYPE_CHECKING:
    from downloader.progress import RunStatus

__all__ = ["status_command"]

_EPILOG = """\b
Examples:
  downloader status job.yaml
  downloader status out/mosaic.zarr --watch       until the run ends
  downloader status out/mosaic.zarr --json
"""

_EVERY_S: Final = 1.0
_WAIT_S: Final = 15.0
"""So long a run that was just started may take until there is a mosaic."""

_SOON_S: Final = 5.0
"""The same where there is one already."""

_LINE_EVERY_S: Final = 10.0
"""Between plain lines, where there is no terminal to redraw."""


@click.command("status", epilog=_EPILOG)
@click.argument("target", metavar="JOB|MOSAIC", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Go on until the run under way ends; one line, redrawn.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; with --watch one a line, each second."
)
def status_command(target: Path, watch: bool, as_json: bool) -> None:
    """How far a mosaic is, of a JOB file or of the folder itself, and how the run that writes it is doing.

    Asks no service, takes no lock, and may watch a run from another terminal.
    """
    from downloader import api
    from downloader.report.text import run_status_text, status_text

    watched = watch and _watch(target, as_json=as_json)
    status, run = api.status(target), api.run_status(target)
    if as_json:
        say(json.dumps(_document(status.to_json(), run), indent=None if watch else 2))
        return
    say(status_text(status))
    if run is not None:
        say(run_status_text(run))
    elif watch and not watched:
        say("no run is under way that can be watched")


def _document(status: dict[str, Any], run: RunStatus | None) -> dict[str, Any]:
    return status | {"run": None if run is None else run.to_json()}


def _watch(target: Path, *, as_json: bool) -> bool:
    """Show the run until it ends; whether there was one. What is stored then is for the caller to say."""
    from downloader import api
    from downloader.progress import terminal_line

    every_s = _EVERY_S if as_json or sys.stdout is None or sys.stdout.isatty() else _LINE_EVERY_S
    show = terminal_line(sys.stdout)
    _await(target)
    seen = False
    with show:
        while (run := api.run_status(target)) is not None and run.is_alive:
            seen = True
            if as_json:
                say(json.dumps({"run": run.to_json()}))
            else:
                from downloader.report.text import run_status_line

                show(run_status_line(run))
            time.sleep(every_s)
    return seen


def _await(target: Path) -> None:
    """Wait for the heartbeat of a run that was started just now."""
    from downloader import api
    from downloader.errors import RefusedError

    try:
        patience_s = 0.0 if api.status(target).is_complete else _SOON_S
    except RefusedError:
        patience_s = _WAIT_S  # it is still to be made
    until = time.monotonic() + patience_s
    while api.run_status(target) is None and time.monotonic() < until:
        time.sleep(0.1)
