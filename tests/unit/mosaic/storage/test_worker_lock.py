"""Seats: a worker writes while it has one, and nobody gets its shards before it is gone for certain."""

from __future__ import annotations

import subprocess
import sys

import pytest

from downloader.errors import LockedError
from downloader.mosaic.storage.bucket import BucketStore
from downloader.mosaic.storage.store import DiskStore
from downloader.mosaic.storage.worker_lock import WORKERS, admit, dismiss, retire, take


def memory() -> BucketStore:
    from obstore.store import MemoryStore

    return BucketStore(MemoryStore(), "memory://m")


@pytest.fixture(params=["disk", "bucket"])
def store(request, tmp_path):
    return DiskStore(tmp_path) if request.param == "disk" else memory()


def test_without_a_seat_nobody_writes(store):
    with pytest.raises(LockedError, match="place in the run"):
        take(store, "nobody")


def test_a_seat_that_was_left_can_be_taken_away(store):
    admit(store, "one")
    seat = take(store, "one")
    seat.check()
    seat.release()
    with pytest.raises(LockedError):
        seat.check()
    assert retire(store, "one")
    assert retire(store, "one"), "twice is once"
    assert list(store.list(WORKERS)) == []
    with pytest.raises(LockedError):
        take(store, "one")


def test_on_a_disk_a_seat_is_kept_as_long_as_its_process_lives(tmp_path):
    store = DiskStore(tmp_path)
    admit(store, "one")
    code = (
        "import sys; from downloader.mosaic.storage.store import DiskStore; from downloader.mosaic.storage.worker_lock import take\n"
        "seat = take(DiskStore(sys.argv[1]), 'one'); print('sits', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "sits\n"
        assert not retire(store, "one")
        with pytest.raises(LockedError, match="1 workers of an earlier run"):
            dismiss(tmp_path / WORKERS, "m", patience_s=0)
        process.kill()
        process.wait()
    dismiss(tmp_path / WORKERS, "m", patience_s=0)
    assert not (tmp_path / WORKERS).exists()


def test_a_seat_that_was_taken_away_is_missed_before_the_next_commit(tmp_path):
    store = DiskStore(tmp_path)
    admit(store, "one")
    seat = take(store, "one")
    (tmp_path / WORKERS / "one").unlink()
    with pytest.raises(LockedError):
        seat.check()


def test_in_a_bucket_an_orphan_does_not_put_over_what_another_put():
    """It wakes after its seat is gone, and its shard was put by the one who has it now."""
    orphans, others = memory(), None
    admit(orphans, "one")
    take(orphans, "one")
    others = BucketStore(orphans.objects, "memory://m")
    retire(others, "one")
    others.put("B2/c/0/0", [b"whole"])
    with pytest.raises(LockedError):
        orphans.put("B2/c/0/0", [b"part"])
    assert bytes(others.get("B2/c/0/0")) == b"whole"
