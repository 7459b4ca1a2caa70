"""Printing, also where nobody reads any more."""

from __future__ import annotations

import sys

__all__ = ["say"]


def say(text: str, *, err: bool = False) -> None:
    """Print to standard output, or to standard error; that its reader went away is no error.

    Raises:
        OSError: what was printed to standard output is lost for another reason, such as a full disk.
    """
    from downloader.progress import open_null

    stream = sys.stderr if err else sys.stdout
    if stream is None:  # the descriptor was closed before the start; print would take another stream then
        return
    try:
        print(text, file=stream, flush=True)  # click.echo ends the process when a pipe is closed
    except OSError as error:
        # The interpreter's last flush would fail where this one did, and make the exit status 120.
        setattr(sys, "stderr" if err else "stdout", open_null())
        if not (err or isinstance(error, BrokenPipeError)):
            raise OSError(error.errno, error.strerror, "standard output") from None
