"""A run that is paused before any of its puts, loses its lease meanwhile and wakes: nothing of the next run is harmed.

Its clock stands still as well, as in a paused machine: it believes in its lease until the bucket tells otherwise.
"""

from __future__ import annotations

import threading

import anyio
import numpy as np
import pytest
import zarr

from downloader.errors import DownloadError, LockedError
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.record.ledger import LedgerEntry, LedgerReader, LedgerWriter, Piece
from downloader.mosaic.record.paths import LEDGER
from downloader.mosaic.storage import location
from downloader.mosaic.storage.bucket import BucketStore
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.storage.lease import Lease
from downloader.mosaic.storage.location import locate
from tests.mosaics import band_pixels, one_group, pixels

PLAN = one_group()
GROUP = PLAN.groups[0]


async def fill(mosaic, *, plus: int = 0, most: int = 99, finish: bool = True) -> None:
    """Place and commit what is missing, each pixel `plus` so much."""
    made = 0
    for key in GROUP.shards():
        for request in GROUP.requests(key, mosaic.missing(key)):
            if made >= most:
                break
            answer = pixels(GROUP, request)
            for name in answer.dtype.names:
                answer[name] += plus
            await mosaic.place(request, answer)
            made += 1
        await mosaic.commit(key)
    if finish:
        await mosaic.finish()


def stored_is_right(url: str, plus: int, tile: int = 256) -> int:
    """Every tile that `coverage` calls stored is right; how many there are."""
    root = zarr.open_group(locate(url).readable(), mode="r")
    coverage = root["coverage/tiles"][:]
    for row, column in np.argwhere(coverage == 1):
        part = (slice(row * tile, row * tile + tile), slice(column * tile, column * tile + tile))
        for index, band in enumerate(GROUP.bands):
            wanted = band_pixels(GROUP, index)[part] + plus
            assert (root[band.id][part] == wanted).all(), (band.id, row, column)
    return int((coverage == 1).sum())


class Pause:
    """Runs `meanwhile` before the n-th put of a store, in which its lease is lost."""

    def __init__(self, mosaic, number: int, meanwhile) -> None:
        self.happened = False
        self._left = number
        self._guard = threading.Lock()
        lease: Lease = mosaic._lock
        send = mosaic.store._send

        def paused(key, pieces, tag):
            with self._guard:
                self._left -= 1
                now = self._left == 0
            if now:
                lease._ended.set()
                lease._renewing.join()
                lease._confirmed = float("inf")
                meanwhile()
                self.happened = True
            return send(key, pieces, tag)

        mosaic.store._send = paused
        mosaic.store.at_once = lambda actions: [action() for action in actions]


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(location, "LASTS_S", 0.05)


HEIRS = {
    "completes": {"finish": True, "plus": 0, "most": 99},
    "is killed": {"finish": False, "plus": 0, "most": 3},
    "replaces all": {"finish": True, "plus": 1, "most": 99},
    "replaces and is killed": {"finish": False, "plus": 1, "most": 2},
}


@pytest.mark.parametrize(
    ("heir", "profile"),
    [*((heir, "sharded") for heir in HEIRS), ("completes", "plain"), ("replaces and is killed", "plain")],
)
def test_a_run_paused_before_any_of_its_puts_harms_nothing(heir, profile) -> None:
    does = HEIRS[heir]
    settings = MosaicSettings(profile=profile, compressor="none")
    service = "earth-engine" if not does["plus"] else "another"
    paused_at = 0
    for number in range(1, 99):
        url = f"memory://fence/{profile}/{heir.replace(' ', '-')}/{number}"

        async def inherit(url: str = url) -> None:
            over = bool(does["plus"])
            async with open_for_writing(
                url, PLAN, settings, service=service, purpose="overwrite" if over else "run"
            ) as mosaic:
                await fill(mosaic, **does)
                if not does["finish"]:
                    # As a kill leaves it: the lease is not given back.
                    mosaic._lock._ended.set()
                    mosaic._lock._lost = "killed"

        async def sleep(url: str = url, number: int = number, inherit=inherit) -> Pause:
            async with open_for_writing(url, PLAN, settings, service="earth-engine") as mosaic:
                await fill(mosaic, most=5, finish=False)
                pause = Pause(mosaic, number, lambda: anyio.run(inherit))
                try:
                    await fill(mosaic)
                except LockedError:
                    assert pause.happened
                return pause

        pause = anyio.run(sleep)
        if not pause.happened:
            break
        paused_at += 1
        stored_is_right(url, does["plus"])

        async def last(url: str = url) -> None:
            async with open_for_writing(url, PLAN, settings, service=service) as mosaic:
                await fill(mosaic, plus=does["plus"])

        anyio.run(last)
        assert stored_is_right(url, does["plus"]) == 9
    assert paused_at >= 8, "each of its puts was one to be paused before"


# The ledger by itself ---------------------------------------------------------------------------------------


@pytest.fixture
def store():
    from obstore.store import MemoryStore

    return BucketStore(MemoryStore(), "memory://m")


def entry(row: int, stored: int = 1) -> LedgerEntry:
    return LedgerEntry("", (0, row, 0), {"B2": Piece(stored, 100)}, time="t")


def read(store) -> list[tuple[int, int]]:
    reader = LedgerReader(store)
    found = [(e.shard[1], e.pieces["B2"].stored) for e in reader.entries()]
    assert reader.garbage == 0
    return found


def test_lines_that_a_holder_adds_after_the_next_one_began_do_not_count(store) -> None:
    old = LedgerWriter(store, 1)
    old.append(entry(0), entry(1))
    new = LedgerWriter(store, 2)
    old.append(entry(5, stored=7))
    assert read(store) == [(0, 1), (1, 1), (5, 7)]
    new.begin()
    assert read(store) == [(0, 1), (1, 1)]
    new.append(entry(2))
    old.append(entry(6))
    LedgerWriter(store, 1).append(entry(9))
    assert read(store) == [(0, 1), (1, 1), (2, 1)]


def test_each_epoch_has_the_last_word_whatever_the_clocks_say(store) -> None:
    late, early = LedgerWriter(store, 3), LedgerWriter(store, 2)
    early.append(entry(0, stored=2))
    late = LedgerWriter(store, 3)
    late.key = late.key.replace("-20", "-19")
    late.append(entry(0, stored=3))
    assert read(store) == [(0, 2), (0, 3)]


def test_a_mosaic_copied_to_a_disk_goes_on_there_and_back_again(store, tmp_path) -> None:
    LedgerWriter(store, 4).append(entry(0))
    disk = DiskStore(tmp_path)
    for key, _ in store.list(""):
        disk.put(key, [store.get(key)])
    LedgerWriter(disk).append(entry(0, stored=3))
    assert read(disk) == [(0, 1), (0, 3)]
    for key, _ in disk.list(LEDGER):
        store.put(key, [disk.get(key)])
    LedgerWriter(store, 5).append(entry(0, stored=7))
    assert read(store) == [(0, 1), (0, 3), (0, 7)]


def test_a_copy_from_a_disk_is_read_in_a_bucket(store, tmp_path) -> None:
    disk = DiskStore(tmp_path)
    LedgerWriter(disk).append(entry(0))
    for key, _ in disk.list(""):
        store.put(key, [disk.get(key)])
    writer = LedgerWriter(store, 1)
    writer.append(entry(1))
    assert read(store) == [(0, 1), (1, 1)]
    assert all(f"{LEDGER}/" in key for key, _ in store.list(""))


def test_a_killed_run_is_a_run_that_lost_its_lease() -> None:
    assert issubclass(LockedError, DownloadError)
