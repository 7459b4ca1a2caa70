"""Text of the files that a job names: regular files of bounded size, read as UTF-8."""

from __future__ import annotations

from pathlib import Path

from downloader.errors import JobError
from downloader.text import cut, memory


def read_text(path: Path, most: int, advice: str, key: str | None = None) -> str:
    """Return a file's text, without a byte-order mark.

    Args:
        path: the file.
        most: bytes that it may have.
        advice: what to write instead, for messages.
        key: key of the job file that names it.

    Raises:
        JobError: there is none, it is no regular file, too large, or not UTF-8.
    """
    shown = cut(path)
    try:
        # Opening a pipe would wait for its writer, and a device may have no end.
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "no regular file"
            raise JobError(f"{shown} is {kind}; {advice}", key=key)
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise JobError(f"there is no file {shown}; {advice}", key=key) from None
    except OSError as error:
        raise JobError(f"{shown} cannot be read: {error.strerror or error}; {advice}", key=key) from None
    if len(data) > most:
        raise JobError(f"{shown} is larger than {memory(most)}; {advice}", key=key)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise JobError(f"{shown}, line {line}: is not UTF-8 text; save it as UTF-8", key=key) from None
