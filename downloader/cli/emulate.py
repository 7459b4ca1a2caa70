"""`downloader emulate`: the emulator, served for other clients."""

from __future__ import annotations

import click

from downloader.cli.options import command


class _EmulatorCommand(click.Command):
    """A command whose options are those of the emulator's own parser, shown as other commands show theirs."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the emulator."""
        from earthengine_emulator.server.options import option_help

        own = [record for option in self.get_params(ctx) if (record := option.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl([*option_help(), *own])


@command(
    "emulate",
    cls=_EmulatorCommand,
    options_metavar="[OPTIONS]",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="")
def emulate_command(arguments: tuple[str, ...]) -> int:
    """Serve an Earth Engine of synthetic pixels on this machine. Prints its URL, then serves until it is stopped.

    Examples:
      downloader emulate --port 8080 --write-key key.json
      downloader emulate --raster projects/my-project/assets/dem=dem.tif
      downloader emulate --quota-concurrency 10 --latency-ms 250 --fault html-503
    """
    from earthengine_emulator.__main__ import main

    return main(list(arguments), "downloader emulate")
