"""`source.pick`: which of the images that meet the conditions are taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, GetJsonSchemaHandler, PositiveInt, Tag
from pydantic_core import CoreSchema

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


class _Choices:
    """The choices as the schema of job files has them, made where it is asked for."""

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"const": "nearest"}, Clearest.model_json_schema()]}


Pick = Annotated[
    Annotated[
        Annotated[Literal["nearest"] | None, Tag("tag-word")] | Annotated[Clearest, Tag("tag-clearest")],
        Discriminator(lambda value: "tag-clearest" if isinstance(value, Mapping | Clearest) else "tag-word"),
    ],
    BeforeValidator(_pick),
    _Choices(),
]
"""Value of `source.pick`; None for all."""
