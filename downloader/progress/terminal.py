"""Showing a run's progress: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO, cast

from downloader.errors import FetchProblem
from downloader.events import Outcome
from downloader.planning import Estimate, Request
from downloader.progress.tally import Regular, Silent, Tally, announcement, summary
from downloader.protocols import Progress
from downloader.text import counted, rate

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn, TaskID

__all__ = [
    "BarProgress",
    "LineProgress",
    "TerminalLine",
    "forgiving",
    "open_null",
    "terminal_line",
    "terminal_progress",
    "watching",
]

_WIDE = 72
"""Columns of a terminal from which the bar itself is shown."""

_NARROW = 44
"""Columns under which only the tiles are counted."""


class LineProgress(Regular):
    """A plain line now and then: for pipes, files and cron."""

    def __init__(self, out: TextIO, every_s: float = 10.0) -> None:
        super().__init__(every_s)
        self._out = forgiving(out)

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        super().start(estimate, tiles_done)
        self.notice(announcement(estimate, tiles_done))

    def notice(self, text: str) -> None:
        """See `Progress`."""
        print(text, file=self._out, flush=True)  # this is the display

    def _tell(self) -> None:
        print(summary(self._tally), file=self._out, flush=True)  # this is the display


class BarProgress(Silent):
    """A bar that stays on one line: tiles, MB/s, retries, requests in flight, time left."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._tally = Tally()
        self._console = console
        tiles = TextColumn("{task.completed:,.0f}/{task.total:,.0f} tiles")
        rate, flow = TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[flow]}")
        left = TimeRemainingColumn(compact=True, elapsed_when_finished=True)
        if console.width >= _WIDE:
            columns: tuple[ProgressColumn, ...] = (BarColumn(bar_width=None), tiles, rate, flow, left)
        else:
            columns = (tiles, rate, left) if console.width >= _NARROW else (tiles,)
        self._bar: Bar = Progress(
            *columns,
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._task: TaskID | None = None

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        self._tally.start(estimate, tiles_done)
        self.notice(announcement(estimate, tiles_done))
        self._task = self._bar.add_task("", total=estimate.tiles, completed=tiles_done, rate="", flow="")

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        self._tally.outcome(outcome)
        self._refresh()

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        self._tally.retried(request, problem, attempt)
        self._refresh()

    def notice(self, text: str) -> None:
        """See `Progress`."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        self._tally.flow(in_flight, ceiling)

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

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def terminal_progress(out: TextIO | None = None) -> Progress:
    """A bar where `out` (standard error by default) is a terminal that can show one, else plain lines."""
    stream: TextIO | None = out or sys.stderr
    if stream is None:  # a process without standard error, as some services start them
        return Silent()
    stream = forgiving(stream)
    if not stream.isatty():
        return LineProgress(stream)
    from rich.console import Console

    console = Console(file=stream)
    return LineProgress(stream) if console.is_dumb_terminal else BarProgress(console)


def watching(progress: Progress | bool) -> Progress:
    """Return `progress` itself, a bar or plain lines on standard error for True, and nothing for False."""
    if isinstance(progress, bool):
        return terminal_progress() if progress else Silent()
    return progress


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
    """A stream that forgets."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # lives as long as the process
