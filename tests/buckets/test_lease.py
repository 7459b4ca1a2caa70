"""One run per mosaic in a bucket: the lease, by itself."""

from __future__ import annotations

import json
import threading
import time

import pytest

from downloader.errors import LockedError, RefusedError, StoppedError
from downloader.mosaic.record.paths import LEASE
from downloader.mosaic.storage.bucket import BucketStore
from downloader.mosaic.storage.lease import LASTS_S, Lease, is_leased

SHORT = 0.6
LONG = 600


@pytest.fixture
def store():
    from obstore.store import MemoryStore

    return BucketStore(MemoryStore(), "memory://m")


def lease(store, lasts_s=SHORT, last_epoch=0, abandoned=None) -> Lease:
    return Lease(store, lambda: last_epoch, abandoned, lasts_s)


def said(store) -> dict:
    return json.loads(bytes(store.get(LEASE)))


def wait_until(true) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_each_holder_has_the_next_epoch(store) -> None:
    for epoch in (1, 2, 3):
        one = lease(store)
        one.acquire()
        assert one.epoch == epoch
        assert not one.took_over
        assert is_leased(store)
        one.check()
        one.release()
        one.release()
        assert not is_leased(store)
    assert said(store)["holder"] == ""


def test_a_released_lease_names_nobody_and_is_held_no_more(store) -> None:
    one = lease(store)
    one.acquire()
    assert "process" in said(store)["holder"]
    one.release()
    with pytest.raises(LockedError, match="not held"):
        one.check()


def test_a_second_run_is_refused_as_soon_as_the_first_shows_that_it_lives(store) -> None:
    first = lease(store)
    first.acquire()
    began = time.monotonic()
    with pytest.raises(LockedError, match=r"memory://m: another run is writing it \(process \d+ on "):
        lease(store).acquire()
    assert time.monotonic() - began < 0.6
    first.check()
    first.release()


def test_a_run_waits_for_a_lazy_reader_that_lives(store) -> None:
    reader = Lease(store, lambda: 0, None, SHORT, reads=True)
    reader.acquire()
    with pytest.raises(LockedError, match="a lazy reader is fetching into it"):
        Lease(store, lambda: 0, None, SHORT, reads=True).acquire()
    wait_until(reader.is_wanted)
    run = lease(store)
    waiting = threading.Thread(target=run.acquire)
    waiting.start()
    renewals = said(store)["renewals"]
    wait_until(lambda: said(store)["renewals"] > renewals + 2)
    assert waiting.is_alive()
    reader.release()
    waiting.join()
    assert (run.epoch, run.took_over) == (2, False)
    run.release()


def test_what_a_dead_holder_left_is_taken_over_after_no_change(store) -> None:
    dead = lease(store, LONG)
    dead.acquire()
    began = time.monotonic()
    heir = lease(store)
    heir.acquire()
    assert time.monotonic() - began >= 0.6
    assert (heir.epoch, heir.took_over) == (2, True)
    heir.release()


def test_a_holder_that_slept_finds_out_before_it_commits(store) -> None:
    """Its own clock says that it must ask; the answer is no."""
    sleeper = lease(store, 0.01)
    sleeper.acquire()
    sleeper._ended.set()
    sleeper._renewing.join()
    heir = lease(store, 0.05)
    heir.acquire()
    with pytest.raises(LockedError, match="paused or cut off for longer than its lease lasts"):
        sleeper.check()
    with pytest.raises(LockedError, match="took the mosaic over"):
        sleeper.check()
    heir.check()
    sleeper.release()
    assert said(store)["epoch"] == 2
    heir.release()


def test_a_holder_whose_clock_stood_still_finds_out_when_it_asks(store) -> None:
    sleeper = lease(store, LONG)
    sleeper.acquire()
    heir = lease(store, 0.05)
    heir.acquire()
    sleeper.check()
    with pytest.raises(LockedError, match="took the mosaic over"):
        sleeper.confirm()
    heir.release()


def test_a_holder_that_slept_and_lost_nothing_goes_on(store) -> None:
    one = lease(store, 0.01)
    one.acquire()
    one._ended.set()
    one._renewing.join()
    time.sleep(0.02)
    one.check()
    assert said(store)["renewals"] >= 1
    one.release()


def test_it_is_renewed_by_itself(store) -> None:
    one = lease(store)
    one.acquire()
    wait_until(lambda: said(store)["renewals"] >= 3)
    one.release()


def test_of_many_that_start_together_one_works(store) -> None:
    worked: list[int] = []
    refused: list[str] = []
    ready = threading.Barrier(6)
    over = threading.Event()

    def run() -> None:
        one = lease(store, 3)
        ready.wait()
        try:
            one.acquire()
        except LockedError as error:
            refused.append(str(error))
            return
        worked.append(one.epoch)
        over.wait(20)
        one.release()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(refused) == 5)
    over.set()
    for thread in threads:
        thread.join()
    assert worked == [1]


def test_of_many_heirs_one_inherits(store) -> None:
    lease(store, LONG).acquire()
    worked: list[Lease] = []
    refused: list[str] = []

    def run() -> None:
        one = lease(store, 1.5)
        try:
            one.acquire()
        except LockedError as error:
            refused.append(str(error))
            return
        worked.append(one)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.epoch for one in worked] == [2]
    assert len(refused) == 3
    worked[0].release()


def test_a_deleted_lease_is_lost_and_its_epochs_are_not_used_again(store) -> None:
    one = lease(store)
    one.acquire()
    store.delete([LEASE])
    with pytest.raises(LockedError):
        one.confirm()
    heir = lease(store, last_epoch=7)
    heir.acquire()
    assert heir.epoch == 8
    heir.release()


def test_a_damaged_lease_is_waited_for_like_a_dead_one(store) -> None:
    store.put(LEASE, [b"{"])
    heir = lease(store, last_epoch=3)
    heir.acquire()
    assert (heir.epoch, heir.took_over) == (4, True)
    heir.release()


def test_a_newer_versions_lease_is_refused(store) -> None:
    store.put(LEASE, [b'{"lease": 2}'])
    with pytest.raises(RefusedError, match="newer version"):
        lease(store).acquire()


def test_who_waits_can_be_told_not_to(store) -> None:
    lease(store, LONG).acquire()
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(LockedError, match="stopped while it waited"):
        lease(store, LONG, abandoned=abandoned).acquire()


@pytest.mark.parametrize("ignored", ["if-none-match", "if-match"])
def test_a_store_that_ignores_conditions_is_refused(store, monkeypatch, ignored) -> None:
    send = store._send

    def careless(key, pieces, tag):
        return send(key, pieces, tag if bool(tag) == (ignored == "if-none-match") else None)

    monkeypatch.setattr(store, "_send", careless)
    with pytest.raises(RefusedError, match="ignores conditions on a put"):
        lease(store).acquire()


@pytest.mark.parametrize("kind", ["busy", "lost", "stall"])
def test_over_the_protocol_a_lost_acknowledgement_is_no_lost_lease(cloud, kind) -> None:
    every: list[int] = []

    def fault(request) -> str | None:
        every.append(1)
        return kind if request.method == "PUT" and len(every) % 3 == 0 else None

    cloud.proxy.fault = fault
    store = cloud.store(timeout="1s")
    one = lease(store, LONG)
    one.acquire()
    for _ in range(6):
        one.confirm()
    assert one.epoch == 1
    assert cloud.proxy.faults[kind] >= 2
    one.release()
    assert said(store)["holder"] == ""


def test_a_bucket_out_of_reach_stops_the_run_and_says_why(cloud) -> None:
    one = lease(cloud.store(timeout="1s", retries=0), LONG)
    one.acquire()
    cloud.proxy.fault = lambda _: "busy"
    with pytest.raises(StoppedError, match=r"the lease cannot be renewed.*503"):
        one.confirm()
    cloud.proxy.reset()
    one.confirm()
    cloud.proxy.fault = lambda _: "busy"
    one.release()


def test_a_lease_lasts_two_minutes_unless_told_otherwise(cloud) -> None:
    assert LASTS_S == 120
    assert Lease(cloud.store(), lambda: 0)._lasts_s == LASTS_S
