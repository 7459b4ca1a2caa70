"""Watching a run: right counts, readable at any width, and no display that ends a job."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from downloader.errors import Action, Cause, FetchProblem
from downloader.events import Ended, Failed, Flow, Notice, Phase, Retried, Split, Started, Stored
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band
from downloader.planning import Estimate, Group, Request, ShardKey, Tiling
from downloader.planning.strip import strip
from downloader.progress import tally as tally_module
from downloader.progress import terminal as terminal_module
from downloader.progress.tally import Tally, announcement, fanout
from downloader.progress.terminal import Bar, Lines, forgiving, terminal_progress
from downloader.text import size

PROBLEM = FetchProblem(Action.RETRY, Cause.RESET, "connection reset")
ESTIMATE = Estimate(1, 1, 64, 115_600, 4_000, 964_000_000, 964_000_000, 60.0)
LATTICE = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 9000, 9000)


GROUPS = (
    Group(
        "",
        LATTICE,
        Window(0, 0, 2048, 512),
        (Band("B1", np.dtype("<f8"), LATTICE),),
        Tiling(2048, 512, shard=2),
        (1, 1),
    ),
)


def requests(bands: int = 1) -> list[Request]:
    """The requests of a group of 4 tiles."""
    columns = tuple(Band(f"B{n}", np.dtype("<f8"), LATTICE) for n in range(bands))
    group = Group("", LATTICE, Window(0, 0, 512, 512), columns, Tiling(512, 512, shard=2), (1, 1))
    return list(group.requests(ShardKey("", 0, 0, 0)))


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


class Broken(io.StringIO):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


# Counting --------------------------------------------------------------------------------------------------


def test_a_tally_counts_everything() -> None:
    tally = Tally()
    tally(Started(ESTIMATE, 100))
    one, two, three, four = requests()
    tally(Stored(one, 1000, 0.5, attempts=3))
    tally(Retried(one, PROBLEM, 1))
    tally(Retried(one, PROBLEM, 2))
    tally(Failed(two, PROBLEM, attempts=2))
    tally(Split(three, PROBLEM, (), attempts=1))
    tally(Stored(four, 500, 0.5))
    tally(Notice("pausing"))
    tally(Flow(7, 40))
    assert (tally.tiles_total, tally.tiles_before, tally.tiles_stored, tally.tiles_failed) == (
        115_600,
        100,
        2,
        1,
    )
    assert (tally.requests, tally.splits, tally.wire_bytes) == (7, 1, 1500)
    assert tally.retries == {"reset": 2}
    assert (tally.notices, tally.in_flight, tally.ceiling) == (["pausing"], 7, 40)
    assert tally.tiles_now == 103


@pytest.mark.parametrize("bands", [1, 100, 250])
def test_tiles_whose_bands_come_apart_are_not_counted_twice(bands: int) -> None:
    """100 float64 bands come in two requests a tile: half of the requests are half of the tiles."""
    tally = Tally()
    tally(Started(Estimate(1, 1, 1, 4, 8, 1, 1, 1.0), 0))
    parts = requests(bands)
    assert len(parts) == 4 * -(-bands // 85)
    for request in parts:
        tally(Stored(request, 1, 0.1))
    assert tally.tiles_stored == pytest.approx(4)
    assert tally.tiles_now == 4
    halfway = Tally()
    halfway(Started(Estimate(1, 1, 1, 4, 8, 1, 1, 1.0), 0))
    for request in parts[: len(parts) // 2]:
        halfway(Stored(request, 1, 0.1))
    assert halfway.tiles_stored == pytest.approx(2)


def test_a_tally_never_passes_its_total() -> None:
    tally = Tally()
    tally(Started(Estimate(1, 1, 1, 4, 4, 1, 1, 1.0), 3))
    for request in requests():
        tally(Stored(request, 1, 0.1))
    assert tally.tiles_now == 4


def test_everyone_is_told_everything() -> None:
    first, second = Tally(), Tally()
    request = requests()[0]
    all_of_them = fanout(first, second)
    all_of_them(Started(ESTIMATE, 5))
    all_of_them(Stored(request, 10, 0.1))
    all_of_them(Retried(request, PROBLEM, 1))
    all_of_them(Notice("x"))
    all_of_them(Flow(1, 2))
    for tally in (first, second):
        assert (
            tally.tiles_before,
            tally.wire_bytes,
            tally.retries.total(),
            tally.notices,
            tally.ceiling,
        ) == (5, 10, 1, ["x"], 2)


# Text ------------------------------------------------------------------------------------------------------


def words(tally: Tally) -> str:
    return ", ".join(tally.figures().words())


def busy_tally(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Tally:
    now = 1000.0
    monkeypatch.setattr(tally_module.time, "monotonic", lambda: now)
    tally = Tally()
    tally(Started(ESTIMATE, 1_024))
    tally.tiles_stored, tally.tiles_failed, tally.wire_bytes = 24_000, 3, 12_010_000_000
    tally.retries["429 concurrency"] = 12
    tally(Flow(38, 40))
    monkeypatch.setattr(tally_module.time, "monotonic", lambda: now + seconds)
    return tally


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        (5, "19 s left"),
        (100, "6 min left"),
        (3600, "3.8 h left"),
        (10**5, "4.4 days left"),
    ],
)
def test_a_summary_is_one_short_line(monkeypatch: pytest.MonkeyPatch, seconds: float, left: str) -> None:
    text = words(busy_tally(monkeypatch, seconds))
    assert text.startswith(f"21 %, 3 failed, {left}, ")
    assert text.endswith(", 38/40 in flight, 12 retries, 25,027/115,600 tiles")
    assert len(text) <= 90


def test_the_summary_of_nothing_yet_has_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    tally(Started(ESTIMATE, 0))
    assert words(tally) == "0 %, 0.0 MB/s, 0/0 in flight, 0/115,600 tiles"


def test_what_it_costs_is_said_first() -> None:
    costs = f"115,600 tiles in {ESTIMATE.requests:,} requests, {size(ESTIMATE.wire_bytes)}, about "
    assert announcement(ESTIMATE, 0).startswith(costs)
    assert announcement(ESTIMATE, 57_800) == (
        "57,800 of 115,600 tiles left to fetch in 2,000 requests, 482.0 MB, about 30 s"
    )
    assert announcement(ESTIMATE, 115_600) == "115,600 tiles: all are stored already"


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(tally_module.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    lines = Lines(out, every_s=10)
    lines(Started(ESTIMATE, 0))
    for _ in range(25):
        now[0] += 1
        lines(Stored(requests()[0], 1_000_000, 0.1))
    lines(Notice("the service asks for a pause"))
    assert [line.split(" ")[0] for line in out.getvalue().splitlines()] == [
        "115,600",
        "0",
        "0",
        "the",
    ]
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_lines_come_also_while_everything_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage brings retries and no outcomes; silence would look like a hang."""
    now = [0.0]
    monkeypatch.setattr(tally_module.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    lines = Lines(out, every_s=10)
    lines(Started(ESTIMATE, 0))
    for attempt in range(30):
        now[0] += 1
        lines(Retried(requests()[0], PROBLEM, attempt))
    assert len(out.getvalue().splitlines()) == 4
    assert "30 retries" in out.getvalue()


# Terminals -------------------------------------------------------------------------------------------------


def drawn(bar: Bar) -> list[str]:
    """The lines that a bar shows now."""
    return bar._drawn().plain.split("\n")


def bar_text(width: int, monkeypatch: pytest.MonkeyPatch, color: str | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, legacy_windows=False, color_system=color)  # type: ignore[arg-type]
    bar = Bar(console)
    bar(Started(ESTIMATE, 100))
    for _ in range(3):
        bar(Stored(requests()[0], 1_000_000, 0.1))
    bar(Retried(requests()[0], PROBLEM, 1))
    bar(Flow(38, 40))
    bar(Notice("a notice with [brackets] and /a/path/that/is/quite/long/" + "x" * 60))
    assert bar._live is not None
    bar._live.refresh()
    bar(Ended("complete"))
    return out.getvalue()


@pytest.mark.parametrize("width", [10, 20, 43, 44, 60, 71, 72, 80, 119, 120, 160, 200])
def test_the_bar_fits_the_terminal_and_shows_what_matters_most(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    now = 1000.0
    monkeypatch.setattr(tally_module.time, "monotonic", lambda: now)
    bar = Bar(Console(file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False))
    bar(Started(ESTIMATE, 0, strip(GROUPS)))
    now += 10
    bar._tally.tiles_stored = 57_800
    bar(Retried(requests()[0], PROBLEM, 1))
    bar(Flow(38, 40))
    lines = drawn(bar)
    bar(Ended("stopped"))
    assert all(len(line) <= width - 3 for line in lines), "there is room for ^C"
    assert len(lines) == (2 if width >= 120 else 1)
    assert "50 %" in lines[-1]
    figures = ("left", "MB/s", "38/40 in flight", "1 retry", "57,800/115,600 tiles")
    shown = [one for one in figures if one in lines[-1]]
    assert shown == list(figures[: len(shown)])
    least = {10: 0, 20: 1, 43: 2, 44: 2, 60: 3, 71: 3, 72: 3, 80: 4}
    assert len(shown) >= least.get(width, 5)
    assert ("━" in lines[-1]) is (width >= 71)
    assert lines[-1].count("━") in {0, (lines[-1].count("━") + lines[-1].count("─")) // 2}


def test_a_wide_terminal_shows_which_tiles_are_there() -> None:
    """Those of earlier runs, of this one, and those that failed; a place without tiles has no cell."""
    bar = Bar(Console(file=io.StringIO(), force_terminal=True, width=128, legacy_windows=False))
    near, far = [list(GROUPS[0].requests(ShardKey("", 0, 0, column))) for column in (1, 2)]
    bar(
        Started(
            ESTIMATE,
            4,
            strip(GROUPS).holding((key, 4 * (key.column == 0)) for group in GROUPS for key in group.shards()),
        )
    )
    bar(Stored(near[0], 1, 0.1))
    bar(Failed(far[0], PROBLEM))
    cells = drawn(bar)[0]
    bar(Ended("incomplete"))
    assert cells == "█" * 31 + "░" * 31 + "×" * 31 + "·" * 31


def test_the_time_left_is_of_the_rest_and_does_not_trust_the_first_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """64 tiles in 60 s by the plan, 32 of them stored before: one tile after 5 s does not mean 155 s."""
    now = 1000.0
    monkeypatch.setattr(tally_module.time, "monotonic", lambda: now)
    tally = Tally()
    tally(Started(Estimate(1, 1, 16, 64, 64, 1, 1, 60.0), 32))
    assert tally.seconds_left is None
    now += 1.5
    tally(Stored(requests()[0], 1, 0.1))
    assert tally.seconds_left == pytest.approx(31 * (1.5 + 1.6 * 60 / 64) / 2.6)
    for _ in range(30):
        tally(Stored(requests()[0], 1, 0.1))
    now += 13.5
    assert tally.seconds_left == pytest.approx(1 * (15 + 1.6 * 60 / 64) / 32.6)
    tally(Stored(requests()[0], 1, 0.1))
    assert tally.seconds_left is None


def test_what_goes_on_before_and_behind_fetching_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(terminal_module.time, "monotonic", lambda: now)
    bar = Bar(Console(file=io.StringIO(), force_terminal=True, width=60, legacy_windows=False))
    bar(Phase("asking Earth Engine about " + "X" * 80))
    now += 95
    assert drawn(bar)[0].startswith("⠋ asking Earth Engine about XXXX") or len(drawn(bar)[0]) <= 60
    assert drawn(bar)[0].endswith("…  95 s")
    bar(Phase("reading m.zarr", 3, 10))
    assert drawn(bar) == ["⠋ reading m.zarr 3/10"]
    bar(Phase(""))
    assert bar._live is None
    bar(Started(ESTIMATE, 0))
    bar(Phase("finishing what is under way"))
    assert len(drawn(bar)) == 2
    bar(Ended("interrupted"))
    assert bar._live is None


def test_lines_tell_each_phase_once(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    lines = Lines(out, every_s=3600)
    for event in (
        Phase("asking"),
        Phase("asking"),
        Phase(""),
        Phase("reading", 0, 9),
        Phase("reading", 5, 9),
    ):
        lines(event)
    assert out.getvalue().splitlines() == ["asking", "reading"]


def test_a_bar_shows_notices_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """No markup is read into them, and no path is broken in two."""
    assert "a notice with [brackets] and\n/a/path/that/is/quite/long/" + "x" * 60 in plain(
        bar_text(40, monkeypatch)
    )


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    colored = r"\x1b\[[0-9;]*[39][0-7]"
    assert re.search(colored, bar_text(80, monkeypatch, "standard"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(colored, bar_text(80, monkeypatch, "standard"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_shows_progress_depends_on_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(terminal_progress(Terminal()), Bar)
    assert isinstance(terminal_progress(io.StringIO()), Lines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(terminal_progress(Terminal()), Lines)
    closed = io.StringIO()
    closed.close()
    assert isinstance(terminal_progress(closed), Lines)
    monkeypatch.setattr(sys, "stderr", None)
    terminal_progress()(Notice("nowhere to go"))


@pytest.mark.parametrize("tty", [True, False])
def test_a_terminal_that_goes_away_ends_nothing(monkeypatch: pytest.MonkeyPatch, tty: bool) -> None:
    """Fault 47: closed while the run goes on; also within the bar's own refreshing thread."""
    monkeypatch.setenv("TERM", "xterm")
    out = Broken()
    monkeypatch.setattr(out, "isatty", lambda: tty)
    watcher = terminal_progress(out)
    watcher(Started(ESTIMATE, 0))
    watcher(Stored(requests()[0], 1, 0.1))
    watcher(Notice("still here"))
    if isinstance(watcher, Bar):
        assert watcher._live is not None
        watcher._live.refresh()
    watcher(Ended("complete"))


def test_a_reader_that_went_away_ends_nothing() -> None:
    """A real pipe: `downloader run … 2>&1 | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        lines = Lines(out, every_s=0)
        lines(Started(ESTIMATE, 0))
        for _ in range(3):
            lines(Notice("x" * 100_000))
        # What is left in the buffer would be written once more when the stream is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def test_a_closed_stream_ends_nothing(tmp_path: Path) -> None:
    out = (tmp_path / "log").open("w")
    lines = Lines(out)
    out.close()
    lines(Notice("x"))


def test_letters_the_stream_lacks_are_replaced() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    print("10 × 10 tiles…", file=forgiving(out), flush=True)
    assert raw.getvalue().strip() == b"10 ? 10 tiles?"


def test_forgiving_twice_is_forgiving_once() -> None:
    out = forgiving(io.StringIO())
    assert forgiving(out) is out
