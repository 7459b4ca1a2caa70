"""The error tree: exit statuses, and errors that survive the way to another process."""

from __future__ import annotations

import inspect
import pickle

import pytest

from downloader import errors
from downloader.errors import (
    Action,
    AuthenticationError,
    Cause,
    DownloadError,
    DriftError,
    FetchProblem,
    IncompleteError,
    InterruptedRunError,
    InterruptionError,
    JobError,
    LockedError,
    MissingExtraError,
    RefusedError,
    StoppedError,
    TileError,
    exit_status,
    is_exhausted,
)
from downloader.job import Job

PROBLEM = FetchProblem(Action.SLOW, Cause.CONCURRENCY, "Too many concurrent requests.", 429, 2.5)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DownloadError("x"), 1),
        (ZeroDivisionError(), 1),
        (JobError("x"), 2),
        (MissingExtraError("GeoTIFF export", "rasters"), 2),
        (IncompleteError("x"), 3),
        (StoppedError("x"), 4),
        (RefusedError("x"), 5),
        (LockedError("x"), 5),
        (DriftError("x"), 5),
        (AuthenticationError("x"), 6),
        (InterruptionError("x", 2), 130),
        (InterruptionError("x", 15), 143),
        (InterruptedRunError("x"), 130),
    ],
)
def test_exit_status_is_the_design_table(error: Exception, status: int) -> None:
    assert exit_status(error) == status


@pytest.mark.parametrize(
    "error",
    [
        JobError("wrong"),
        MissingExtraError("GeoTIFF export", "rasters"),
        InterruptionError("drained", 15),
        InterruptedRunError("drained"),
        TileError(PROBLEM),
        StoppedError("quota"),
    ],
)
def test_errors_travel_between_processes(error: DownloadError) -> None:
    error.report = "kept"  # type: ignore[assignment]
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.report == "kept"
    assert exit_status(again) == exit_status(error)
    assert getattr(again, "problem", None) == getattr(error, "problem", None)


def test_every_error_is_one_of_the_tree() -> None:
    """What the package raises can be caught by one name."""
    classes = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, Exception)]
    assert len(classes) > 5
    assert all(issubclass(one, DownloadError) for one in classes)


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert "pip install 'earthengine-downloader[xarray]'" in str(MissingExtraError("report.open()", "xarray"))


def test_a_problem_keeps_everything_but_its_action() -> None:
    failed = PROBLEM.become(Action.FAIL_TILE)
    assert failed.action is Action.FAIL_TILE
    assert (failed.cause, failed.message, failed.status, failed.retry_after_s) == (
        "429 concurrency",
        "Too many concurrent requests.",
        429,
        2.5,
    )
    assert PROBLEM.action is Action.SLOW


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (ExceptionGroup("", [ValueError(), ExceptionGroup("", [MemoryError()])]), True),
        (ImportError("x.so: failed to map segment from shared object"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("another"), False),
        (ValueError("can't start new thread"), False),
    ],
)
def test_a_machine_without_memory_or_threads_is_told_from_a_mistake_of_ours(error, exhausted):
    assert is_exhausted(error) is exhausted


def test_a_loop_that_logs_errors_does_not_swallow_ctrl_c() -> None:
    calls: list[int] = []

    def careless_loop() -> None:
        for number in range(3):
            try:
                calls.append(number)
                raise InterruptedRunError("drained")
            except Exception:  # noqa: BLE001  # it is careless
                continue

    with pytest.raises(KeyboardInterrupt, match="drained"):
        careless_loop()
    assert calls == [0]


def test_a_notebook_shows_the_message_first_and_only_the_callers_lines() -> None:
    try:
        Job.from_dict({"source": {"asset": "A", "bandz": ["B4"]}, "mosaic": {"path": "x.zarr"}})
    except JobError as error:
        lines = error._render_traceback_()
    assert lines[0].startswith("JobError: job: source.bandz: unknown key")
    assert sum(", line " in line for line in lines) == 1
    assert "Job.from_dict" in lines[-1]
