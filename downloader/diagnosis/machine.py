"""Checks of this machine: versions, and the place where the mosaic goes."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from downloader._version import versions
from downloader.diagnosis.findings import Finding
from downloader.errors import DownloadError, RefusedError
from downloader.mosaic.storage.location import locate
from downloader.mosaic.storage.lock import FileLock
from downloader.text import size

_LITTLE: Final = 5 * 10**9
"""Free bytes below which a warning is given."""

_TOLD: Final = ("numpy", "zarr", "httpx", "aiohttp", "pyproj")


def software() -> Finding:
    """Return the versions of this package, of Python and of the libraries."""
    found = versions()
    shown = ", ".join(f"{name} {found[name]}" for name in _TOLD if name in found)
    text = f"downloader {found['earthengine-downloader']}, Python {found['python']}, {shown}"
    if sys.platform not in {"linux", "darwin"}:
        return Finding("versions", "warn", text, "Linux and macOS are supported; on Windows use WSL")
    return Finding("versions", "ok", text)


def place(path: Path | str) -> Iterator[Finding]:
    """Check that a mosaic can be written at `path`: disk space and locks of a folder, or a bucket that answers."""
    if not isinstance(path, Path):
        yield _bucket(path)
        return
    folder = path.absolute()
    try:
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            yield Finding("disk", "fail", f"{folder} is no folder", "choose another mosaic.path")
            return
        with tempfile.TemporaryDirectory(prefix=".downloader-doctor-", dir=folder) as scratch:
            free = shutil.disk_usage(folder).free
            text, remedy = (
                f"{size(free)} free in {folder}",
                "`downloader plan` says how much a job may need; make room",
            )
            yield Finding("disk", "warn", text, remedy) if free < _LITTLE else Finding("disk", "ok", text)
            yield _locks(Path(scratch), folder)
    except OSError as error:
        yield Finding(
            "disk",
            "fail",
            f"{folder} cannot be written: {error.strerror or error}",
            "choose another mosaic.path, or change the folder's permissions",
        )


def _locks(scratch: Path, folder: Path) -> Finding:
    lock = FileLock(scratch / "lock", str(folder))
    try:
        lock.acquire()
    except RefusedError as error:
        return Finding("locks", "fail", str(error).removeprefix(f"{folder}: "), "choose a local disk")
    finally:
        with contextlib.suppress(OSError):
            lock.release()
    return Finding("locks", "ok", "the file system has locks that die with their process")


def _bucket(url: str) -> Finding:
    try:
        names = locate(url).entries()
    except DownloadError as error:
        return Finding("bucket", "fail", str(error), "see docs/object-stores.md for what each cloud reads")
    except OSError as error:
        return Finding(
            "bucket",
            "fail",
            f"{url}: {error.strerror or error}",
            "look at the network, the bucket's name and the variables that hold its credentials",
        )
    what = f"holds {len(names)} entries" if names else "is empty"
    return Finding("bucket", "ok", f"{url} answers and {what}")
