"""`downloader status`: how far a mosaic is, and how its run is doing."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from downloader.cli.options import command
from downloader.cli.output import say

if TYPE_CHECKING:
    from downloader.progress.heartbeat import RunStatus


_EVERY_S: Final = 1.0
_LINE_EVERY_S: Final = 10.0
"""Seconds between plain lines, if there is no terminal to redraw."""

_WAIT_S: Final = 15.0
"""Seconds to wait for a newly started run to create the mosaic."""

_SOON_S: Final = 5.0
"""Seconds to wait for a newly started run to open a mosaic that exists."""


@command("status")
@click.argument("target", metavar="JOB|MOSAIC", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Follow the run until it ends, on one line that is redrawn.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; with --watch one per line, each second."
)
def status_command(target: Path, watch: bool, as_json: bool) -> None:
    """Show how far a mosaic is, of a JOB file or of its own path, and how the run that writes it is doing.

    Asks no service, takes no lock, and can follow a run from another terminal.

    Examples:
      downloader status job.yaml
      downloader status out/mosaic.zarr --watch       until the run ends
      downloader status out/mosaic.zarr --json
    """
    from downloader.job.load import mosaic_place
    from downloader.mosaic.sources import run_of
    from downloader.mosaic.status import is_new
    from downloader.mosaic.status import status as status_of
    from downloader.progress.late import late

    place = mosaic_place(target)
    watched = watch and _watch(place, as_json=as_json)
    if target.is_file() and is_new(place):
        if as_json:
            say(json.dumps({"path": str(place), "complete": False, "share": 0.0, "groups": {}, "run": None}))
        else:
            say(f"{place}: nothing fetched yet. Next: downloader run {target}")
        return
    with late(f"reading {place}"):
        status, run = status_of(place), run_of(place)
    if as_json:
        document = status.to_json() | {"run": None if run is None else run.to_json()}
        say(json.dumps(document, indent=None if watch else 2))
        return
    say(str(status))
    if run is not None:
        say(str(run))
    elif watch and not watched:
        say("no run is under way that can be followed")
    if not status.is_complete and not (run is not None and run.is_alive):
        say(f"Next: downloader run {target if target.is_file() else 'JOB'}")


def _watch(place: Path | str, *, as_json: bool) -> bool:
    """Show the run until it ends. Returns whether there was one."""
    from downloader.events import Phase
    from downloader.mosaic.sources import parts, run_of
    from downloader.progress.terminal import open_null, terminal_progress

    every_s = _EVERY_S if as_json or sys.stdout is None or sys.stdout.isatty() else _LINE_EVERY_S
    show = terminal_progress(sys.stdout or open_null())
    run, seen = _awaited(place), False
    try:
        while run is not None and run.is_alive:
            seen = True
            if as_json:
                say(json.dumps({"run": run.to_json()}))
            else:
                show(Phase(run.line))
            time.sleep(every_s)
            run = run_of(place)
            if (run is None or not run.is_alive) and parts(place):
                run = _awaited(place)  # that of the next source
    finally:
        show(Phase(""))
    return seen


def _awaited(place: Path | str) -> RunStatus | None:
    """Return the state of the run, waiting for one that was started just now."""
    from downloader.errors import RefusedError
    from downloader.mosaic.sources import run_of
    from downloader.mosaic.status import status

    try:
        patience_s = 0.0 if status(place).is_complete else _SOON_S
    except RefusedError:
        patience_s = _WAIT_S  # it is still to be made
    until = time.monotonic() + patience_s
    while (run := run_of(place)) is None and time.monotonic() < until:
        time.sleep(0.1)
    return run
