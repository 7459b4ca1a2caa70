"""The shards of a group, in the order in which they are asked for."""

from __future__ import annotations

import pytest

from downloader.planning import Group
from tests.fakes import make_plan_of


def group_of(rows: int, columns: int) -> Group:
    """A group of so many tiles, four a shard."""
    return make_plan_of((rows, columns), shard=2, shape=(1, 1)).groups[0]


def test_whole_shards_and_clipped_ones_take_turns_and_the_corner_comes_last() -> None:
    places = [(key.row, key.column) for key in group_of(5, 7).shards()]
    assert places == [
        (0, 0), (0, 3), (0, 1), (1, 3), (0, 2), (2, 0), (1, 0), (2, 1), (1, 1), (2, 2), (1, 2), (2, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 9), (9, 1), (4, 4), (4, 5), (5, 4), (3, 3)])
def test_every_shard_comes_once(rows: int, columns: int) -> None:
    group = group_of(rows, columns)
    places = [(key.row, key.column) for key in group.shards()]
    assert sorted(places) == [
        (row, column) for row in range(-(-rows // 2)) for column in range(-(-columns // 2))
    ]
