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
from typing import Self

import pyte

from tests.harness import PATIENCE_S, environment

LINES = 24


def _started(
    arguments: Sequence[object], cwd: Path, columns: int, term: str, env: dict[str, str] | None
) -> tuple[int, subprocess.Popen]:
    """Return this side of a new terminal, and the command that runs on it."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "downloader", *map(str, arguments)],
        stdin=follower, stdout=follower, stderr=follower, cwd=cwd, start_new_session=True,
        # It is its own terminal, so that Ctrl-C there is a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # tests have no threads here
        # Workers of xdist carry a width of their own, which would count before the terminal's.
        env=environment(TERM=term, COLUMNS=str(columns), LINES=str(LINES), **(env or {})),
    )  # fmt: skip
    os.close(follower)
    return leader, process


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
    leader, process = _started(arguments, cwd, columns, term, env)
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


class Screen:
    """A command on a terminal, and what that shows: also every state in between."""

    def __init__(self, *arguments: object, cwd: Path, columns: int) -> None:
        self._screen = pyte.HistoryScreen(columns, LINES, history=1000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._leader, self.process = _started(arguments, cwd, columns, "xterm-256color", None)
        self.frames: list[list[str]] = []
        """The screen after each piece of output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._leader)

    @property
    def lines(self) -> list[str]:
        """What scrolled away and what is shown, without empty lines."""
        past = ["".join(row[x].data for x in range(self._screen.columns)) for row in self._screen.history.top]
        return [line.rstrip() for line in [*past, *self._screen.display] if line.strip()]

    def until(self, *texts: str) -> list[str]:
        """Return the lines once each text is among them at the same moment."""
        until = time.monotonic() + PATIENCE_S
        while not all(any(text in line for line in self.lines) for text in texts):
            assert self._read(), f"never shown together: {texts}\n" + "\n".join(self.lines)
            assert time.monotonic() < until, f"not shown together in time: {texts}\n" + "\n".join(self.lines)
        return self.lines

    def press_ctrl_c(self) -> None:
        """Type Ctrl-C, which the terminal makes a signal."""
        os.write(self._leader, b"\x03")

    def end(self) -> tuple[int, list[str]]:
        """Return the exit status and all lines, once the command ended."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_S), self.lines

    def _read(self) -> bool:
        """Take up what is shown next; False once the command has closed its side."""
        if not select.select([self._leader], [], [], PATIENCE_S)[0]:
            return False
        try:
            data = os.read(self._leader, 65536)
        except OSError:
            return False
        self._stream.feed(data)
        self.frames.append(self.lines)
        return bool(data)
