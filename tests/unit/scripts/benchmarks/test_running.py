"""What the benchmark counts of the service's records."""

from __future__ import annotations

import pytest

from scripts.benchmarks.running import under_way


def test_requests_under_way_are_a_mean_over_each_bin() -> None:
    assert under_way([(0.0, 1.0), (0.25, 0.5), (0.6, 0.7)], 0.25) == pytest.approx([1, 2, 1.4, 1])
    assert under_way([(0.1, 0.2)], 0.25) == pytest.approx([0.4])
