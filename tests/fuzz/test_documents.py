"""What others send, changed at random: every document is taken, or refused in one clear message (`documents.Case.judge`)."""

from __future__ import annotations

import pytest

from downloader.engine.memory import peak_memory
from tests.fuzz.documents import KINDS, Case, run, to_bytes

SEED = 13
COUNT = {
    "asset": 300,
    "listing": 300,
    "collection": 300,
    "computed": 300,
    "elements": 300,
    "token": 1_000,
    "job": 600,
}
GROWTH = 200 * 2**20


@pytest.mark.parametrize("kind", KINDS)
def test_the_documents_themselves_are_fine(kind, tmp_path):
    """Without a change nothing is refused, so that the fuzzer does not only meet the first check of each reader."""
    assert Case(kind, to_bytes(KINDS[kind][0]), tmp_path).judge() == (2 if kind == "collection" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_documents_end_well(kind, tmp_path):
    before = peak_memory()
    ends = run(kind, SEED, COUNT[kind], tmp_path)
    assert sum(ends.values()) >= COUNT[kind]
    assert len(ends) > 1, "only one way to end: the changes do not reach deep enough"
    assert peak_memory() - before < GROWTH
