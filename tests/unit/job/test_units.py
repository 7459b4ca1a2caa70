"""Sizes and durations: read as written, shown so that they read back equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from downloader.job.units import Duration, Size

SIZE: TypeAdapter[int] = TypeAdapter(Size)
DURATION: TypeAdapter[float] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        (0, 0), (123, 123), ("1", 1), ("400MB", 400_000_000), ("1GiB", 2**30), ("1.5 GiB", 3 * 2**29), ("64kib", 65536),
        (".5KB", 500), ("2TB", 2 * 10**12), (1e9, 10**9), (1e22, 10**22), ("9007199254740993", 2**53 + 1),
        ("1B", 1), (" 7 MB ", 7_000_000),
    ],
)  # fmt: skip
def test_sizes(text: object, nbytes: int) -> None:
    assert SIZE.validate_python(text) == nbytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (30, 30.0), ("30s", 30.0), ("15m", 900.0), ("2min", 120.0), ("1.5h", 5400.0), ("1d", 86400.0), ("250ms", 0.25),
        ("2ms", 0.002), ("0.1s", 0.1), (0.1, 0.1), (1e-7, 1e-7), ("0", 0.0),
    ],
)  # fmt: skip
def test_durations(text: object, seconds: float) -> None:
    assert DURATION.validate_python(text) == seconds


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "write a size"), ("GB", "write a size"), ("-1MB", "write a size"), ("1 2MB", "write a size"),
        ("1GX", "unknown unit 'GX'"), (None, "write a size"), (True, "write a size"), ([1], "write a size"),
        (-1, "write a size"), (float("nan"), "write a size"), (float("inf"), "write a size"),
        ("9" * 400 + "GB", "write a size"), (10**400, "write a size"), ("1e9", "unknown unit|write a size"),
        ("\u0661MB", "write a size"),
    ],
)  # fmt: skip
def test_what_is_no_size(value: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SIZE.validate_python(value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "write a duration"), ("fast", "write a duration"), ("-5s", "write a duration"), ("5 parsecs", "unknown unit 'parsecs'"),
        ("5M", "unknown unit 'M'"), (float("inf"), "write a duration"), (True, "write a duration"), ("9" * 400, "write a duration"),
        ({}, "write a duration"),
    ],
)  # fmt: skip
def test_what_is_no_duration(value: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DURATION.validate_python(value)


@given(
    st.one_of(
        st.integers(0, 10**25),
        st.integers(0, 2000).map(lambda n: n * 2**20),
        st.integers(0, 10**6).map(lambda n: n * 10**6),
    )
)
def test_sizes_are_shown_without_loss(nbytes: int) -> None:
    assert SIZE.validate_python(SIZE.dump_python(nbytes, mode="json")) == nbytes


@given(
    st.one_of(
        st.floats(1e-9, 1e15), st.integers(0, 10**9).map(float), st.integers(0, 10**7).map(lambda n: n * 60.0)
    )
)
def test_durations_are_shown_without_loss(seconds: float) -> None:
    assert DURATION.validate_python(DURATION.dump_python(seconds, mode="json")) == seconds


def test_they_are_shown_as_people_write_them() -> None:
    assert [SIZE.dump_python(n, mode="json") for n in (2**30, 400_000_000, 0, 7)] == ["1GiB", "400MB", 0, 7]
    assert [DURATION.dump_python(s, mode="json") for s in (900.0, 7200.0, 30.0, 0.25, 0.0)] == [
        "15m",
        "2h",
        "30s",
        "0.25s",
        "0s",
    ]
