"""Checks of the arguments of the library's calls: each error names the argument, its value and what to write."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from downloader.errors import JobError, StoppedError

_SHOWN = 60
"""Characters of a wrong value that a message repeats."""


def path_text(
    value: object, name: str, advice: str = "write a folder's path, or the URL of a folder in a bucket"
) -> str:
    """Return a path as text.

    Args:
        value: the argument.
        name: its name.
        advice: what to write.

    Raises:
        JobError: it is no path.
    """
    if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
        return text
    raise _wrong(value, name, advice)


def check_choices(values: Iterable[object], name: str, choices: Collection[object]) -> None:
    """Raise JobError unless each value is one of the choices."""
    known = ", ".join(map(str, choices))
    if isinstance(values, str):
        raise _wrong(values, name, f"write a list, of {known}")
    for value in values:
        if not any(value is one or value == one for one in choices):
            raise JobError(f"{name}: {shown(value)} is none of {known}")


def check_text(value: object, name: str, advice: str) -> None:
    """Raise JobError unless a value is a text, or None."""
    if not isinstance(value, str | None):
        raise _wrong(value, name, advice)


def check_number(value: object, name: str, least: float = 0) -> None:
    """Raise JobError unless a value is a number, of at least so much."""
    try:
        if not isinstance(value, str) and float(value) >= least:  # type: ignore[arg-type]  # what is no number raises
            return
    except (TypeError, ValueError):
        pass
    raise _wrong(value, name, f"write a number of at least {least:g}")


def numbers(value: object, name: str, what: str) -> list[float]:
    """Return finite numbers, as many as `what` names with commas between them. Raises JobError."""
    count = what.count(",") + 1
    try:
        found = [float(one) for one in value]  # type: ignore[attr-defined]  # what cannot be iterated raises
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        raise _wrong(value, name, f"write {count} numbers: {what}")
    return found


def check_names(values: object, name: str) -> None:
    """Raise JobError unless a value is a list of names, or None."""
    if values is None:
        return
    if (
        isinstance(values, str)
        or not isinstance(values, Iterable)
        or not all(isinstance(v, str) for v in values)
    ):
        example = [values] if isinstance(values, str) else ["B4", "B3"]
        raise _wrong(values, name, f"write a list of names, such as {example}")


def check_listener(progress: object, on_event: Callable[..., object] | None) -> None:
    """Raise JobError unless these are what `progress` and `on_event` take."""
    if not isinstance(progress, int):
        raise _wrong(progress, "progress", "write True or False; a function of your own goes to on_event")
    if on_event is not None and not callable(on_event):
        raise _wrong(on_event, "on_event", "give a function that takes an event")


@contextmanager
def writing(file: object, again: str = "write it again") -> Iterator[None]:
    """Turn errors of writing a file that the caller named into those of this package.

    Args:
        file: what messages call it.
        again: what to do once there is room.

    Raises:
        JobError: it cannot be written.
        StoppedError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(error):
            raise StoppedError(f"{file}: the disk is full; make room and {again}") from error
        raise JobError(f"{file}: cannot be written ({error.strerror or error}); name another file") from error


def shown(value: object) -> str:
    """Return a value as a message repeats it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _wrong(value: object, name: str, advice: str) -> JobError:
    return JobError(f"{name}: {shown(value)}: {advice}")
