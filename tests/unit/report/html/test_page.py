"""Pages: maps that show the worst of many tiles, charts with round ticks, and texts that are only texts."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.progress.history import History, Latencies, TimedNotice, Timeline
from downloader.report.how_to_open import recipes
from downloader.report.html.charts import line_chart, nice_step, time_unit
from downloader.report.html.render import figures_html
from downloader.report.html.tile_maps import outlines, rectangles, state_maps
from downloader.report.html.tile_states import EMPTY, STATES, fold, state_map
from downloader.report.html.timeline import timeline_view
from downloader.report.run_result import FailedTile
from tests.unit.report.test_report import REPORT

MISSING, STORED, OUTSIDE_REGION, OUTSIDE_IMAGE, FAILED = range(5)
WORST_FIRST = (FAILED, MISSING, STORED, OUTSIDE_IMAGE, OUTSIDE_REGION)


# Cells -------------------------------------------------------------------------------------------------------


def in_blocks(states, depth, side):
    """A cube of states as blocks that do not fit its cells."""
    # What lies beyond the group's edge is in the store, too, and counts for nothing.
    stored = np.pad(states, ((0, 1), (0, 2), (0, 1)), constant_values=FAILED)

    def cuts(length, step, whole):
        return [slice(k, k + step if k + step < length else whole) for k in range(0, length, step)]

    for place in itertools.product(*map(cuts, states.shape, (depth, side, side), stored.shape)):
        yield tuple(part.start for part in place), stored[place]


def worst(states):
    return next(state for state in WORST_FIRST if (states == state).any())


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 300, 140), (1, 1, 1), (9000, 1, 1), (2, 129, 1)])
@pytest.mark.parametrize(("depth", "side"), [(1, 1000), (1000, 37)])
def test_a_cell_shows_the_worst_of_its_tiles(shape, depth, side) -> None:
    states = np.random.default_rng(1).choice(5, shape, p=[0.01, 0.4, 0.4, 0.18, 0.01]).astype("u1")
    found = state_map(shape, in_blocks(states, depth, side))
    assert max(found.cells.shape) <= 128
    assert len(found.along) <= 4096
    for row, column in np.ndindex(found.cells.shape):
        r, c = row * found.side, column * found.side
        assert found.cells[row, column] == worst(states[:, r : r + found.side, c : c + found.side])
    for k in range(0, len(found.along), max(1, len(found.along) // 50)):
        part = states[k * found.run : (k + 1) * found.run]
        assert found.along[k] == worst(part)
        assert found.stored[k] == (part == STORED).sum()
    assert found.counts == tuple((states == state).sum() for state in range(len(STATES)))


def test_what_nobody_told_of_is_empty() -> None:
    found = state_map((1, 2, 2), [((0, 0, 0), np.ones((1, 1, 1), "u1"))])
    assert found.cells.tolist() == [[STORED, EMPTY], [EMPTY, EMPTY]]


def test_folding() -> None:
    assert fold(np.arange(5), -1).tolist() == [[0, 1, 2, 3, 4]]
    folded = fold(np.arange(30), -1)
    assert folded.shape == (5, 6)
    assert folded.ravel().tolist() == list(range(30))
    assert (fold(np.arange(31), -1).ravel()[31:] == -1).all()


# Outlines ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 8), st.integers(1, 8), st.lists(st.integers(0, 2), min_size=64, max_size=64))
def test_rectangles_cover_each_cell_of_a_class_once(rows, columns, values) -> None:
    cells = np.array(values[: rows * columns]).reshape(rows, columns)
    for value in range(3):
        hits = np.zeros(cells.shape, int)
        for row, column, height, width in rectangles(cells, value):
            hits[row : row + height, column : column + width] += 1
        np.testing.assert_array_equal(hits, cells == value)


def test_a_large_even_area_is_one_rectangle() -> None:
    assert outlines(np.ones((128, 128), "u1")) == {1: "M0 0h128v128h-128z"}


# Maps --------------------------------------------------------------------------------------------------------


def test_maps_of_one_image_and_of_samples() -> None:
    states = np.ones((1, 4, 6), "u1")
    states[0, 0, 0], states[0, 3, 5] = FAILED, MISSING
    (found,) = state_maps("10m", state_map((1, 4, 6), [((0, 0, 0), states)]), (5.5, 3.2), "")
    assert (found.title, found.width, found.height) == ("10m by state", 5.5, 3.2)
    assert [(entry.kind, entry.count) for entry in found.legend] == [
        ("stored", 22),
        ("missing", 1),
        ("failed", 1),
    ]
    assert {kind for kind, _ in found.paths} == {"stored", "missing", "failed"}
    assert "stored: 22, missing: 1, failed: 1" in found.words
    chips = state_map((50, 1, 1), [((0, 0, 0), np.ones((50, 1, 1), "u1"))])
    (sheet,) = state_maps("", chips, (1, 1), "sample")
    assert (sheet.title, sheet.width, sheet.height) == ("Chips by state", 8, 7)
    series = state_map((50, 2, 2), [((0, 0, 0), np.ones((50, 2, 2), "u1"))])
    area, along = state_maps("", series, (2, 2), "time")
    assert (area.title, along.title) == ("By state", "Slices by state")


# Charts ------------------------------------------------------------------------------------------------------


@given(st.floats(1e-6, 1e12), st.integers(2, 8))
def test_steps_are_nice_and_few(span, most) -> None:
    step = nice_step(span, most)
    assert span / step <= most * (1 + 1e-6)
    assert float(f"{step:e}".split("e")[0]) in {1.0, 2.0, 5.0}


def test_cells_that_can_be_told_apart_have_lines_between_them() -> None:
    (small,) = state_maps("", state_map((1, 2, 3), [((0, 0, 0), np.zeros((1, 2, 3), "u1"))]), (2.5, 2), "")
    assert small.is_lined
    assert 'd="M1 0V2.0M2 0V2.0M0 1H2.5"' in figures_html([small])
    (fine,) = state_maps("", state_map((1, 90, 90), [((0, 0, 0), np.zeros((1, 90, 90), "u1"))]), (90, 90), "")
    assert not fine.is_lined
    assert 'class="cells"' not in figures_html([fine])


def test_a_chart_stays_inside_its_frame() -> None:
    times = [0.5, 1.5, 2.5]
    chart = line_chart("c", "C", "MB/s", times, 3.0, [("a", "one", [0.0, 17.0, 4.0], True)], "words")
    ((_, _, points, _),) = chart.lines
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)
    assert points == [(0.5 / 3, 0.0), (0.5, 17 / 20), (2.5 / 3, 4 / 20)]
    assert [at for at, _ in chart.up] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [text for _, text in chart.up] == ["0", "5", "10", "15", "20"]
    assert [text for _, text in chart.across] == ["0", "0.5", "1", "1.5", "2", "2.5", "3"]


def test_times_are_told_in_the_largest_unit_that_has_two() -> None:
    assert [time_unit(s)[0] for s in (0.1, 119, 120, 7199, 7200, 172_799, 172_800)] == [
        "s", "s", "min", "min", "h", "h", "days",
    ]  # fmt: skip


def test_charts_of_a_long_run_have_few_points_and_lose_nothing() -> None:
    ones = tuple([1.0] * 600)
    view = timeline_view(Timeline(1.0, 599.5, ones, ones, (0.0,) * 600, (0.0,) * 600, ones, ones))
    assert view is not None
    assert [chart.id for chart in view.charts] == ["throughput", "concurrency"]
    assert len(view.charts[0].lines[0][2]) == 120
    assert len(view.rows) <= 31
    shares = [(float(row[1]) - float(row[0])) * 60 * float(row[3]) for row in view.rows]
    assert sum(shares) == pytest.approx(600, rel=0.01)


def test_trouble_stands_in_the_table() -> None:
    view = timeline_view(
        Timeline(1.0, 2.0, (1.0, 1.0), (1.0, 1.0), (3.0, 0.0), (0.0, 2.0), (1.0, 1.0), (4.0, 4.0))
    )
    assert view is not None
    assert view.header[-2:] == ("made again", "failed")
    assert [row[-2:] for row in view.rows] == [("3", "0"), ("0", "2")]


def test_a_run_that_asked_for_nothing_has_no_charts() -> None:
    assert timeline_view(Timeline(0.125, 0.0, (0.0,), (0.0,), (0.0,), (0.0,), (0.0,), (0.0,))) is None


def test_a_run_shorter_than_a_bin_is_a_line_over_all_of_it():
    view = timeline_view(Timeline(0.125, 0.05, (1e6,), (4.0,), (0.0,), (0.0,), (2.0,), (40.0,)))
    assert view is not None
    for chart in view.charts:
        for _, _, points, _ in chart.lines:
            (first, left), (last, right) = points
            assert (first, last) == (0, 1), "no line of one point, which is not seen"
            assert left == right > 0


# The page ----------------------------------------------------------------------------------------------------

EVIL = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\u202egpj.exe"


class Reader(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def evil_report():
    timeline = Timeline(1.0, 2.0, (1e6, 1e6), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (4.0, 4.0))
    return replace(
        REPORT,
        mosaic=f"/nowhere/{EVIL}",
        state="incomplete",
        message=EVIL,
        tiles_stored=50,
        tiles_failed=12,
        retries={EVIL: 2},
        failed=tuple(FailedTile(EVIL, 0, row, 7, (EVIL,), EVIL, EVIL, EVIL) for row in range(70)),
        source=EVIL,
        credentials=EVIL,
        service=EVIL,
        job=EVIL,
        began="2026-01-01T00:00:00Z",
        versions={EVIL: EVIL},
        history=History(timeline, Latencies((0, 2), 0.001), (TimedNotice(0.5, EVIL),), 3),
    )


def test_texts_of_strangers_are_only_texts() -> None:
    page = evil_report().to_html()
    found = read(page)
    kinds = {tag for tag, _ in found.tags}
    assert not kinds & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert not [
        attribute for _, attributes in found.tags for attribute in attributes if attribute.startswith("on")
    ]
    assert all(str(a.get("src", "data:")).startswith("data:") for _, a in found.tags)
    assert "alert(1)" in "".join(found.text), "it is shown as it is"
    assert "\u202e" not in page, "nothing turns a line around"


def test_what_a_page_names_is_bounded_and_the_rest_counted() -> None:
    page = evil_report().to_html()
    assert len(re.findall(r"<tr><th scope=\"row\">[^<]* 0/\d+/7", page)) == 50
    assert "20 more failed" in page
    assert "3 lines in the middle were not kept" in page


def test_a_page_needs_nothing_from_elsewhere() -> None:
    page = evil_report().to_html()
    for _, attributes in read(page).tags:
        for name in ("src", "href", "action", "data", "poster", "srcset", "background"):
            assert str(attributes.get(name, "#")).startswith(("#", "data:")), attributes
    assert not re.search(r"url\((?!#)|@import|@font-face", page)
    assert "Content-Security-Policy" in page


def test_headings_come_in_order_and_ids_are_unique() -> None:
    found = read(evil_report().to_html())
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [str(a["href"])[1:] for tag, a in found.tags if tag == "a"]
    assert set(targets) <= set(ids)


def test_a_mosaic_that_is_gone_is_said_and_no_more() -> None:
    page = replace(REPORT, mosaic="/nowhere/m.zarr").to_html()
    assert "The mosaic could not be read" in page
    assert "All 64 tiles are stored." in page
    assert "<img" not in page


@pytest.mark.parametrize(
    ("state", "message", "words"),
    [
        ("complete", "", "All 64 tiles are stored."),
        ("incomplete", "2 of 64 tiles failed; run it again", "62 of 64 tiles are stored. 2 of 64 tiles failed; run it again"),
        ("stopped", "limits.max_time: 62 of 64 tiles are saved; run it again", "limits.max_time: 62 of 64 tiles are saved; run it again"),
        ("interrupted", "interrupted", "62 of 64 tiles are stored. interrupted"),
        ("failed", "the disk is full", "62 of 64 tiles are stored. the disk is full"),
    ],
)  # fmt: skip
def test_the_state_in_words(state, message, words) -> None:
    stored = 64 if state == "complete" else 62
    page = replace(REPORT, state=state, message=message, tiles_stored=stored, mosaic="/nowhere").to_html()
    assert f"<span>{words}</span>" in page


def test_how_to_open_it() -> None:
    codes = dict(recipes(REPORT, "plain", "", "B2"))
    assert codes["With GDAL 3.12 or later"] == """gdalinfo 'ZARR:"out/quickstart.zarr":/B2'"""
    for code in codes.values():
        if "import" in code:
            compile(code, "recipe", "exec")
    holes = recipes(replace(REPORT, tiles_stored=60, groups=("10m", "20m")), "sharded", "", "B2")
    assert any("open_tree('out/quickstart.zarr', fetch=False, missing=\"mask\")" in code for _, code in holes)
    cloud = recipes(replace(REPORT, mosaic="s3://b/m.zarr"), "plain", "time", "B2")
    assert [title for title, _ in cloud] == ["With this package"]


# Files -------------------------------------------------------------------------------------------------------


def test_a_report_is_saved_by_the_ending_of_its_file(tmp_path) -> None:
    for ending, beginning in ((".html", "<!DOCTYPE html>"), (".json", "{"), (".txt", "complete: 64 of 64")):
        REPORT.save(tmp_path / f"r{ending}")
        assert (tmp_path / f"r{ending}").read_text().startswith(beginning)
    with pytest.raises(JobError, match=r"r\.pdf: a report is saved as \.html, \.json, \.txt"):
        REPORT.save(tmp_path / "r.pdf")
