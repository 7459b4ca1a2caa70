"""One quota for many workers: together never more, each its part, whatever comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from downloader.engine.dask.quota import Division


def settled(division: Division, names: list[str], now: float = 0.0) -> list[int]:
    """What everybody has once all have been heard."""
    for _ in range(3):
        for name in names:
            grant = division.grant(name, now)
            division.told(name, grant.concurrency, 0, 0.0)
    return [division.grant(name, now).concurrency for name in names]


def test_the_quota_is_divided_evenly_and_wholly():
    division = Division(40, 90.0)
    for name in "abc":
        division.join(name)
    assert settled(division, list("abc")) == [14, 13, 13]
    grants = [division.grant(name, 0) for name in "abc"]
    assert sum(grant.requests_per_second for grant in grants) == 90
    assert sum(grant.retries for grant in grants) <= 100


def test_a_newcomer_waits_until_the_others_gave_back():
    division = Division(10, 100.0)
    division.join("a")
    assert settled(division, ["a"]) == [10]
    division.join("b")
    assert division.grant("b", 0).concurrency == 0, "all is taken"
    assert division.grant("a", 0).concurrency == 5
    division.told("a", 10, 10, 0.0)
    assert division.grant("b", 0).concurrency == 0, "not heard yet"
    division.told("a", 5, 8, 0.0)
    assert division.grant("b", 0).concurrency == 2, "eight are still under way"
    division.told("a", 5, 5, 0.0)
    assert division.grant("b", 0).concurrency == 5


def test_what_a_lost_worker_had_is_free_when_its_requests_must_have_ended():
    division = Division(10, 100.0)
    for name in "ab":
        division.join(name)
    assert settled(division, ["a", "b"]) == [5, 5]
    division.leave("b", free_at=7.0)
    assert division.grant("a", 6.9).concurrency == 5
    assert division.grant("a", 7.1).concurrency == 10


def test_more_workers_than_requests():
    division = Division(2, 10.0)
    for name in "abc":
        division.join(name)
    assert settled(division, list("abc")) == [1, 1, 0]


def test_retries_that_a_lost_worker_spent_stay_spent():
    division = Division(10, 100.0, retries=100)
    for name in "ab":
        division.join(name)
    settled(division, ["a", "b"])
    division.told("b", 5, 0, 40.0)
    division.leave("b", free_at=0.0)
    assert division.grant("a", 1.0).retries == 60


@given(
    concurrency=st.integers(1, 50),
    events=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["join", "leave", "grant", "heard", "slow"])),
        max_size=80,
    ),
)
def test_all_together_never_have_more_than_the_quota(concurrency, events):
    """Workers modelled at their worst: they use all that they were last told, and shrink only when heard."""
    division, now = Division(concurrency, 100.0), 0.0
    told: dict[str, int] = {}
    using: dict[str, int] = {}
    gone: list[tuple[float, int]] = []
    for number, what in events:
        name, now = f"w{number}", now + 1
        if what == "join" and name not in told:
            division.join(name)
            told[name] = using[name] = 0
        elif name not in told:
            continue
        elif what == "leave":
            division.leave(name, now + 3)
            gone.append((now + 3, max(using.pop(name), told.pop(name))))
        elif what == "grant":
            told[name] = division.grant(name, now).concurrency
            using[name] = max(using[name], told[name])
        elif what == "slow":
            division.told(name, told[name], using[name], 0.0)
        else:
            using[name] = told[name]
            division.told(name, told[name], using[name], 0.0)
        still = sum(requests for until, requests in gone if until > now)
        assert sum(using.values()) + still <= concurrency
