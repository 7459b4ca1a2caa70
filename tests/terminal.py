"""A terminal of one's own: commands that ask, redraw or count columns, met as a person meets them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from tests.harness import PATIENCE_S, environment


def on_terminal(
    *arguments: object,
    answers: Sequence[tuple[str, str]] = (),
    cwd: Path,
    columns: int = 80,
    term: str = "dumb",
    env: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Run `downloader` on a terminal.

    Args:
        *arguments: of the command.
        answers: what is waited for and what is typed then, in this order.
        cwd: where.
        columns: the terminal's width.
        term: what it calls itself; `dumb` is sent no colours and no movements.
        env: further variables.

    Returns:
        The exit status, and all that was shown.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "downloader", *map(str, arguments)],
        stdin=follower, stdout=follower, stderr=follower, cwd=cwd, start_new_session=True,
        # It is its own terminal, so that Ctrl-C there is a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # tests have no threads here
        # Workers of xdist carry a width of their own, which would count before the terminal's.
        env=environment(TERM=term, COLUMNS=str(columns), LINES="24", **(env or {})),
    )  # fmt: skip
    os.close(follower)
    shown, waiting, seen = b"", list(answers), 0
    until = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < until:
            text = shown.decode(errors="replace")
            if waiting and waiting[0][0] in text[seen:]:
                seen = len(text)
                typed = waiting.pop(0)[1].encode()
                os.write(leader, typed if typed == b"\x03" else typed + b"\n")
            if select.select([leader], [], [], 0.05)[0]:
                try:
                    more = os.read(leader, 65536)
                except OSError:  # the process closed its side
                    break
                if not more:
                    break
                shown += more
        assert not waiting, f"never asked {waiting[0][0]!r}:\n{shown.decode(errors='replace')}"
        return process.wait(PATIENCE_S), shown.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(leader)
