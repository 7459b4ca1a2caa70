"""Types of options: words and numbers with commas between them, and job files."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click


class _Words(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.3 on
    """Words with commas between them, as a tuple; spaces around them do not count."""

    name = "A,B,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401, ARG002  # click's signature
        """Return the words, or `value` if it is no text."""
        if not isinstance(value, str):
            return value
        return tuple(word.strip() for word in value.split(",") if word.strip())


WORDS: Final = _Words()


class Numbers(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # as above
    """Finite numbers with commas between them, as a tuple.

    Args:
        form: what to write, such as `LON,LAT`; shown in the help.
        example: a value that is right, for messages.
        count: how many; None takes one or more.
        kind: float or int.
    """

    def __init__(
        self, form: str, example: str, count: int | None = None, kind: Callable[[str], float] = float
    ) -> None:
        self.name = form
        self._example = example
        self._count = count
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  # click's signature
        """Return the numbers, or `value` if it is no text."""
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(self._kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        is_count = len(numbers) == self._count if self._count else bool(numbers)
        if not (is_count and all(map(math.isfinite, numbers))):
            self.fail(f"{value!r}: write {self.name}, such as {self._example}", param, ctx)
        return numbers


BOX: Final = Numbers("WEST,SOUTH,EAST,NORTH", "-122.12,37.38,-122.04,37.44", 4)
POINT: Final = Numbers("LON,LAT", "-122.085,37.422", 2)
LIMIT: Final = Numbers("N[,N,N]", "3000 or 3000,2500,2000")


class _JobFile(click.Path):
    """Path of a job file; one that does not exist is answered with the file that was probably meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  # click's signature
        """Return the path."""
        path = Path(str(super().convert(value, param, ctx)))
        if not path.exists() and path.parent.is_dir():
            others = [file.name for file in path.parent.iterdir() if file.suffix in {".yaml", ".yml"}]
            if near := difflib.get_close_matches(path.name, sorted(others), n=1, cutoff=0.75):
                self.fail(f"{path} does not exist. Did you mean {path.with_name(near[0])}?", param, ctx)
        return path


JOB_FILE: Final = _JobFile(path_type=Path)
