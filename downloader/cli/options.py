"""Options that several commands share; they mean what the keys of the job file mean."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from downloader.cli.choices import endpoints, keys
from downloader.cli.output import logs_json, set_log_format
from downloader.cli.parameters import JOB_FILE
from downloader.text import visible

_Command = TypeVar("_Command", bound=Callable[..., Any])


def command(
    name: str, cls: type[click.Command] = click.Command, **settings: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a command of a function, whose docstring is its help.

    What stands from `Examples` on is shown below the options; of its paragraphs those with indented lines as they are written.
    """

    def made(function: Callable[..., Any]) -> click.Command:
        words, title, rest = inspect.cleandoc(function.__doc__ or "").partition("\n\nExamples")
        parts = (f"\b\n{part}" if "\n  " in part else part for part in (title + rest).strip().split("\n\n"))
        return click.command(name, cls, help=words, epilog="\n\n".join(parts), **settings)(function)

    return made


job_argument = click.argument("job", type=JOB_FILE)
mosaic_argument = click.argument("mosaic", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
png_option = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG file to write.",
)
time_help = (
    "Slice of a time series: its number in order of time, or the beginning of its time, such as 2017-04-20."
)


def service_options(function: _Command) -> _Command:
    """Add `--endpoint`, `--project` and `--key-file`, which the command gets as one list of `overrides`."""

    @functools.wraps(function)
    def command(
        *arguments: Any,  # whatever the command takes
        endpoint: str | None,
        project: str | None,
        key_file: str | None,
        assignments: tuple[str, ...] = (),
        **options: Any,  # as above
    ) -> Any:  # noqa: ANN401  # as above
        # Paths of the command line start from the current folder, those of a job file from its own.
        auth = key_file and {"key_file": str(Path(key_file).expanduser().resolve())}
        given = {"service.endpoint": endpoint, "service.project": project, "auth": auth}
        texts = (f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None)
        return function(*arguments, overrides=[*assignments, *texts], **options)

    return raw_service_options(cast("_Command", command))


def job_options(function: _Command) -> _Command:
    """Add `--set` and the options of `service_options`, which the command gets as one list of `overrides`."""
    return _SET(service_options(function))


def raw_service_options(function: _Command) -> _Command:
    """Add `--endpoint`, `--project` and `--key-file` as they are."""
    return _ENDPOINT(_PROJECT(_KEY_FILE(function)))


_ENDPOINT = click.option(
    "--endpoint",
    envvar="DOWNLOADER_ENDPOINT",
    metavar="NAME|URL",
    shell_complete=endpoints,
    help="Service to ask: auto, standard, high-volume, emulator, or a URL.",
)

_PROJECT = click.option(
    "--project", envvar="DOWNLOADER_PROJECT", metavar="ID", help="Cloud project that pays for the requests."
)

_KEY_FILE = click.option(
    "--key-file", envvar="DOWNLOADER_KEY_FILE", metavar="FILE", help="Key file of a service account."
)

_SET = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=keys,
    help="Override one key of the job, such as limits.concurrency=20; the value is read as YAML.",
)


def verbosity(function: _Command) -> _Command:
    """Add `--quiet`, `--verbose` and `--log-format`."""
    return _VERBOSE(quiet_option(_LOG_FORMAT(function)))


_VERBOSE = click.option(
    "-v", "--verbose", count=True, show_default=False, help="Log retries and splits; twice, every request."
)

_LOG_FORMAT = click.option(
    "--log-format",
    envvar="DOWNLOADER_LOG_FORMAT",
    type=click.Choice(["text", "json"]),
    default="text",
    expose_value=False,
    callback=lambda _context, _option, kind: set_log_format(kind),
    help="Format of messages on standard error; json writes one object per line, with time, level, event and message.",
)


class _Visible(logging.Formatter):
    """Records as text that cannot steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def set_up_logging(verbose: int) -> None:
    """Write the log of this package to standard error, at the level that `-v` asks for."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    if logs_json():
        from downloader.progress.jsonlines import JsonFormatter

        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(_Visible("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("downloader")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
