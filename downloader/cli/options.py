"""Options that several commands take, with the meaning of the job file."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from downloader.cli.completion import endpoints, keys
from downloader.cli.output import logs_json, set_log_format

__all__ = ["job_argument", "job_options", "service_options", "verbosity"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def job_argument(function: _Command) -> _Command:
    """The job file."""
    return click.argument("job", type=click.Path(path_type=Path))(function)


def service_options(function: _Command) -> _Command:
    """Which service, who asks, who pays."""
    for option in (
        click.option(
            "--key-file", envvar="DOWNLOADER_KEY_FILE", metavar="FILE", help="Service-account key file."
        ),
        click.option(
            "--project", envvar="DOWNLOADER_PROJECT", metavar="ID", help="Cloud project that is billed."
        ),
        click.option(
            "--endpoint",
            envvar="DOWNLOADER_ENDPOINT",
            metavar="NAME|URL",
            shell_complete=endpoints,
            help="auto, standard, high-volume, emulator, or a URL.",
        ),
    ):
        function = option(function)
    return function


def job_options(function: _Command) -> _Command:
    """Changes to the job that a command line makes."""
    set_option = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=keys,
        help="Override one key, such as limits.concurrency=20; the value is read as YAML.",
    )
    return set_option(service_options(function))


def verbosity(function: _Command) -> _Command:
    """How much is said on standard error, and in which form."""
    for option in (
        click.option(
            "--log-format",
            envvar="DOWNLOADER_LOG_FORMAT",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            expose_value=False,
            callback=lambda _context, _option, kind: set_log_format(kind),
            help="Of what is said on standard error; json: one object a line, with time, level, event and message.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
        click.option("-v", "--verbose", count=True, help="Say more; twice, every request."),
    ):
        function = option(function)
    return function


def service_overrides(endpoint: str | None, project: str | None, key_file: str | None) -> list[str]:
    """The same as `--set` texts."""
    import json

    texts = []
    if endpoint is not None:
        texts.append(f"service.endpoint={json.dumps(endpoint)}")
    if project is not None:
        texts.append(f"service.project={json.dumps(project)}")
    if key_file is not None:
        # The command line's paths start from the current folder, the job file's from the job file's.
        texts.append(f"auth={json.dumps({'key_file': str(Path(key_file).expanduser().resolve())})}")
    return texts


def set_up_logging(verbose: int) -> None:
    """Logs go to standard error; only this package's, and only when asked for."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    if logs_json():
        from downloader.progress import JsonFormatter

        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("downloader")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
