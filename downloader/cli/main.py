"""The `downloader` command: its group, suggestions, and how errors become exit statuses."""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from importlib import import_module

import click

from downloader._version import __version__
from downloader.cli.options import command

_COMMANDS = {
    "init": "Write a commented job file to start from.",
    "run": "Download what is missing; run again to resume.",
    "plan": "Show what a job will cost, and what is stored already.",
    "status": "Show how far a mosaic is, and how its run is doing.",
    "verify": "Check that everything is stored and intact; --repair fixes it.",
    "inspect": "Show what the catalogue knows of an asset.",
    "images": "List the images of a collection, by time, place and properties.",
    "thumbnail": "Save a picture of an image, made by the service.",
    "preview": "Save a picture of a mosaic.",
    "doctor": "Check that everything a run needs is in place.",
    "schema": "Print the JSON Schema of the job file, for editors.",
    "overviews": "Make coarser levels of a mosaic, for viewers.",
    "export": "Write a mosaic, or a part of it, as Cloud-Optimised GeoTIFF or NetCDF.",
    "stac": "Describe a mosaic as a STAC Item or Collection.",
    "table": "Write statistics of polygons, points or samples as Parquet or CSV.",
    "completion": "Print the completion script for bash, zsh or fish.",
    "emulate": "Serve an Earth Engine of synthetic pixels on this machine.",
}
"""Command → its line of help; its module has its name, and is imported when it runs."""


_ALIASES = {
    word: command
    for command, words in {
        "run": ("download", "fetch", "get", "start", "resume", "continue"),
        "plan": ("dry-run", "estimate"),
        "status": ("progress",),
        "verify": ("check",),
        "verify --repair": ("repair",),
        "images": ("list", "ls"),
        "inspect": ("show", "info"),
        "preview": ("view",),
        "export": ("convert",),
        "table": ("zonal", "stats"),
        "init": ("new", "create"),
        "doctor": ("login", "auth"),
        "emulate": ("serve", "emulator"),
        "--version": ("version",),
        "--help": ("help",),
    }.items()
    for word in words
}
"""Words of other tools → the command here; only suggested, never run."""

_FOREIGN = {
    "--force": "a mosaic that exists is continued; --yes answers the questions",
    "--dry-run": "`downloader plan JOB` shows what a run would download",
    "--resume": "every run resumes",
    "--continue": "every run resumes",
    "--workers": "--set limits.concurrency=N",
    "--threads": "--set limits.concurrency=N",
    "--jobs": "--set limits.concurrency=N",
    "--output": "--set mosaic.path=PATH",
    "--out": "--set mosaic.path=PATH",
    "--debug": "-vv",
}
"""Options of other tools → what to write for commands that take a job."""

_DESTRUCTIVE = "--overwrite"


class _Commands(click.Group):
    """A group that imports a command when it runs: help must be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"downloader.cli.{cmd_name}"), f"{cmd_name}_command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if not args or "mean" in error.message:
                raise
            if args[0].endswith((".yaml", ".yml")):
                near = [f"downloader run {args[0]}"]
            else:
                near = difflib.get_close_matches(args[0], [*_COMMANDS, *_ALIASES], n=1)
            if not near:
                raise
            meant = _ALIASES.get(near[0], near[0])
            raise click.UsageError(f"{error.message} Did you mean {meant}?", ctx) from None


def _advised(error: click.NoSuchOption) -> click.UsageError:
    """Return the error with what other tools' options and keys of the job file are called here, and without options that delete."""
    name = error.option_name
    close = [
        option
        for option in error.possibilities or ()
        if option != _DESTRUCTIVE or difflib.SequenceMatcher(None, name, option).ratio() > 0.9
    ]
    takes_job = error.ctx is not None and any(
        option.name == "assignments" for option in error.ctx.command.params
    )
    advice = _FOREIGN.get(name, "") if takes_job else ""
    if takes_job and not advice:
        from downloader.cli.choices import keys_beginning  # which loads the job's models

        last = name[2:].replace("-", "_") + "="
        keys = (item.value for item in keys_beginning(""))
        advice = ", or ".join(f"--set {key}…" for key in keys if key.rpartition(".")[2] == last)
    if advice:
        close = []
        advice = f" Did you mean {advice}?" if advice.startswith("-") else f" ({advice[0]}{advice[1:]})"
    if advice or close != list(error.possibilities or ()):
        return click.NoSuchOption(name, f"No such option '{name}'.{advice}", close, error.ctx)
    return error


def _show_versions(context: click.Context, _option: click.Parameter, wanted: bool) -> None:  # click's
    if not wanted or context.resilient_parsing:
        return
    from downloader._version import versions
    from downloader.cli.output import say

    found = versions()
    say(f"downloader, version {found.pop('earthengine-downloader', __version__)}")
    width = max(map(len, found))
    say("\n".join(f"{name.ljust(width)}  {version}" for name, version in found.items()))
    context.exit()


@command(
    "downloader",
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_versions,
    help="Show the versions that matter, and exit.",
)
def downloader() -> None:
    """Download any amount of Earth Engine pixels into one georeferenced Zarr mosaic.

    Examples, in the order of a first day:
      downloader doctor                              check that everything is in place
      downloader init job.yaml                       write a commented job file
      downloader plan job.yaml                       show what it will cost
      downloader run job.yaml                        download; run again to resume
      downloader status job.yaml --watch             follow the run from another terminal
      downloader preview out/job.zarr -o look.png    save a picture of the mosaic
      downloader verify out/job.zarr --repair        check everything, download what is damaged

      downloader images COPERNICUS/S2 --start 2017-04-01 --end 2017-05-01 --point -122.085,37.422
      downloader inspect COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG
      downloader emulate --port 8080                 an Earth Engine on this machine

    Every command has examples: downloader COMMAND --help.  Completion: downloader completion --help.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status and never raises for what a user can cause."""
    from downloader.cli.output import complain, say, set_log_format
    from downloader.errors import DownloadError, InterruptedRunError, is_exhausted

    set_log_format("text")
    try:
        status = downloader.main(
            args=None if argv is None else list(argv), prog_name="downloader", standalone_mode=False
        )
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        said = io.StringIO()
        (_advised(error) if isinstance(error, click.NoSuchOption) else error).show(said)
        say(said.getvalue().rstrip("\n"), err=True)
        return 2
    except (DownloadError, InterruptedRunError) as error:
        complain(str(error), status=error.exit_status)
        return error.exit_status
    except (click.Abort, KeyboardInterrupt):
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}", status=4)
        return 4
    except Exception as error:
        if not is_exhausted(error):
            raise
        complain(
            "this machine gave no more memory or threads; what was committed is saved: free some, raise the limit of this "
            "process (ulimit -v, -u, or its container's), or lower limits.memory, and run the job again",
            status=4,
        )
        return 4
    return status if isinstance(status, int) else 0
