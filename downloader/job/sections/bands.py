"""`source.bands`: band ids, colours, formulas, and bands that each collection calls otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from downloader.errors import JobError
from downloader.expressions.formula import Formula, parse_formula
from downloader.text import cut

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Entry = (
    Annotated[str, Field(json_schema_extra={"minLength": 1})]
    | Annotated[
        dict[str, str | dict[str, str]], Field(json_schema_extra={"minProperties": 1, "maxProperties": 1})
    ]
)
"""Entry of the list as it is written: `B4`, `{ndvi: (B8 - B4) / (B8 + B4)}`, or `{red: {COLLECTION: BAND, …}}`."""


@dataclass(frozen=True, slots=True)
class BandSpec:
    """One band asked for."""

    name: str
    formula: Formula | None = None
    """None for a band of the catalogue, or a colour, of this name."""
    by_collection: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Collection → its band, where they differ."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of the catalogue, or colours, that the band is computed from."""
        if self.formula is not None:
            return self.formula.bands
        return tuple(dict.fromkeys(self.by_collection.values())) or (self.name,)

    def __str__(self) -> str:
        """Return formula or source bands, as a difference between two jobs shows them."""
        if self.formula is not None:
            return self.formula.text
        return ", ".join(f"{where}: {band}" for where, band in self.by_collection.items()) or self.name


def band_spec(entry: Entry) -> BandSpec:
    """Return the band that an entry of the list asks for. Raises JobError."""
    if isinstance(entry, str):
        return BandSpec(entry)
    [(name, made_of)] = entry.items()
    if isinstance(made_of, dict):
        return BandSpec(name, by_collection=made_of)
    return BandSpec(name, parse_formula(made_of, "source.bands"))


def _entries(value: Any) -> Any:
    if value is None or value == "all":
        return None
    if not isinstance(value, (list, tuple)):
        raise ValueError("write a list of band names, such as [B2, B3], or all")
    found = []
    for number, entry in enumerate(value):
        try:
            found.append(_entry(entry))
        except ValueError as error:
            raise JobError(str(error), key=f"source.bands.{number}") from None
    if not found:
        raise ValueError("name at least one band, or write all")
    names = [band_spec(entry).name for entry in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{cut(', '.join(twice))} is named more than once; name each band once")
    return tuple(found)


def _entry(value: Any) -> Entry:
    if isinstance(value, str):
        if not value:
            raise ValueError("a band's name is empty; name each band, or write all")
        return value
    if not isinstance(value, Mapping) or len(value) != 1:
        if isinstance(value, int | float):
            raise ValueError("write text; put it in quotes")
        raise ValueError("write a band's name, or a name and a formula: ndvi: (B8 - B4) / (B8 + B4)")
    [(name, made_of)] = value.items()
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{cut(repr(name))} is no name for a computed band; use letters, digits and _")
    if isinstance(made_of, Mapping) and made_of:
        if not all(isinstance(text, str) and text for pair in made_of.items() for text in pair):
            raise ValueError(f"{name}: write {{COLLECTION: BAND}} for each collection")
        return {name: dict(made_of)}
    if not isinstance(made_of, str) or not made_of.strip():
        raise ValueError(f"{name}: write a formula over bands, such as (B8 - B4) / (B8 + B4)")
    return {name: " ".join(made_of.split())}


_Listed = Annotated[tuple[Entry, ...], Field(json_schema_extra={"minItems": 1, "uniqueItems": True})]
Bands = Annotated[_Listed | None, BeforeValidator(_entries)]
"""Value of `source.bands`; None for all."""
