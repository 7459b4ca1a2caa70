"""`source.mask`: pixels of each image that are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from downloader.expressions.masks import MaskRule
from downloader.job.sections.base import Section

_Bit = Annotated[int, Field(ge=0, le=62)]


class MaskRules(Section):
    """One rule on one quality band; a pixel stays where every rule lets it."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    band: Annotated[str, Field(min_length=1)]
    """The quality band, such as QA_PIXEL."""
    of: Annotated[str, Field(min_length=1)] | None = None
    """Collection whose image of the same `system:index` has the band; without it the image itself."""
    bits: Annotated[tuple[_Bit, ...], Field(min_length=1)] | None = None
    """A pixel is left out where any of these bits is set; bit 0 is the lowest."""
    field: tuple[_Bit, Annotated[int, Field(ge=1, le=32)]] | None = None
    """[first bit, number of bits] that `values` are compared with; without it the whole number."""
    values: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    """Values to leave out, or with `is: good` to keep."""
    which: Literal["bad", "good"] = Field("bad", alias="is")
    """`bad`: pixels with `values` are left out; `good`: they are kept."""
    below: float | None = None
    """A pixel is left out where the band is below this."""
    above: float | None = None
    """A pixel is left out where the band is above this."""

    @model_validator(mode="after")
    def _one_condition(self) -> MaskRules:
        given = [name for name in ("bits", "values", "below", "above") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "write one of bits, values, below and above; further ones are further rules of the list"
            )
        if self.values is None and {"field", "which"} & self.model_fields_set:
            raise ValueError("field and is go with values")
        return self

    @property
    def rule(self) -> MaskRule:
        """Condition under which a pixel is kept."""
        first, count = self.field or (0, 0)
        return MaskRule(
            self.band,
            of=self.of or "",
            first=first,
            count=count,
            pattern=sum(1 << bit for bit in set(self.bits or ())),
            values=self.values or (),
            is_bad=self.which == "bad",
            minimum=self.below,
            maximum=self.above,
        )

    def __str__(self) -> str:
        told = self.model_dump(exclude_defaults=True, by_alias=True, mode="json")
        return ", ".join(f"{key} {value}" for key, value in told.items())


def _rules(value: Any) -> Any:
    if value is None or value in ("none", "clouds"):
        return None if value == "none" else value
    if isinstance(value, Mapping | MaskRules):
        return (value,)
    if isinstance(value, list | tuple) and value:
        return tuple(value)
    raise ValueError("write clouds, a rule such as {band: QA_PIXEL, bits: [3, 4]}, or a list of rules")


Mask = Annotated[
    Annotated[
        Annotated[Literal["clouds"] | None, Tag("word")] | Annotated[tuple[MaskRules, ...], Tag("rules")],
        Discriminator(lambda value: "rules" if isinstance(value, tuple) else "word"),
    ],
    BeforeValidator(_rules),
]
"""Value of `source.mask`."""
