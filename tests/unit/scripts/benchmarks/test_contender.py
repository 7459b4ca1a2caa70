"""What every contender is told to fetch."""

from __future__ import annotations

from dataclasses import asdict

from downloader.planning import PixelRequest
from scripts.benchmarks.contender import Meter, Task
from scripts.benchmarks.engine import plan_of

TASK = Task("http://h", "k", "p", "COPERNICUS/S2/X", ("B2", "B3"), (100, 200, 700, 300), "out")


def test_squares_cover_the_window_once() -> None:
    covered = [
        (x, y)
        for column, row, width, height in TASK.squares(256)
        for x in range(column, column + width, 4)
        for y in range(row, row + height, 4)
    ]
    assert len(covered) == len(set(covered)) == 175 * 75


def test_a_body_is_placed_by_the_windows_own_corner() -> None:
    grid = TASK.body(10, 20, 30, 40)["grid"]
    assert grid["dimensions"] == {"width": 30, "height": 40}
    assert grid["affineTransform"]["translateX"] == 499980 + 10 * 110
    assert grid["affineTransform"]["translateY"] == 4200000 - 10 * 220


def test_a_task_survives_json() -> None:
    values = asdict(TASK)
    assert Task(**values) == TASK
    assert TASK.name == "projects/earthengine-public/assets/COPERNICUS/S2/X"


def test_the_meter_counts_time_and_memory() -> None:
    with Meter() as meter:
        sum(range(200_000))
    result = meter.result(note="n")
    assert result.seconds > 0
    assert result.peak_mb > 1
    assert result.note == "n"


def test_the_memory_plan_is_as_large_as_asked_and_asks_for_bytes() -> None:
    plan = plan_of(10**6)
    assert plan.count_tiles() == 10**6
    request = next(iter(plan.groups[0].requests(next(iter(plan.shards())))))
    asked: PixelRequest = plan.pixel_request(request)
    assert asked.dtype.itemsize == 1
