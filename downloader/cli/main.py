"""The `downloader` command: its group, and what all commands share."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import click

from downloader._version import __version__

__all__ = ["main"]

_EXAMPLES = """\b
Examples, in the order of a first day:
  downloader doctor                              is everything as it should be?
  downloader init job.yaml                       a commented job file that runs
  downloader plan job.yaml                       what it will cost
  downloader run job.yaml                        fetch; the same again continues
  downloader status job.yaml --watch             how far it is, from another terminal
  downloader preview out/job.zarr -o look.png    a quick look
  downloader verify out/job.zarr --repair        read everything, fetch what is damaged
\b
  downloader images COPERNICUS/S2 --start 2017-04-01 --end 2017-05-01 --point -122.085,37.422
  downloader inspect COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG
  downloader emulate --port 8080                 an Earth Engine on your desk
\b
Every command has examples: downloader COMMAND --help.  Completion: downloader completion --help.
"""


_COMMANDS = {
    "init": ("downloader.cli.init", "A commented job file to start from."),
    "run": ("downloader.cli.run", "Fetch what a job misses; again: continue."),
    "plan": ("downloader.cli.plan", "What a job will cost, and what is stored of it already."),
    "status": ("downloader.cli.status", "How far a mosaic is, and how its run is doing."),
    "verify": ("downloader.cli.verify", "Is everything there, and as it was stored? --repair mends it."),
    "inspect": ("downloader.cli.catalogue", "What the catalogue says of an asset."),
    "images": ("downloader.cli.catalogue", "The images of a collection, by time, place and properties."),
    "thumbnail": ("downloader.cli.catalogue", "A stretched PNG of an image, made by the service."),
    "preview": ("downloader.cli.preview", "A quick look of a mosaic as a PNG."),
    "doctor": ("downloader.cli.doctor", "Is everything as a run needs it? Each check with its remedy."),
    "schema": ("downloader.cli.init", "The JSON Schema of the job file, for editors."),
    "overviews": ("downloader.cli.export", "Coarser levels of a mosaic, so that a viewer opens it at once."),
    "export": ("downloader.cli.export", "A mosaic, or a window of it, as Cloud-Optimised GeoTIFF."),
    "completion": ("downloader.cli.completion", "Completion for bash, zsh and fish."),
    "emulate": ("downloader.cli.emulate", "Serve an Earth Engine of made-up pixels on this machine."),
}
"""Command → its module, and its line of help: modules are imported when their command runs."""


_ALIASES = {
    "download": "run",
    "fetch": "run",
    "resume": "run",
    "continue": "run",
    "estimate": "plan",
    "progress": "status",
    "check": "verify",
    "repair": "verify --repair",
    "list": "images",
    "show": "inspect",
    "info": "inspect",
    "new": "init",
    "create": "init",
    "version": "--version",
    "help": "--help",
    "serve": "emulate",
    "emulator": "emulate",
}
"""What other tools call it → what it is called here; only suggested, never done."""


class _Commands(click.Group):
    """Knows its commands without importing them: help must be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        if cmd_name not in _COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = getattr(import_module(_COMMANDS[cmd_name][0]), f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in _COMMANDS.items()])

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


@click.group(
    cls=_Commands,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
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
    """Any amount of Earth Engine pixels into one georeferenced Zarr mosaic."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status and never raises for what a user can cause."""
    from downloader.cli.output import complain, set_log_format
    from downloader.errors import DownloadError, exit_status

    set_log_format("text")
    try:
        status = downloader.main(
            args=None if argv is None else list(argv), prog_name="downloader", standalone_mode=False
        )
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except DownloadError as error:
        complain(str(error), status=exit_status(error))
        return exit_status(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}", status=4)
        return 4
    return status if isinstance(status, int) else 0
