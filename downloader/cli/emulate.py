"""`downloader emulate`: the embedded emulator, served for other clients."""

from __future__ import annotations

import click

__all__ = ["emulate_command"]


@click.command(
    "emulate",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def emulate_command(arguments: tuple[str, ...]) -> int:
    """Serve an Earth Engine of made-up pixels on this machine; prints its URL first. --help tells its options."""
    from earthengine_emulator.server import options

    prog = "downloader emulate"
    if {"-h", "--help"} & set(arguments):
        options.parse(["--help"], prog)  # ends the process, before anything heavy is imported
    from earthengine_emulator.__main__ import main

    return main(list(arguments), prog)
