"""The one rule by which values become JSON documents."""

import enum
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from downloader.model.document import to_document


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    wire_bytes: int
    colours: tuple[Colour, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner
    path: Path
    by_name: dict[str, Inner]
    times: tuple[datetime, date]
    none: None = None


def test_dataclasses_become_objects_named_as_their_fields_are():
    value = Outer(
        Inner(3, (Colour.RED,)),
        Path("a/b"),
        {"x": Inner(1)},
        (datetime(2017, 4, 1, 12, tzinfo=UTC), date(2017, 4, 1)),
    )
    assert json.loads(json.dumps(to_document(value))) == {
        "inner": {"wire_bytes": 3, "colours": ["red"]},
        "path": "a/b",
        "by_name": {"x": {"wire_bytes": 1, "colours": []}},
        "times": ["2017-04-01T12:00:00Z", "2017-04-01"],
        "none": None,
    }


def test_numbers_of_numpy_and_those_that_json_lacks_are_written():
    values = [np.int16(3), np.float32(0.5), float("nan"), float("inf"), -np.inf, np.dtype("<u2"), True]
    text = json.dumps(to_document(values), allow_nan=False)
    assert json.loads(text) == [3, 0.5, "NaN", "Infinity", "-Infinity", "uint16", True]


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="a object has no place"):
        to_document({"a": object()})
