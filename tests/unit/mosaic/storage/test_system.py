"""Systems without fcntl: everything can be imported and read, a lock is msvcrt's, and without either writing is refused."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from downloader.errors import LockedError
from downloader.mosaic.storage import system
from downloader.mosaic.storage.lock import FileLock
from tests.harness import ROOT, environment

HIDDEN = """
import importlib, pkgutil, sys

for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None  # importing it is an ImportError
import downloader

names = [one.name for one in pkgutil.walk_packages(downloader.__path__, "downloader.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
from downloader.engine.memory import current_memory
from downloader.errors import RefusedError
from downloader.mosaic.storage.lock import FileLock
from pathlib import Path

assert current_memory() >= 0
try:
    FileLock(Path(sys.argv[1]) / "lock", "m.zarr").acquire()
except RefusedError as error:
    print(error)
"""


class Windows(ModuleType):
    """What `msvcrt` does to bytes of files, for this test alone: who locked which byte of which file."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.held: dict[tuple[int, int], int] = {}

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        place = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        assert count == 1
        if mode == self.LK_UNLCK:
            assert self.held.pop(place) == descriptor
        elif self.held.setdefault(place, descriptor) != descriptor:
            raise OSError(errno.EACCES, "Permission denied")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    module = Windows()
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", module)
    for name in ("pread", "pwrite", "statvfs"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(system.shutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    return module


def test_without_fcntl_everything_is_imported_and_writing_is_refused(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", HIDDEN, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=ROOT,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    modules, refusal = ended.stdout.splitlines()
    assert int(modules) > 300
    assert refusal.startswith("m.zarr: this file system has no locks that die with their process")


def test_a_lock_of_windows_keeps_others_out_and_tells_who_holds_it(tmp_path: Path, windows: Windows) -> None:
    first, second = FileLock(tmp_path / "lock", "m"), FileLock(tmp_path / "lock", "m")
    first.acquire()
    ((_, byte),) = windows.held
    assert byte > 4096, "the note can be read meanwhile"
    with pytest.raises(LockedError, match=f"another run is writing it .process {os.getpid()} on"):
        second.acquire()
    first.check()
    first.release()
    assert windows.held == {}
    second.acquire()
    second.release()


def test_what_posix_has_is_done_by_other_means(tmp_path: Path, windows: Windows) -> None:
    path = tmp_path / "f"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.write(descriptor, b"abcd")
        system.write_at(descriptor, b"X", 1)
        assert system.read_at(descriptor, 3, 1) == b"Xcd"
        system.sync(descriptor)
        system.touch(descriptor, path, (0, 0))
    finally:
        os.close(descriptor)
    assert path.stat().st_mtime == 0
    assert system.free_space(tmp_path, None) == (7, None)
