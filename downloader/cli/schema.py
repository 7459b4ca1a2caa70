"""`downloader schema`: the JSON Schema of the job file."""

from __future__ import annotations

import click

from downloader.cli.output import say

_EPILOG = """\b
Examples:
  downloader schema > job.schema.json
\b
An editor uses it by the job file's first line:
  # yaml-language-server: $schema=job.schema.json
"""


@click.command("schema", epilog=_EPILOG)
def schema_command() -> None:
    """Print the JSON Schema of the job file, with which editors complete and check it."""
    from downloader.job.template import schema_text

    say(schema_text().rstrip("\n"))
