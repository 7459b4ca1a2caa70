"""`python -m downloader`, and the console script `downloader`."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence

_ALLOCATIONS = 50_000
"""New objects between two looks for cyclic garbage. With Python's 700 a tenth of a start's processor time goes there,
for objects of modules that stay; what a run allocates later, pixels, is freed by reference counts."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
        # Registered first, called last: behind it the interpreter's own end would give the status of a killed process.
        atexit.register(_deaf)
    gc.set_threshold(_ALLOCATIONS, *gc.get_threshold()[1:])
    # No linear algebra is done here, and a pool of threads for it, which numpy starts, spins before it sleeps.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Nor does the command line want plugins of pydantic, which it looks for among all that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from downloader.cli import main as command

    status = command(argv)
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:  # its reader went away; the interpreter's last flush would make the exit status 120
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - lives as long as the process
    return status


def _end(number: int, _frame: object) -> None:
    """End with 128 + the signal's number where nothing drains: before a run, behind it, and in commands that only read."""
    os._exit(128 + number)


def _deaf() -> None:
    """Ignore what asks to end: the process is about to, with the status of its work.

    Nor does the interpreter look for cyclic garbage while it ends: 30 ms, for memory that goes with the process.
    """
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    raise SystemExit(main())
