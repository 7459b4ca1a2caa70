"""Objects as files below a folder of a local disk."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import stat
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from downloader.mosaic.format.codec import Buffer
from downloader.mosaic.record.paths import WORKERS
from downloader.mosaic.storage.store import Store, cores
from downloader.mosaic.storage.system import (
    BINARY,
    DIRECTORY,
    FOLDERS,
    NOFOLLOW,
    NONBLOCK,
    free_space,
    read_at,
    sync,
    uncache,
)
from downloader.mosaic.storage.worker_lock import FileWorkerLock, remove_unlocked

_STAGED: Final = re.compile(r"#\d+$")
_STAGE: Final = itertools.count(1)
_CREATE: Final = os.O_WRONLY | os.O_CREAT | NOFOLLOW | BINARY


class DiskStore(Store):
    """A `Store` in a folder of a local disk.

    Everything is opened relative to a descriptor of that folder, which must exist. A folder that was moved, renamed or
    unmounted since is written where it is now, or not at all, and nothing is built at its old path; the lock then ends
    the run. Where a folder has no descriptor that can be used, as on Windows, its identity is checked before each access.
    """

    def __init__(self, path: str | Path, *, durable: bool = True) -> None:
        """Nothing is opened yet.

        Args:
            path: the mosaic's folder.
            durable: whether `flush` and `append` wait for the disk.
        """
        self.path = Path(path).absolute()
        self.name = str(path)
        self.writers = cores() + 2
        self._durable = durable
        self._guard = threading.Lock()
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._synced: set[str] = set()

    # Reading.

    def get(self, key: str) -> Buffer:
        """See `Store`. Raises OSError for what is no regular file, too."""
        with os.fdopen(self._opened(key), "rb", buffering=0) as file:
            return file.readall()

    def get_range(self, key: str, start: int, end: int) -> Buffer:
        """See `Store`."""
        with os.fdopen(self._opened(key), "rb", buffering=0) as file:
            return read_at(file.fileno(), end - start, start)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `Store`."""
        for key, entry in self._files(prefix):
            if not _STAGED.search(key):
                with contextlib.suppress(FileNotFoundError):
                    yield key, entry.stat().st_size

    # Writing.

    def put(self, key: str, buffers: Sequence[Buffer]) -> None:
        """See `Store`. A folder in the object's place, left by another tool, is removed."""
        staged = f"{key}#{next(_STAGE)}"
        try:
            with os.fdopen(self._create(staged, os.O_TRUNC), "wb") as file:
                pieces: Any = buffers  # of numpy, too
                file.writelines(pieces)
            try:
                self._rename(staged, key)
            except (IsADirectoryError, PermissionError):  # Windows says the latter of a folder
                if not stat.S_ISDIR(self._mode(key)):
                    raise
                self._remove_tree(key)
                self._rename(staged, key)
        except BaseException:
            with contextlib.suppress(OSError):
                self._unlink(staged)
            raise

    def replace(self, key: str, make: Callable[[Buffer | None], Sequence[Buffer]]) -> None:
        """See `Store`."""
        try:
            old: Buffer | None = self.get(key)
        except (FileNotFoundError, IsADirectoryError):
            old = None
        self.put(key, make(old))

    def append(self, key: str, data: bytes) -> None:
        """See `Store`. A line that does not fit on the disk is removed again, so that the next one stands alone."""
        is_new = False
        try:
            descriptor = self._open(key, os.O_WRONLY | os.O_APPEND | NOFOLLOW | BINARY)
        except FileNotFoundError:
            descriptor, is_new = self._create(key, os.O_APPEND), True
        try:
            before = os.fstat(descriptor).st_size
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                if self._durable:
                    sync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        if is_new and self._durable:
            self._flush_folders({_folder(key)})

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store`. A folder in an object's place is removed with all that is in it."""
        for key in keys:
            try:
                self._unlink(key)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (IsADirectoryError, PermissionError):  # macOS says EPERM of a folder
                if not stat.S_ISDIR(self._mode(key)):
                    raise
                self._remove_tree(key)

    def delete_folder(self, prefix: str) -> None:
        """See `Store`. Of a link the link is deleted, and nothing is deleted behind one."""
        above = [str(folder) for folder in PurePosixPath(prefix).parents][:-1]
        if any(map(self._is_link, above)):
            return
        with contextlib.suppress(FileNotFoundError):
            if self._is_link(prefix):
                self._unlink(prefix)
            else:
                self._remove_tree(prefix)

    def delete_empty(self, folder: str) -> None:
        """See `Store`."""
        path, where = self._at(folder)
        with contextlib.suppress(OSError):
            os.rmdir(path, **where)

    def flush(self, keys: Iterable[str]) -> None:
        """See `Store`. Each file, then the folders that name it: a rename is durable only with its folder."""
        if not self._durable:
            return
        folders = set()
        for key in keys:
            # Windows flushes only what is open for writing.
            descriptor = self._open(key, os.O_RDONLY if FOLDERS else os.O_RDWR | BINARY)
            try:
                sync(descriptor)
                uncache(descriptor)
            finally:
                os.close(descriptor)
            folders.add(_folder(key))
        self._flush_folders(folders)

    def sweep(self) -> int:
        """See `Store`. An object is written as `name#1` beside it, then renamed."""
        staged = [key for key, _ in self._files("") if _STAGED.search(key)]
        for key in staged:
            self._unlink(key)
        return len(staged)

    def free(self) -> tuple[int | None, int | None]:
        """See `Store`."""
        return free_space(self.path, self._root)

    # Workers' locks.

    def acquire_worker_lock(self, name: str) -> FileWorkerLock:
        """See `Store`."""
        return FileWorkerLock(self.path / WORKERS / name, self.name)

    def remove_worker_lock(self, name: str) -> bool:
        """See `Store`."""
        return remove_unlocked(self.path / WORKERS / name)

    # Beneath.

    @property
    def _root(self) -> int | None:
        """Descriptor of the folder; None where systems have none, after a check that the folder is the same.

        Raises:
            OSError: it cannot be opened, or another one is in its place.
        """
        with self._guard:
            if not FOLDERS:
                self._check_identity()
                return None
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | DIRECTORY)
                weakref.finalize(self, os.close, self._descriptor)
            return self._descriptor

    def _check_identity(self) -> None:
        here: tuple[int, int] | None = None
        try:
            found = self.path.stat()
            here = (found.st_dev, found.st_ino)
        except FileNotFoundError:
            if self._identity is None:
                raise
        self._identity = self._identity or here
        if here != self._identity:
            raise OSError(errno.ESTALE, "the folder was moved or replaced", str(self.path))

    def _at(self, key: str) -> tuple[str, dict[str, Any]]:
        """Return path and keyword arguments of a file for functions of `os`."""
        root = self._root
        return (str(self.path / key), {}) if root is None else (key or ".", {"dir_fd": root})

    def _open(self, key: str, flags: int, mode: int = 0o777) -> int:
        path, where = self._at(key)
        return os.open(path, flags, mode, **where)

    def _opened(self, key: str) -> int:
        path, where = self._at(key)
        return _open_regular(path, where.get("dir_fd"))

    def _rename(self, staged: str, key: str) -> None:
        (source, where), (target, _) = self._at(staged), self._at(key)
        folder = where.get("dir_fd")
        os.replace(source, target, src_dir_fd=folder, dst_dir_fd=folder)  # relative to a descriptor

    def _unlink(self, key: str) -> None:
        path, where = self._at(key)
        os.unlink(path, **where)

    def _remove_tree(self, key: str) -> None:
        path, where = self._at(key)
        shutil.rmtree(path, **where)

    def _create(self, key: str, flags: int) -> int:
        """Open a file for writing, and create the folders between it and the mosaic's folder."""
        try:
            return self._open(key, _CREATE | flags, 0o644)
        except FileNotFoundError:
            for folder in reversed(PurePosixPath(key).parents[:-1]):
                path, where = self._at(str(folder))
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path, **where)  # noqa: PTH102  # relative to a descriptor
            return self._open(key, _CREATE | flags, 0o644)

    def _files(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield (key, entry) of everything below `prefix` but folders."""
        folders = [prefix]
        while folders:
            folder = folders.pop()
            try:
                descriptor = self._open(folder, os.O_RDONLY | DIRECTORY) if FOLDERS else None
                listed = os.scandir(self._at(folder)[0] if descriptor is None else descriptor)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                with listed as entries:
                    for entry in entries:
                        key = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(key)
                        else:
                            yield key, entry
            finally:
                if descriptor is not None:
                    os.close(descriptor)

    def _is_link(self, key: str) -> bool:
        return stat.S_ISLNK(self._mode(key))

    def _mode(self, key: str) -> int:
        """Return the kind of a file, of a link its own; 0 where there is none."""
        path, where = self._at(key)
        try:
            return os.stat(path, follow_symlinks=False, **where).st_mode  # noqa: PTH116  # relative to a descriptor
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def _flush_folders(self, folders: set[str]) -> None:
        for folder in folders:
            self._sync_folder(folder)
            above = folder
            while above and above not in self._synced:
                self._synced.add(above)
                above = _folder(above)
                self._sync_folder(above)

    def _sync_folder(self, folder: str) -> None:
        if not FOLDERS:  # nor can they be flushed
            return
        descriptor = self._open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_file(path: Path) -> bytes:
    """Return a file's content. Raises OSError, also for pipes, sockets and devices, whose reading may never end."""
    with os.fdopen(_open_regular(path, None), "rb", buffering=0) as file:
        return file.readall()


def _open_regular(path: str | Path, dir_fd: int | None) -> int:
    """Open a regular file for reading; a pipe raises an error instead of waiting."""
    try:
        descriptor = os.open(path, os.O_RDONLY | NONBLOCK | BINARY, dir_fd=dir_fd)
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a file", str(path))


def _folder(key: str) -> str:
    return key.rpartition("/")[0]
