"""One line that is shown in its own place again and again; where that cannot be, lines below each other."""

from __future__ import annotations

import shutil
from typing import Self, TextIO

from downloader.progress.streams import forgiving

__all__ = ["TerminalLine", "terminal_line"]


class TerminalLine:
    """Shows a line over the last one, cut to the terminal's width; the block's end clears it."""

    def __init__(self, out: TextIO, *, redraws: bool) -> None:
        self._out = out
        self._redraws = redraws

    def __call__(self, text: str) -> None:
        """Show this now."""
        if self._redraws:
            columns = shutil.get_terminal_size().columns - 1
            text = text if len(text) <= columns else f"{text[: columns - 1]}…"
            print(f"\r\x1b[K{text}", end="", file=self._out, flush=True)  # this is the display
        else:
            print(text, file=self._out, flush=True)  # this is the display

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._redraws:
            print("\r\x1b[K", end="", file=self._out, flush=True)  # this is the display


def terminal_line(out: TextIO | None) -> TerminalLine:
    """A line on `out`: redrawn on a terminal that can, printed anew elsewhere, forgotten where there is no stream."""
    from downloader.progress.streams import open_null

    if out is None:
        return TerminalLine(open_null(), redraws=False)
    stream = forgiving(out)
    if not stream.isatty():
        return TerminalLine(stream, redraws=False)
    from rich.console import Console

    return TerminalLine(stream, redraws=not Console(file=stream).is_dumb_terminal)
