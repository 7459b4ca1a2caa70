"""Streams for displays: what they show must never end a run."""

from __future__ import annotations

import io
import os
from typing import TextIO, cast

__all__ = ["forgiving", "open_null"]


def forgiving(out: TextIO) -> TextIO:
    """`out`, but writing never fails: a terminal that was closed must not end a job of hours."""
    return out if isinstance(out, _Forgiving) else cast("TextIO", _Forgiving(out))


class _Forgiving(io.TextIOBase):
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a stream has one
        return getattr(self._out, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if not self._gone:
            try:
                self._write(text)
            except (OSError, ValueError):
                self._gone = True
        return len(text)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
        except UnicodeEncodeError:
            self._out.write(text.encode(self.encoding, "replace").decode(self.encoding))

    def flush(self) -> None:
        if not self._gone:
            try:
                self._out.flush()
            except (OSError, ValueError):
                self._gone = True

    def isatty(self) -> bool:
        try:
            return self._out.isatty()
        except (OSError, ValueError):
            return False


def open_null() -> TextIO:
    """A stream that forgets."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # lives as long as the process
