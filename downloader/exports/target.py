"""Write an exported file to a disk or a bucket, where it appears under its name when it is whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from downloader.arguments import writing
from downloader.errors import JobError
from downloader.job.location import BucketUrl, parse_place
from downloader.mosaic.storage.bucket_errors import store_error
from downloader.mosaic.storage.cloud import connect_bucket
from downloader.mosaic.storage.location import Bucket
from downloader.mosaic.storage.system import BINARY, try_lock

_HEAD: Final = 65_536
"""Bytes at the beginning of a file in which its stamp is looked for."""

_LARGE_S: Final = 600
_RETRY_S: Final = 60
"""Seconds for the upload of one part, and during which a failed one is repeated."""


@dataclass(frozen=True)
class LocalFile:
    """A file on a disk."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def head(self) -> bytes:
        """Return the first bytes; none where there is no file."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            return file.read(_HEAD)
        return b""

    def size(self) -> int:
        """Return its bytes."""
        return self.path.stat().st_size

    @contextmanager
    def written(self) -> Iterator[Path]:
        """Yield the path of a file beside it, which takes its name where the block ends without an error.

        What an export that was killed has left there is written over.

        Raises:
            JobError: the folder cannot be made, or another export writes the same file.
        """
        with writing(self.path, "export again"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.part{self.path.suffix}")
        with self._alone():
            try:
                yield part
                os.replace(part, self.path)  # noqa: PTH105  # as in other modules that replace a file at once
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self.path.with_name(f".{self.path.name}.lock")
        with writing(self.path, "export again"):
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | BINARY, 0o644)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                if not try_lock(descriptor):
                    raise JobError(
                        f"{self.path}: another export is writing it; wait for its end, or name another file"
                    )
            try:
                yield
            finally:
                with contextlib.suppress(PermissionError):  # Windows keeps files that are open
                    lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class BucketFile:
    """A file in a bucket."""

    url: BucketUrl

    def __str__(self) -> str:
        return str(self.url)

    def head(self) -> bytes:
        """See `LocalFile`."""
        import obstore

        with self._bucket() as (store, name), contextlib.suppress(FileNotFoundError):
            size = obstore.head(store, name)["size"]
            return bytes(obstore.get_range(store, name, start=0, end=min(size, _HEAD))) if size else b""
        return b""

    def size(self) -> int:
        """See `LocalFile`."""
        import obstore

        with self._bucket() as (store, name):
            return obstore.head(store, name)["size"]

    @contextmanager
    def written(self) -> Iterator[Path]:
        """Yield the path of a temporary file on this machine, which is uploaded where the block ends without an error.

        Raises:
            StoppedError, AuthenticationError, RefusedError: the bucket cannot be reached, or may not be written.
        """
        import obstore

        with tempfile.TemporaryDirectory(prefix="downloader-") as folder:
            part = Path(folder) / Path(self.url.prefix).name
            yield part
            with self._bucket() as (store, name):
                obstore.put(store, name, part)

    @contextmanager
    def _bucket(self) -> Iterator[tuple[Any, str]]:
        """Yield the bucket's folder and the file's name in it; errors of the bucket become those of this package."""
        from obstore.exceptions import BaseError

        folder, _, name = self.url.prefix.rpartition("/")
        url = BucketUrl(self.url.scheme, self.url.bucket, folder)
        try:
            yield connect_bucket(url, _LARGE_S, _RETRY_S), name
        except BaseError as error:
            found = store_error(error, str(self.url), name)
            raise (Bucket(self.url).problem(found) if isinstance(found, OSError) else found) from error


Target: TypeAlias = LocalFile | BucketFile


def target(out: str) -> Target:
    """Return the place of a file.

    Raises:
        JobError: it is a URL, but not of a file in a bucket.
    """
    try:
        url = parse_place(out)
    except ValueError as error:
        raise JobError(f"output: {error}") from None
    if url is None:
        return LocalFile(Path(out))
    if not url.prefix:
        raise JobError(f"{out}: name a file in the bucket")
    return BucketFile(url)
