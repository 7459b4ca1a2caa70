"""Reducers as the job file writes them."""

from __future__ import annotations

import pytest

from downloader.errors import JobError
from downloader.expressions.reducers import REDUCERS, Reducer, parse_reducer


@pytest.mark.parametrize("word", [*REDUCERS, "p0", "p90", "p100", {"least": "B1"}, {"most": "ndvi"}])
def test_every_word_is_read_and_said_again(word):
    said = str(parse_reducer(word, "source.reduce"))
    assert said == (word if isinstance(word, str) else " ".join(*word.items()))


def test_a_percentile_has_its_number():
    assert parse_reducer("p25", "k") == Reducer("percentile", 25)


@pytest.mark.parametrize(
    "word",
    ["p101", "mode", "", 3, None, {"least": ""}, {"least": "a", "most": "b"}, ["median"], {"first": "a"}],
)
def test_what_is_refused(word):
    with pytest.raises(JobError, match="is not a reducer; write first, last, median") as caught:
        parse_reducer(word, "source.reduce")
    assert caught.value.key == "source.reduce"
