"""Progress of a run for people: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TextIO, cast

from downloader.events import Ended, Event, Failed, Notice, Retried, Split, Started, Stored
from downloader.model.document import to_document
from downloader.progress.tally import Tally, Timer, announcement, fanout, summary
from downloader.protocols import Progress
from downloader.text import counted, rate, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn, TaskID


_WIDE = 72
"""Columns of a terminal from which the bar itself is shown."""

_NARROW = 44
"""Columns under which only the tiles are counted."""


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

    def __call__(self, event: Event) -> None:
        """Print what the event is worth."""
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
            case Stored() | Split() | Failed() | Retried() if self._timer.is_due():
                self._print("info", "progress", summary(self._tally), **self._tally.fields())

    def _print(self, level: str, event: str, message: str, **fields: Any) -> None:
        print(self._line(level, event, message, **fields), file=self._out, flush=True)  # this is the display


class Bar:
    """A `Progress` that redraws one line: a bar, tiles, MB/s, retries, requests in flight, time left."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._tally = Tally()
        self._console = console
        tiles = TextColumn("{task.completed:,.0f}/{task.total:,.0f} tiles")
        rate, flow = TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[flow]}")
        left = TimeRemainingColumn(compact=True, elapsed_when_finished=True)
        if console.width >= _WIDE:
            columns: tuple[ProgressColumn, ...] = (BarColumn(bar_width=None), tiles, rate, flow, left)
        else:
            columns = (tiles, rate, left) if console.width >= _NARROW else (tiles,)
        self._bar = RichProgress(
            *columns,
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._task: TaskID | None = None

    def __call__(self, event: Event) -> None:
        """Draw what the event changes."""
        self._tally(event)
        match event:
            case Started():
                self._print(announcement(event.estimate, event.tiles_done))
                self._task = self._bar.add_task(
                    "", total=event.estimate.tiles, completed=event.tiles_done, rate="", flow=""
                )
                self._bar.start()
            case Notice():
                self._print(event.text)
            case Ended():
                self._bar.stop()
            case Stored() | Split() | Failed() | Retried():
                self._refresh()

    def _print(self, line: str) -> None:
        self._console.print(visible(line), markup=False, highlight=False, soft_wrap=True)

    def _refresh(self) -> None:
        tally = self._tally
        if self._task is None:
            return
        retries = f", {counted(tally.retries.total(), 'retry', 'retries')}" if tally.retries else ""
        failed = f", {tally.tiles_failed:,.0f} failed" if tally.tiles_failed else ""
        self._bar.update(
            self._task,
            completed=tally.tiles_now,
            rate=rate(tally.wire_bytes, tally.seconds),
            flow=f"{tally.in_flight}/{tally.ceiling} at once{retries}{failed}",
        )


def terminal_progress(out: TextIO | None = None) -> Progress:
    """Return a bar where `out` (standard error by default) is a terminal that can show one, else plain lines."""
    stream: TextIO | None = out or sys.stderr
    if stream is None:  # a process without standard error, as some services start them
        return fanout()
    stream = forgiving(stream)
    if not stream.isatty():
        return Lines(stream)
    from rich.console import Console

    console = Console(file=stream)
    return Lines(stream) if console.is_dumb_terminal else Bar(console)


def listener(progress: bool, on_event: Progress | None) -> Progress:
    """Return what the library's calls tell of a run: a display on standard error, a function of the caller, both or neither.

    Args:
        progress: whether there is a display.
        on_event: told of each event, after the display.
    """
    return fanout(
        *((terminal_progress(),) if progress else ()), *((on_event,) if on_event is not None else ())
    )


class TerminalLine:
    """Shows a line over the last one, cut to the terminal's width; the block's end clears it."""

    def __init__(self, out: TextIO, *, redraws: bool) -> None:
        self._out = out
        self._redraws = redraws

    def __call__(self, text: str) -> None:
        """Show this now."""
        text = visible(text)
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
    """Return a line on `out`: redrawn on a terminal that can, printed anew elsewhere, discarded if there is no stream."""
    if out is None:
        return TerminalLine(open_null(), redraws=False)
    stream = forgiving(out)
    if not stream.isatty():
        return TerminalLine(stream, redraws=False)
    from rich.console import Console

    return TerminalLine(stream, redraws=not Console(file=stream).is_dumb_terminal)


def forgiving(out: TextIO) -> TextIO:
    """`out`, but writing never fails: a terminal that was closed must not end a job of hours."""
    return out if isinstance(out, _Forgiving) else cast("TextIO", _Forgiving(out))


class _Forgiving(io.TextIOBase):
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a stream has one
        return getattr(self._out, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if not self._gone:
            try:
                self._write(text)
            except (OSError, ValueError):
                self._gone = True
        return len(text)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
        except UnicodeEncodeError:
            self._out.write(text.encode(self.encoding, "replace").decode(self.encoding))

    def flush(self) -> None:
        if not self._gone:
            try:
                self._out.flush()
            except (OSError, ValueError):
                self._gone = True

    def isatty(self) -> bool:
        try:
            return self._out.isatty()
        except (OSError, ValueError):
            return False


def open_null() -> TextIO:
    """Return a stream that discards what is written."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # lives as long as the process
