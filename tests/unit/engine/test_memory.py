"""What a job's limit of memory counts."""

from __future__ import annotations

import pytest

from downloader.engine import memory


@pytest.mark.parametrize(("holds", "counted"), [(110 * 2**20, 110 * 2**20), (8 * 2**30, memory.OWN)])
def test_what_a_callers_process_holds_is_not_the_jobs(monkeypatch, holds: int, counted: int) -> None:
    monkeypatch.setattr(memory, "current_memory", lambda: holds)
    assert memory.base_memory() == counted


@pytest.mark.parametrize("before", [110 * 2**20, 8 * 2**30])
def test_what_the_job_has_read_since_it_began_is_the_jobs(monkeypatch, before: int) -> None:
    documents = 400 * 2**20
    monkeypatch.setattr(memory, "current_memory", lambda: before + documents)
    assert memory.base_memory(before) == min(before, memory.OWN) + documents
