"""Shards to be handed out: looked up as they are needed, in their order, within the job's limits."""

from __future__ import annotations

import math

from downloader.engine.dask.backlog import Backlog
from downloader.engine.dask.messages import Mailbox
from downloader.errors import Action, FetchProblem
from downloader.events import Notice, Split, Stored
from downloader.job.sections.service import Limits
from tests.fakes import make_plan_of

PROBLEM = FetchProblem(Action.SPLIT, "memory", "too much")


class Nothing:
    """A mosaic in which nothing is stored but `done`."""

    def __init__(self, plan, done=()):
        self.plan, self.done, self.asked = plan, set(done), 0

    def missing(self, key):
        self.asked += 1
        return {} if key in self.done else self.plan.groups[0].wanted(key)


async def test_a_million_shards_are_never_listed():
    plan = make_plan_of((1000, 1000), shard=1)
    keys = iter(plan.shards())
    seen = Nothing(plan)
    backlog = Backlog(plan, keys, seen.missing)
    await backlog.look_ahead(100)
    assert seen.asked == 100
    assert math.isinf(backlog.left)
    assert len(backlog.take(5)) == 5
    await backlog.look_ahead(100)
    assert seen.asked < 200
    assert next(keys) is not None


async def test_shards_that_are_done_are_passed_and_the_end_is_seen():
    plan = make_plan_of((4, 4), shard=1)
    keys = list(plan.shards())
    backlog = Backlog(plan, keys, Nothing(plan, keys[:10]).missing)
    await backlog.look_ahead(100)
    assert backlog.left == 6
    run = backlog.take(4)
    assert list(run) == keys[10:14]
    backlog.put_back([keys[11], keys[0]])
    assert list(backlog.take(9)) == [keys[11], *keys[14:]]
    assert backlog.is_empty


async def test_a_limit_cuts_within_a_shard():
    plan = make_plan_of((4, 4), shard=4)
    backlog = Backlog(plan, plan.shards(), Nothing(plan).missing, Limits(max_requests=5))
    await backlog.look_ahead(10)
    (missing,) = backlog.take(100).values()
    assert {mask.bit_count() for mask in missing.values()} == {5}
    assert backlog.limit == "limits.max_requests: 5 requests are made"
    assert backlog.is_empty


async def test_shards_that_come_back_are_counted_once():
    plan = make_plan_of((4, 4), shard=1)
    backlog = Backlog(plan, plan.shards(), Nothing(plan).missing, Limits(max_requests=20))
    await backlog.look_ahead(100)
    lost = list(backlog.take(10))
    made = [next(iter(plan.group(key.group).requests(key, {0: 1}))) for key in lost[:3]]
    for request in made:
        backlog.heard(Stored(request, 1, 0.1))
    backlog.put_back(lost)
    assert len(backlog.take(100)) == 16, "three calls were made, and sixteen are to come"
    assert backlog.limit is None


async def test_calls_that_a_lost_worker_made_stay_counted():
    plan = make_plan_of((4, 4), shard=1)
    backlog = Backlog(plan, plan.shards(), Nothing(plan).missing, Limits(max_requests=16))
    await backlog.look_ahead(100)
    lost = list(backlog.take(16))
    for key in lost:
        (request,) = plan.group(key.group).requests(key, {0: 1})
        if key != lost[-1]:
            backlog.heard(Stored(request, 1, 0.1))
            backlog.done(key)
    backlog.put_back(lost[-1:])
    assert list(backlog.take(5)) == lost[-1:]
    backlog.heard(Split(request, PROBLEM, (request, request)))
    backlog.put_back(lost[-2:])
    assert not any(backlog.take(5).values())
    assert backlog.limit == "limits.max_requests: 16 requests are made"


async def test_bytes_are_limited_too():
    plan = make_plan_of((4, 4))
    backlog = Backlog(plan, plan.shards(), Nothing(plan).missing, Limits(max_bytes=1))
    await backlog.look_ahead(10)
    assert backlog.take(100) == {}
    assert backlog.limit.startswith("limits.max_bytes: 0 bytes are fetched")


async def test_what_may_have_been_computed_stays_counted(monkeypatch):
    """By the estimate each request costs 9 EECU-seconds, and 36 at most."""
    monkeypatch.setattr("downloader.engine.resources.seconds_of", lambda _plan, _request: 9.0)
    plan = make_plan_of((4, 4), shard=1)
    backlog = Backlog(plan, plan.shards(), Nothing(plan).missing, Limits(max_eecu=0.12))
    await backlog.look_ahead(100)
    first, *lost = list(backlog.take(6))
    (request,) = plan.group(first.group).requests(first, {0: 1})
    backlog.heard(Stored(request, 1, 0.1, 3, 9.0, wasted_eecu_s=2 * 9.0))
    backlog.done(first)
    backlog.put_back(lost)
    assert len(backlog.take(100)) == 4, "8 of 12 are spent"
    assert backlog.limit.startswith("limits.max_eecu: what was computed may have cost 0.12 EECU-hours")


def test_an_answer_that_got_lost_is_given_again():
    mailbox = Mailbox()
    for text in "abc":
        mailbox.put(Notice(text))
    assert mailbox.deliver(0) == (1, (Notice("a"), Notice("b"), Notice("c")))
    assert mailbox.deliver(0) == (1, (Notice("a"), Notice("b"), Notice("c")))
    mailbox.put(Notice("d"))
    assert mailbox.deliver(2) == (3, (Notice("c"), Notice("d")))
    assert mailbox.deliver(4) == (5, ())
