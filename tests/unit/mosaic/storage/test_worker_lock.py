"""Locks of workers: a worker writes while it holds one, and its shards go to nobody before it is gone for certain."""

from __future__ import annotations

import subprocess
import sys

import pytest

from downloader.errors import LockedError
from downloader.mosaic.record.paths import WORKERS
from downloader.mosaic.storage import worker_lock
from downloader.mosaic.storage.bucket import BucketStore
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.storage.worker_lock import (
    await_workers,
)


def memory() -> BucketStore:
    from obstore.store import MemoryStore

    return BucketStore(MemoryStore(), "memory://m")


@pytest.fixture(params=["disk", "bucket"])
def store(request, tmp_path):
    return DiskStore(tmp_path) if request.param == "disk" else memory()


def test_without_a_lock_no_worker_writes(store):
    with pytest.raises(LockedError, match="lock of this worker"):
        store.acquire_worker_lock("nobody")


def test_a_lock_that_was_released_can_be_removed(store):
    store.create_worker_lock("one")
    lock = store.acquire_worker_lock("one")
    lock.check()
    lock.release()
    with pytest.raises(LockedError):
        lock.check()
    assert store.remove_worker_lock("one")
    assert store.remove_worker_lock("one"), "twice is once"
    assert list(store.list(WORKERS)) == []
    with pytest.raises(LockedError):
        store.acquire_worker_lock("one")


def test_on_a_disk_a_lock_is_held_as_long_as_its_process_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_lock, "PATIENCE_S", 0.0)
    store = DiskStore(tmp_path)
    store.create_worker_lock("one")
    code = (
        "import sys; from downloader.mosaic.storage.disk import DiskStore\n"
        "lock = DiskStore(sys.argv[1]).acquire_worker_lock('one'); print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert not store.remove_worker_lock("one")
        with pytest.raises(LockedError, match="1 workers of an earlier run"):
            await_workers(tmp_path / WORKERS, "m")
        process.kill()
        process.wait()
    await_workers(tmp_path / WORKERS, "m")
    assert not (tmp_path / WORKERS).exists()


def test_a_lock_that_was_removed_is_missed_before_the_next_commit(tmp_path):
    store = DiskStore(tmp_path)
    store.create_worker_lock("one")
    lock = store.acquire_worker_lock("one")
    (tmp_path / WORKERS / "one").unlink()
    with pytest.raises(LockedError):
        lock.check()


def test_in_a_bucket_an_orphan_does_not_put_over_what_another_put():
    """It wakes after its lock is gone, and its shard was put by the one who has it now."""
    orphans, others = memory(), None
    orphans.create_worker_lock("one")
    orphans.acquire_worker_lock("one")
    others = BucketStore(orphans.objects, "memory://m")
    others.remove_worker_lock("one")
    others.put("B2/c/0/0", [b"whole"])
    with pytest.raises(LockedError):
        orphans.put("B2/c/0/0", [b"part"])
    assert bytes(others.get("B2/c/0/0")) == b"whole"
