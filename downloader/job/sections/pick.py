"""`source.pick`: choice among the images that meet the conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, PositiveInt, Tag

from downloader.job.sections.base import Section


class Clearest(Section):
    """Whole images that show most of the region: a number of each period."""

    clearest: PositiveInt
    """Images of each period."""
    per: Literal["all", "day", "16d", "month", "season", "year"] = "all"
    """The period, UTC; `all` is that of the source."""

    def __str__(self) -> str:
        return f"clearest {self.clearest} per {self.per}"


def _pick(value: Any) -> Any:
    if value is None or value == "all":
        return None
    if value == "nearest" or isinstance(value, Mapping | Clearest):
        return value
    raise ValueError(
        "write all, nearest (to the date of a point), or how many images of each period, such as {clearest: 1, per: season}"
    )


Pick = Annotated[
    Annotated[
        Annotated[Literal["nearest"] | None, Tag("tag-word")] | Annotated[Clearest, Tag("tag-clearest")],
        Discriminator(lambda value: "tag-clearest" if isinstance(value, Mapping | Clearest) else "tag-word"),
    ],
    BeforeValidator(_pick),
]
"""Value of `source.pick`; None for all."""
