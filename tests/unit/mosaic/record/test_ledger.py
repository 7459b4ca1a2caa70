"""The ledger's lines, whole and broken."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import RefusedError
from downloader.mosaic.record.ledger import LedgerEntry, LedgerReader, LedgerWriter, Piece
from downloader.mosaic.record.paths import LEDGER
from downloader.mosaic.record.state import FailedTiles
from downloader.mosaic.storage.disk import DiskStore

masks, numbers = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
pieces = st.builds(
    Piece,
    masks,
    st.integers(0, 2**31),
    st.lists(st.tuples(st.integers(0, 63), numbers, numbers), max_size=3).map(tuple),
)
entries = st.builds(
    LedgerEntry,
    st.sampled_from(["", "10m"]),
    st.tuples(*[st.integers(0, 10**6)] * 3),
    st.dictionaries(st.text(max_size=5), pieces, max_size=3),
    st.lists(
        st.builds(FailedTiles, masks, st.frozensets(st.text(max_size=3), max_size=2), st.text(), st.text()),
        max_size=2,
    ).map(tuple),
    st.just("2026-01-01T00:00:00Z"),
)


@given(entries)
def test_a_line_comes_back_as_it_was(entry) -> None:
    line = entry.to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert LedgerEntry.from_document(json.loads(line)) == entry


def entry(row: int, stored: int = 1) -> LedgerEntry:
    return LedgerEntry("", (0, row, 0), {"B2": Piece(stored, 100)}, time="t")


def test_every_run_has_a_file_of_its_own_and_they_are_read_in_order(tmp_path) -> None:
    store = DiskStore(tmp_path)
    first = LedgerWriter(store)
    first.append(entry(0), entry(1))
    second = LedgerWriter(store)
    second.append(entry(0, stored=3))
    first.append(entry(2))
    reader = LedgerReader(store)
    assert [(e.shard[1], e.pieces["B2"].stored) for e in reader.entries()] == [(0, 1), (1, 1), (2, 1), (0, 3)]
    assert reader.garbage == 0


def test_a_run_that_commits_nothing_leaves_no_file(tmp_path) -> None:
    LedgerWriter(DiskStore(tmp_path))
    assert list(LedgerReader(DiskStore(tmp_path)).entries()) == []
    assert list(tmp_path.iterdir()) == []


def test_garbage_is_counted_and_passed_over(tmp_path) -> None:
    store = DiskStore(tmp_path)
    writer = LedgerWriter(store)
    writer.append(entry(0))
    path = tmp_path / writer.key
    with path.open("ab") as file:
        file.write(b"\0\0\0\0\n[1]\n{}\nnull\n\xff\xfe\n" + b'{"group":"","shard":[0,1]}\n')
    writer.append(entry(5))
    with path.open("ab") as file:
        file.write(entry(6).to_line()[:-9])
    reader = LedgerReader(store)
    assert [e.shard[1] for e in reader.entries()] == [0, 5]
    assert reader.garbage == 7


@pytest.mark.parametrize(
    "piece",
    [["-1", 100], ["1", -1], ["1", 2**32], ["1", 1e400], ["1", 0, [-1, 5, 5]], ["1", 0, [2**40, 5, 5]], ["1", 0, [0, 5, -1]]],
    ids=str,
)  # fmt: skip
def test_numbers_that_no_run_writes_are_garbage(tmp_path, piece) -> None:
    store = DiskStore(tmp_path)
    writer = LedgerWriter(store)
    writer.append(entry(0))
    document = json.loads(entry(1).to_line())
    for other in ({"bands": {"B2": piece}}, {"recipe": -1}, {"shard": [0, -1, 0]}):
        with (tmp_path / writer.key).open("a") as file:
            file.write(json.dumps({**document, **other}) + "\n")
    reader = LedgerReader(store)
    assert [e.shard[1] for e in reader.entries()] == [0]
    assert reader.garbage == 3


@pytest.mark.parametrize("version", [2, 4, "3", None])
def test_a_ledger_of_another_version_is_refused(tmp_path, version) -> None:
    store = DiskStore(tmp_path)
    store.put(f"{LEDGER}/a.jsonl", [json.dumps({"ledger": version}).encode() + b"\n", entry(0).to_line()])
    with pytest.raises(RefusedError, match=rf"ledger version {version}, and this downloader reads version 3"):
        list(LedgerReader(store).entries())
