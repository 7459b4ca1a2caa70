"""Time-outs by progress, on a clock that is only a number."""

import pytest

from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.client import Access, EarthEngine
from downloader.earthengine.timeouts import ProgressTimeout, Timeouts
from downloader.earthengine.transport import Reply
from downloader.errors import Cause

LIMITS = Timeouts(first_byte_s=90, idle_s=30, body_s=600)


def feed(pace, rate, total, *, start=0.0):
    """A server that sends `rate` bytes a second; (tooth, time) at the end, as a watch sees it."""
    pace.begin(start, total)
    now, sent = start, 0
    while sent < total:
        now += 1
        piece = min(rate, total - sent)
        if piece:
            pace.received(piece, now)
        sent += piece
        if now >= pace.due() and (tooth := pace.expired(now)):
            return tooth, now - start
    return None, now - start


def test_the_first_byte_has_its_own_wait():
    pace = ProgressTimeout(LIMITS, 1000, now=5.0)
    assert pace.due() == 95
    assert pace.expired(94.9) is None
    assert pace.expired(95) == Cause.NO_FIRST_BYTE


def test_silence_within_the_answer_is_cut():
    pace = ProgressTimeout(LIMITS, 1000, now=0.0)
    pace.begin(80, 1000)
    assert pace.expired(109.9) is None
    assert pace.expired(110) == Cause.STALLED
    pace.received(10, 109.9)
    assert pace.expired(110) in {None, Cause.TOO_SLOW}
    assert pace.expired(139.9) in {Cause.STALLED, Cause.TOO_SLOW}


def test_a_drip_of_a_byte_a_second_is_cut_after_one_window():
    assert feed(ProgressTimeout(LIMITS, 524_480, 0.0), 1, 524_480) == (Cause.TOO_SLOW, 30)


def test_a_drip_that_will_end_in_time_is_let_be():
    assert feed(ProgressTimeout(LIMITS, 100, 0.0), 1, 100) == (None, 100)


def test_a_slow_but_honest_line_is_let_be():
    assert feed(ProgressTimeout(LIMITS, 4_000_000, 0.0), 7_000, 4_000_000)[0] is None


def test_a_line_that_slows_down_is_cut_when_the_rest_would_come_too_late():
    pace = ProgressTimeout(LIMITS, 10_000_000, 0.0)
    pace.begin(0, 10_000_000)
    pace.received(5_000_000, 1)
    tooth = None
    for now in range(2, 200):
        pace.received(1000, now)
        if now >= pace.due() and (tooth := pace.expired(now)):
            break
    assert tooth == Cause.TOO_SLOW
    assert now <= 61


@pytest.mark.parametrize("late", [1.0, 3600.0])
def test_time_when_nobody_could_look_does_not_count(late):
    pace = ProgressTimeout(LIMITS, 1000, 0.0)
    pace.excuse(late)
    assert pace.expired(89 + late) is None
    pace.begin(89 + late, 1000)
    pace.received(10, 100 + late)
    pace.excuse(late)
    assert pace.expired(105 + 2 * late) is None


def test_due_never_lies_behind_a_time_out():
    """Whoever looks at `due` and not before misses nothing and never finds nothing twice at the same moment."""
    pace = ProgressTimeout(LIMITS, 10**9, 0.0)
    pace.begin(0.0, 10**9)
    now = 0.0
    for _ in range(10):
        due = pace.due()
        assert due > now
        pace.received(2 * 10**8, due - 1)
        now = due
        assert pace.expired(now) is None


async def test_a_value_that_is_computed_may_take_its_time_too(monkeypatch):
    waits = {}

    async def exchange(method, url, *, timeouts, **_):
        waits[method] = timeouts.first_byte_s
        return Reply(200, {}, b"{}")

    client = EarthEngine(Access(AuthSettings("none")))
    monkeypatch.setattr(client, "exchange", exchange)
    await client.call("GET", "projects/p/assets/a")
    await client.call("POST", "projects/p/value:compute", body={"expression": {}})
    assert waits == {"GET": 60, "POST": 330}
