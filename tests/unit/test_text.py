"""Numbers, sizes, durations, plurals and tables as people read them."""

from dataclasses import replace
from pathlib import Path

import pytest

from downloader.exports.export import Exported
from downloader.planning import Estimate
from downloader.progress.tally import announcement
from downloader.text import counted, duration, few, folded, memory, rate, size, table, visible

ESTIMATE = Estimate(1, 1, 1, 1, 1, 3_000_000_000_000, 3_000_000_000_000, 200_000.0)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (999, "999 bytes"),
        (12_345, "12 kB"),
        (524_288, "524 kB"),
        (33_600_000, "33.6 MB"),
        (10_200_000_000, "10.20 GB"),
        (3_000_000_000_000, "3.00 TB"),
        (4_000_000_000_000_000, "4,000.00 TB"),
    ],
)
def test_sizes(nbytes: float, text: str) -> None:
    assert size(nbytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0004, "0 s"),
        (0.123, "0.12 s"),
        (2.5, "2.5 s"),
        (9.96, "10 s"),
        (35.4, "35 s"),
        (900, "15 min"),
        (9_000, "2.5 h"),
        (200_000, "2.3 days"),
        (1e8, "1,157.4 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_is_not_several() -> None:
    assert [counted(n, "tile") for n in (0, 1, 2, 2_000)] == ["0 tiles", "1 tile", "2 tiles", "2,000 tiles"]
    assert counted(2, "retry", "retries") == "2 retries"
    assert counted(1, "retry", "retries") == "1 retry"


def test_the_same_bytes_and_times_read_alike_everywhere() -> None:
    one = announcement(ESTIMATE, 0)
    assert one == "1 tile in 1 request, 3.00 TB, about 2.3 days"
    several = announcement(replace(ESTIMATE, tiles=1_200, requests=2_000), 0)
    assert several.startswith("1,200 tiles in 2,000 requests, ")
    written = Exported(Path("x.tif"), "", ("B4",), 1, 1, "uint16", None, 0, 3_000_000_000_000)
    assert str(written).endswith("3.00 TB")


def test_memory_is_told_as_the_job_file_takes_it() -> None:
    assert memory(200 * 2**20) == "200 MiB"


def test_a_rate_keeps_its_unit_and_divides_by_no_zero() -> None:
    assert rate(28_311_552, 2.5) == "11.3 MB/s"
    assert rate(0, 0) == "0.0 MB/s"


def test_many_names_are_cut_and_counted() -> None:
    assert few(["B1", "B2"]) == "B1, B2"
    assert few([f"B{n}" for n in range(16)]) == "B0, B1, B2, B3, B4, B5 … (16 bands)"


def test_a_table_aligns_numbers_to_the_right() -> None:
    shown = table([["B4", "9"], ["B11", "1,024"]], ("band", "tiles"))
    assert shown.splitlines() == ["band  tiles", "B4        9", "B11   1,024"]
    assert table([], ("band", "tiles")) == "band  tiles"


@pytest.mark.parametrize(
    "harmful", ["\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2028", "\u2066", "\ufeff", "\ud800"]
)
def test_what_steers_a_terminal_is_replaced(harmful: str) -> None:
    assert visible(f"B2{harmful}\tB3\nB4") == "B2\ufffd\tB3\nB4"


def test_texts_of_any_script_stay() -> None:
    words = "Øresund, 東京, دریای خزر, می‌خواهم, 👩‍🚀 ±2 µm"
    assert visible(words) == words


@pytest.mark.parametrize(
    ("text", "columns", "wanted"),
    [
        ("a short line", 80, "a short line"),
        ("one two three four five six", 20, "one two three four\nfive six"),
        ("  one two three four five six", 20, "  one two three four\n  five six"),
        ("see /a/path-that-is-longer/than-the-line", 20, "see\n/a/path-that-is-longer/than-the-line"),
        ("first\n\nsecond", 20, "first\n\nsecond"),
        ("open it: open('/my own/m.zarr', None)", 20, "open it: open('/my own/m.zarr', None)"),
        ("", 20, ""),
    ],
)
def test_a_terminal_breaks_no_word(text: str, columns: int, wanted: str) -> None:
    assert folded(text, columns) == wanted
