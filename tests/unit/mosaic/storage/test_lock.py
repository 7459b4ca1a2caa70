"""One run per mosaic."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from downloader.errors import LockedError, RefusedError
from downloader.mosaic.storage import lock as locks
from downloader.mosaic.storage.lock import FileLock

HOLD = """
import sys, pathlib
from downloader.mosaic.storage import lock as locks
from downloader.mosaic.storage.lock import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]), "m")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def open_below(folder: Path) -> list[str]:
    """Files and folders below a folder that this process holds open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(str(folder))]


def test_a_second_holder_is_told_who_has_it(tmp_path) -> None:
    first = FileLock(tmp_path / "lock", "out/a.zarr")
    first.acquire()
    with pytest.raises(LockedError, match=rf"out/a\.zarr: another run .*process {os.getpid()} on "):
        FileLock(tmp_path / "lock", "out/a.zarr").acquire()
    first.check()
    first.release()
    first.release()
    second = FileLock(tmp_path / "lock", "out/a.zarr")
    second.acquire()
    second.release()


def test_the_lock_dies_with_its_process(tmp_path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {process.pid}"):
            FileLock(path, "m").acquire()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    lock = FileLock(path, "m")
    lock.acquire()
    lock.release()


def test_a_lock_whose_file_went_away_is_lost(tmp_path) -> None:
    lock = FileLock(tmp_path / "lock", "m")
    lock.acquire()
    (tmp_path / "lock").unlink()
    with pytest.raises(LockedError, match="moved, deleted or unmounted"):
        lock.check()
    (tmp_path / "lock").write_text("another's")
    with pytest.raises(LockedError, match="moved, deleted or unmounted"):
        lock.check()
    lock.release()
    with pytest.raises(LockedError, match="not held"):
        lock.check()


def test_a_file_system_without_locks_is_refused_with_the_reason(tmp_path, monkeypatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RefusedError, match="no locks that die with their process") as caught:
        FileLock(tmp_path / "lock", "m").acquire()
    assert not isinstance(caught.value, LockedError)


def test_an_unreadable_note_still_locks(tmp_path) -> None:
    first = FileLock(tmp_path / "lock", "m")
    first.acquire()
    (tmp_path / "lock").write_text("{")
    with pytest.raises(LockedError, match="name is not known"):
        FileLock(tmp_path / "lock", "m").acquire()
    first.release()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_lock_whose_note_cannot_be_written_is_not_held(tmp_path, monkeypatch, number) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match=os.strerror(number)):
            FileLock(tmp_path / "lock", "m").acquire()
    assert open_below(tmp_path) == []
    lock = FileLock(tmp_path / "lock", "m")
    lock.acquire()
    lock.release()


def test_a_lock_is_closed_once_however_many_threads_release_it(tmp_path, monkeypatch) -> None:
    lock = FileLock(tmp_path / "lock", "m")
    lock.acquire()
    closed, close = [], os.close

    def slowly(descriptor: int) -> None:
        time.sleep(0.02)
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "close", slowly)
    threads = [threading.Thread(target=lock.release) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(closed) == 1


def test_a_run_waits_for_a_lazy_reader(tmp_path) -> None:
    reader = FileLock(tmp_path / "lock", "m", reads=True)
    reader.acquire()
    assert not reader.is_wanted()
    with pytest.raises(LockedError, match=f"lazy reader is fetching into it .process {os.getpid()} "):
        FileLock(tmp_path / "lock", "m", reads=True).acquire()  # it looks at the ledger meanwhile
    assert reader.is_wanted()
    run = FileLock(tmp_path / "lock", "m")
    waiting = threading.Thread(target=run.acquire)
    waiting.start()
    reader.release()
    waiting.join()
    run.check()
    assert not run.is_wanted()
    run.release()


def test_a_lazy_reader_that_does_not_give_it_back_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(locks, "READER_WAIT_S", 0.01)
    reader = FileLock(tmp_path / "lock", "m", reads=True)
    reader.acquire()
    with pytest.raises(LockedError, match="has not given it back"):
        FileLock(tmp_path / "lock", "m").acquire()
    monkeypatch.setattr(locks, "READER_WAIT_S", 60)
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(LockedError, match="has not given it back"):
        FileLock(tmp_path / "lock", "m", abandoned).acquire()
    reader.release()
    assert open_below(tmp_path) == []


FORKED = """
import os, sys, pathlib, time, warnings
from downloader.mosaic.storage.lock import FileLock
warnings.simplefilter("ignore")
lock = FileLock(pathlib.Path(sys.argv[1]), "m")
lock.acquire()
if not os.fork():
    print("child", flush=True)
    sys.stdin.read()
else:
    time.sleep(600)
"""


def test_a_forked_child_does_not_keep_the_lock_of_its_parent(tmp_path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", FORKED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"child\n"
        with pytest.raises(LockedError, match=f"process {process.pid}"):
            FileLock(path, "m").acquire()
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
        lock = FileLock(path, "m")
        lock.acquire()
        lock.release()
        process.stdin.close()  # the child ends
