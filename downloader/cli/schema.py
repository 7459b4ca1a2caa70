"""`downloader schema`: the JSON Schema of the job file."""

from __future__ import annotations

from downloader.cli.options import command
from downloader.cli.output import say


@command("schema")
def schema_command() -> None:
    """Print the JSON Schema of the job file, with which editors complete and check it.

    Examples:
      downloader schema > job.schema.json

    An editor uses it by the job file's first line:
      # yaml-language-server: $schema=job.schema.json
    """
    from downloader.job.template import schema_text

    say(schema_text().rstrip("\n"))
