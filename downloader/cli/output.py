"""Print to standard output and standard error, even if they are closed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from downloader.text import folded, visible

_log_format = "text"


def refuse_inside(option: str, file: Path, mosaic: Path | str) -> None:
    """Raise UsageError for a file to be written into a mosaic, where it could replace a part of it."""
    if isinstance(mosaic, Path) and file.resolve().is_relative_to(mosaic.resolve()):
        raise click.UsageError(f"{option} {file}: lies inside the mosaic {mosaic}; name a file outside of it")


def set_log_format(kind: str) -> None:
    """Set the format of standard error: `text`, or `json` for one object per line."""
    global _log_format  # noqa: PLW0603  # standard error is one, too
    _log_format = kind


def logs_json() -> bool:
    """Return whether standard error is written as JSON."""
    return _log_format == "json"


def complain(text: str, **fields: object) -> None:
    """Print to standard error why a command failed."""
    if logs_json():
        from downloader.progress.jsonlines import json_line

        say(json_line("error", "error", text, **fields), err=True)
    else:
        say(f"downloader: {text}", err=True, folds=True)


def show(result: Any, *, as_json: bool, quiet: bool = False) -> None:  # noqa: ANN401  # of any class
    """Print a result, which has `to_json`, as one JSON document, or as text unless the command is quiet."""
    if as_json:
        say_json(result.to_json())
    elif not quiet:
        say(str(result), folds=True)


def say_json(document: object) -> None:
    """Print plain values as one JSON document."""
    say(json.dumps(document, indent=2))


def say(text: str, *, err: bool = False, folds: bool = False) -> None:
    """Print to standard output or standard error; a closed pipe is not an error.

    What could steer a terminal is replaced; see `text.visible`. With `folds` a terminal gets lines that it breaks in no word.

    Raises:
        OSError: what was printed to standard output is lost for another reason, such as a full disk.
    """
    text = visible(text)
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # the descriptor was closed before the start; print would take another stream then
        return
    if folds and stream.isatty():
        text = folded(text, shutil.get_terminal_size().columns)
    try:
        print(text, file=stream, flush=True)  # click.echo ends the process when a pipe is closed
    except OSError as error:
        from downloader.progress.terminal import open_null

        # The interpreter's last flush would fail where this one did, and make the exit status 120.
        setattr(sys, "stderr" if err else "stdout", open_null())
        if not (err or isinstance(error, BrokenPipeError)):
            raise OSError(error.errno, error.strerror, "standard output") from None
