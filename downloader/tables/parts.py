"""Write a table part by part, so that a killed run continues, and the file appears under its name when it is whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from downloader.errors import JobError, StoppedError
from downloader.mosaic.storage.lock import FileLock

_ROWS: Final = 131_072
"""Rows of one row group of the file, about."""


class TableParts:
    """Parts of a table, in a hidden folder beside the file."""

    def __init__(self, file: Path, schema: pa.Schema, fingerprint: str) -> None:
        self._file = file
        self._schema = schema
        self._fingerprint = fingerprint
        self._folder = file.with_name(f".{file.name}.parts")

    @contextmanager
    def opened(self) -> Iterator[TableParts]:
        """Lock the folder, and remove parts of another table.

        Raises:
            LockedError: another process makes this table.
            JobError: the file cannot be written there.
            StoppedError: the disk is full.
        """
        with self._told():
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._folder / "lock", str(self._file))
            lock.acquire()
            try:
                stamp = self._folder / "fingerprint"
                if not stamp.exists() or stamp.read_text() != self._fingerprint:
                    for old in self._folder.glob("*.parquet"):
                        old.unlink()
                    stamp.write_text(self._fingerprint)
                yield self
            finally:
                lock.release()

    def has(self, number: int) -> bool:
        """Return whether a part is there and whole."""
        try:
            return bool(pa.parquet.read_metadata(self._path(number)).num_columns == len(self._schema))
        except (FileNotFoundError, pa.ArrowInvalid):
            return False

    def write(self, number: int, rows: pa.Table) -> None:
        """Write one part."""
        path = self._path(number)
        beside = path.with_suffix(".new")
        pa.parquet.write_table(rows, beside)
        beside.replace(path)

    def assemble(self, count: int) -> int:
        """Write the file from its parts, remove them, and return the number of its rows."""
        beside = self._folder / "whole"
        total = 0
        is_csv = self._file.suffix.lower() == ".csv"
        with (
            pa.csv.CSVWriter(beside, self._schema)
            if is_csv
            else pa.parquet.ParquetWriter(beside, self._schema, compression="zstd")
        ) as whole:
            waiting: list[pa.Table] = []
            for number in range(count):
                waiting.append(pa.parquet.read_table(self._path(number), schema=self._schema))
                rows = sum(map(len, waiting))
                if rows >= _ROWS or number == count - 1:
                    whole.write_table(pa.concat_tables(waiting).combine_chunks())
                    waiting = []
                    total += rows
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        beside.replace(self._file)
        shutil.rmtree(self._folder)
        return total

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.parquet"

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoppedError(
                    f"{self._file}: the disk is full; make room and make the table again, which continues"
                ) from error
            if error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(self._folder):
                raise JobError(
                    f"{self._file}: cannot be written ({error.strerror or error}); name another file"
                ) from error
            raise
