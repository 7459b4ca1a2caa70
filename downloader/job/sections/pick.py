"""`source.pick`: which of the images that meet the conditions are taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PositiveInt

from downloader.job.sections.base import Section


class Clearest(Section):
    """Whole images that show most of the region: a number of each period."""

    clearest: PositiveInt
    """Images of each period."""
    per: Literal["all", "day", "16d", "month", "season", "year"]
    """The period, UTC; `all` is that of the source."""

    def __str__(self) -> str:
        return f"clearest {self.clearest} per {self.per}"


def _pick(value: Any) -> Any:
    if value == "nearest":
        raise ValueError(
            "is to the date of a point, and points of region.points have the image nearest to theirs without it; leave pick "
            "out, or write {clearest: 1, per: season} for a region"
        )
    if value is None or value == "all":
        return None
    if isinstance(value, Mapping | Clearest):
        return value
    raise ValueError("write all, or how many images of each period, such as {clearest: 1, per: season}")


Pick = Annotated[Clearest | None, BeforeValidator(_pick)]
"""Value of `source.pick`; None for all."""
