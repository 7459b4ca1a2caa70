"""Who watches a run: a tally that counts, a bar for terminals, plain lines for everything else."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from downloader.errors import FetchProblem
from downloader.outcome import Failed, Outcome, Split, Stored
from downloader.planning import Estimate, Request
from downloader.seams import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["BarProgress", "Fanout", "LineProgress", "Silent", "Tally", "terminal_progress"]


class Silent:
    """Watches nothing; the base of those that watch something."""

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""

    def notice(self, text: str) -> None:
        """See `Progress`."""

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


@dataclass(slots=True)
class Tally(Silent):
    """Counts what happens: the source of reports and of the displays."""

    tiles_total: int = 0
    tiles_before: int = 0
    """Stored by earlier runs."""
    tiles_stored: int = 0
    """Stored by this run; a tile whose bands came apart counts by its share of bytes, rounded."""
    tiles_failed: int = 0
    requests: int = 0
    """Calls made, retries included."""
    splits: int = 0
    wire_bytes: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    """Cause → how many calls were made again for it."""
    notices: list[str] = field(default_factory=list)
    in_flight: int = 0
    ceiling: int = 0
    started: float = field(default_factory=time.monotonic)

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        self.tiles_total, self.tiles_before = estimate.tiles, tiles_done
        self.started = time.monotonic()

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        self.requests += outcome.attempts
        match outcome:
            case Stored():
                self.tiles_stored += outcome.request.tiles
                self.wire_bytes += outcome.wire_bytes
            case Failed():
                self.tiles_failed += outcome.request.tiles
            case Split():
                self.splits += 1

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:  # noqa: ARG002
        """See `Progress`."""
        self.retries[problem.cause] += 1

    def notice(self, text: str) -> None:
        """See `Progress`."""
        self.notices.append(text)

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        self.in_flight, self.ceiling = in_flight, ceiling

    @property
    def seconds(self) -> float:
        """Since the start."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def tiles_now(self) -> int:
        """Tiles that need nothing more from this run, failed ones included."""
        return min(self.tiles_before + self.tiles_stored + self.tiles_failed, self.tiles_total)


class Fanout(Silent):
    """Tells each of several watchers the same."""

    def __init__(self, *watchers: Progress) -> None:
        self._watchers = watchers

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.start(estimate, tiles_done)

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.outcome(outcome)

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.retried(request, problem, attempt)

    def notice(self, text: str) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.notice(text)

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        for watcher in self._watchers:
            watcher.flow(in_flight, ceiling)

    def __enter__(self) -> Self:
        for watcher in self._watchers:
            watcher.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watcher in reversed(self._watchers):
            watcher.__exit__(kind, error, trace)


class LineProgress(Silent):
    """A plain line now and then: for pipes, files and cron."""

    def __init__(self, out: TextIO, every_s: float = 10.0) -> None:
        self._out = out
        self._every_s = every_s
        self._tally = Tally()
        self._last = time.monotonic()

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        self._tally.start(estimate, tiles_done)
        self._last = time.monotonic()

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        self._tally.outcome(outcome)
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            self._say(summary(self._tally))

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        self._tally.retried(request, problem, attempt)

    def notice(self, text: str) -> None:
        """See `Progress`."""
        self._say(text)

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        self._tally.flow(in_flight, ceiling)

    def _say(self, text: str) -> None:
        # A reader that went away (a closed pipe) must not end a job of hours.
        try:
            print(text, file=self._out, flush=True)  # this is the display
        except OSError:
            self._out = open_null()


class BarProgress(Silent):
    """A bar that stays on one line: tiles, MB/s, retries, requests in flight, time left."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._tally = Tally()
        self._console = console
        self._bar: Bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} tiles"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[flow]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._task: TaskID | None = None

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        self._tally.start(estimate, tiles_done)
        self._task = self._bar.add_task("", total=estimate.tiles, completed=tiles_done, rate="", flow="")

    def outcome(self, outcome: Outcome) -> None:
        """See `Progress`."""
        self._tally.outcome(outcome)
        self._refresh()

    def retried(self, request: Request, problem: FetchProblem, attempt: int) -> None:
        """See `Progress`."""
        self._tally.retried(request, problem, attempt)

    def notice(self, text: str) -> None:
        """See `Progress`."""
        self._console.print(text, markup=False, highlight=False)

    def flow(self, in_flight: int, ceiling: int) -> None:
        """See `Progress`."""
        self._tally.flow(in_flight, ceiling)

    def _refresh(self) -> None:
        tally = self._tally
        if self._task is None:
            return
        retries = f", {tally.retries.total():,} retries" if tally.retries else ""
        self._bar.update(
            self._task,
            completed=tally.tiles_now,
            rate=f"{tally.wire_bytes / 1e6 / tally.seconds:.1f} MB/s",
            flow=f"{tally.in_flight}/{tally.ceiling} at once{retries}",
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def summary(tally: Tally) -> str:
    """One line: how far, how fast, how much trouble."""
    left = tally.tiles_total - tally.tiles_now
    done = tally.tiles_stored + tally.tiles_failed
    eta = f", about {left * tally.seconds / done:,.0f} s left" if done and left else ""
    retries = f", {tally.retries.total():,} retries" if tally.retries else ""
    failed = f", {tally.tiles_failed:,} failed" if tally.tiles_failed else ""
    return (
        f"{tally.tiles_now:,}/{tally.tiles_total:,} tiles, {tally.wire_bytes / 1e6 / tally.seconds:.1f} MB/s, "
        f"{tally.in_flight}/{tally.ceiling} at once{retries}{failed}{eta}"
    )


def open_null() -> TextIO:
    """A stream that forgets."""
    import os

    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # lives as long as the process


def terminal_progress(out: TextIO | None = None) -> Progress:
    """A bar where `out` (standard error by default) is a terminal, else plain lines."""
    stream = out or sys.stderr
    if not stream.isatty():
        return LineProgress(stream)
    from rich.console import Console

    return BarProgress(Console(file=stream))
