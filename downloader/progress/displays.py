"""Showing a run's progress: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from downloader.errors import FetchProblem
from downloader.outcome import Outcome
from downloader.planning import Estimate, Request
from downloader.progress.regular import Regular
from downloader.progress.streams import forgiving
from downloader.progress.tally import Silent, Tally, announcement, summary
from downloader.seams import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn, TaskID

__all__ = ["BarProgress", "LineProgress", "terminal_progress"]

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
        retries = f", {tally.retries.total():,} retries" if tally.retries else ""
        failed = f", {tally.tiles_failed:,.0f} failed" if tally.tiles_failed else ""
        self._bar.update(
            self._task,
            completed=tally.tiles_now,
            rate=f"{tally.wire_bytes / 1e6 / tally.seconds:.1f} MB/s",
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
