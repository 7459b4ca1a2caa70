"""Progress of a run for people: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import io
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from downloader.arguments import check_listener
from downloader.events import Ended, Event, Failed, Notice, Phase, Retried, Split, Started, Stored
from downloader.model.document import to_document
from downloader.progress.notebook import NotebookBar, is_notebook
from downloader.progress.tally import Tally, Timer, announcement, fanout
from downloader.protocols import Progress
from downloader.text import cut, duration, folded, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text


_STRIP_FROM: Final = 120
"""Columns of a terminal from which a line of tiles is shown."""

_BAR_FROM: Final = 60
"""Columns from which there is room for a bar."""

_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SHADES: Final = "·░▒▓█"


def plain_line(_level: str, _event: str, message: str, **_: Any) -> str:
    """Return the message, without what could steer a terminal."""
    return visible(message)


class Lines:
    """A `Progress` that prints a line now and then: for pipes, files, cron and programs."""

    def __init__(self, out: TextIO, every_s: float = 10.0, line: Callable[..., str] = plain_line) -> None:
        """Print nothing yet.

        Args:
            out: stream to print to.
            every_s: seconds between two lines about how far the run is.
            line: makes the text of a line of (level, event, message) and further fields: `plain_line` or `json_line`.
        """
        self._out = forgiving(out)
        self._tally = Tally()
        self._timer = Timer(every_s)
        self._line = line
        self._phase = ""

    def __call__(self, event: Event) -> None:
        """Print a line for the event, where one is due."""
        self._tally(event)
        match event:
            case Started():
                self._timer.restart()
                estimate, done = event.estimate, event.tiles_done
                self._print(
                    "info", "started", announcement(estimate, done), stored=done, **to_document(estimate)
                )
            case Notice():
                self._print(event.level, event.name, event.text, **event.fields)
            case Phase() if (
                event.text and not event.is_brief and (event.text != self._phase or self._timer.is_due())
            ):
                steps = f": {event.done:,}/{event.total:,}" if event.total and event.done else ""
                self._print("info", "phase", f"{event.text}{steps}", done=event.done, total=event.total)
                self._phase = event.text
            case Stored() | Split() | Failed() | Retried() if self._timer.is_due():
                figures = self._tally.figures()
                self._print("info", "progress", ", ".join(figures.words()), **asdict(figures))

    def _print(self, level: str, event: str, message: str, **fields: Any) -> None:
        print(self._line(level, event, message, **fields), file=self._out, flush=True)  # this is the display


class Bar:
    """A `Progress` that redraws a line or two: how far, time left, MB/s, requests in flight; on a wide terminal the tiles."""

    def __init__(self, console: Console) -> None:
        self._tally = Tally()
        self._console = console
        self._phase = Phase("")
        self._since = 0.0
        self._is_fetching = False
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        """Draw what the event changes."""
        self._tally(event)
        match event:
            case Phase():
                if event.text != self._phase.text:
                    self._since = time.monotonic()
                self._phase = event
            case Started():
                self._print(announcement(event.estimate, event.tiles_done))
                self._is_fetching = True
            case Notice():
                self._print(event.text)
            case Ended():
                self._is_fetching, self._phase = False, Phase("")
        self._show(bool(self._phase.text) or self._is_fetching)

    def _show(self, wanted: bool) -> None:
        if wanted is (self._live is not None):
            return
        if self._live is not None:
            self._live.stop()
            self._live = None
            return
        from rich.live import Live

        self._live = Live(
            console=self._console, refresh_per_second=4, transient=True, get_renderable=self._drawn
        )
        self._live.start()

    def _print(self, line: str) -> None:
        text = folded(visible(line), self._console.width)
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _drawn(self) -> Text:
        """Return the lines for the terminal's width of this moment."""
        from rich.text import Text

        # Behind a full line the terminal's echo of ^C would begin another one, which no redrawing takes away.
        width = max(1, self._console.width - 3)
        lines = []
        if self._is_fetching:
            if self._console.width >= _STRIP_FROM and self._tally.strip is not None:
                lines.append(self._tiles(width))
            lines.append(self._progress(width))
        if self._phase.text:
            lines.append(Text(self._doing(width)))
        return Text("\n", no_wrap=True, overflow="crop").join(lines)

    def _progress(self, width: int) -> Text:
        from rich.text import Text

        room = width - (12 if width >= _BAR_FROM else 0)
        figures = self._tally.figures().words()
        while len(figures) > 1 and len("  ".join(figures)) > room:
            figures.pop()
        text = "  ".join(figures)
        bar = width - len(text) - 2 if width >= _BAR_FROM else 0
        full = math.floor(bar * self._tally.share)
        return Text.assemble(
            ("━" * full, "cyan"), ("─" * (bar - full), "bright_black"), "  " if bar else "", text[:width]
        )

    def _tiles(self, width: int) -> Text:
        from rich.text import Text

        tally, text = self._tally, Text()
        assert tally.strip is not None  # noqa: S101  # for the type checker
        cells = [k for k, wanted in enumerate(tally.strip.wanted) if wanted]
        columns = min(width, len(cells) * max(1, width // max(1, len(cells))))
        for column in range(columns):
            cell = cells[column * len(cells) // columns]
            share = min(1.0, tally.cells[cell] / tally.strip.wanted[cell])
            shade = _SHADES[math.floor(share * (len(_SHADES) - 1))]
            text.append("×" if cell in tally.broken else shade, "red" if cell in tally.broken else "cyan")
        return text

    def _doing(self, width: int) -> str:
        phase, seconds = self._phase, time.monotonic() - self._since
        steps = f" {phase.done:,}/{phase.total:,}" if phase.total else ""
        behind = f"{steps}  {duration(math.floor(seconds))}" if seconds >= 1 else steps
        spinner = _SPINNER[math.floor(seconds * 8) % len(_SPINNER)]
        return f"{spinner} {cut(visible(phase.text), max(8, width - len(behind) - 2))}{behind}"[:width]


def terminal_progress(out: TextIO | None = None) -> Progress:
    """Return a bar where `out` (standard error by default) is a terminal that can show one, or in a notebook; else plain lines."""
    if out is None and is_notebook():
        return NotebookBar()
    if (out := out or sys.stderr) is None:  # a process without standard error, as some services start them
        return fanout()
    stream = forgiving(out)
    if not stream.isatty():
        return Lines(stream)
    from rich.console import Console

    console = Console(file=stream)
    return Lines(stream) if console.is_dumb_terminal else Bar(console)


def is_piped() -> bool:
    """Return whether standard error is neither a terminal nor a notebook's, so that short waits are not told there."""
    return not is_notebook() and not (sys.stderr is not None and forgiving(sys.stderr).isatty())


def listener(progress: bool, on_event: Progress | None) -> Progress:
    """Return the listener of a library call: a display on standard error, a function of the caller, both or neither.

    Args:
        progress: whether there is a display.
        on_event: told of each event, after the display.
    """
    check_listener(progress, on_event)
    return fanout(
        *((terminal_progress(),) if progress else ()), *((on_event,) if on_event is not None else ())
    )


def forgiving(out: TextIO) -> TextIO:
    """Return a stream like `out` whose writes never fail: a closed terminal must not end a job of hours."""
    return out if isinstance(out, _Forgiving) else cast("TextIO", _Forgiving(out))


class _Forgiving(io.TextIOBase):
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a stream has one
        return getattr(self._out, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        self._try(self._write, text)
        return len(text)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
        except UnicodeEncodeError:
            self._out.write(text.encode(self.encoding, "replace").decode(self.encoding))

    def flush(self) -> None:
        self._try(self._out.flush)

    def _try(self, function: Callable[..., object], *arguments: object) -> None:
        if not self._gone:
            try:
                function(*arguments)
            except (OSError, ValueError):
                self._gone = True

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._out.isatty()
        return False


def open_null() -> TextIO:
    """Return a stream that discards what is written."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # lives as long as the process
