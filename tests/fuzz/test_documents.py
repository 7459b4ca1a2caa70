"""What others send, changed at random: every document is taken, or refused in one clear message (`documents.Case.judge`)."""

from __future__ import annotations

import os

import pytest

from downloader.engine.memory import peak_memory
from tests.fuzz.documents import KINDS, Case, run, to_bytes

SEED = int(os.environ.get("SEED", "13"))
DEPTH = float(os.environ.get("DEPTH", "1"))
COUNT = {
    "asset": 100,
    "listing": 100,
    "collection": 100,
    "computed": 100,
    "elements": 100,
    "token": 300,
    "job": 200,
}
"""Documents of each kind in a usual run; DEPTH times as many in a deeper one, and others for another SEED."""
GROWTH = 200 * 2**20


@pytest.mark.parametrize("kind", KINDS)
def test_the_documents_themselves_are_fine(kind, tmp_path):
    """Without a change nothing is refused, so that the fuzzer does not only meet the first check of each reader."""
    assert Case(kind, to_bytes(KINDS[kind][0]), tmp_path).judge() == (2 if kind == "collection" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_documents_end_well(kind, tmp_path):
    before = peak_memory()
    count = round(COUNT[kind] * DEPTH)
    ends = run(kind, SEED, count, tmp_path)
    assert sum(ends.values()) >= count
    assert len(ends) > 1, "only one way to end: the changes do not reach deep enough"
    assert peak_memory() - before < GROWTH
