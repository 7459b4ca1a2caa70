"""Masks: rules over quality bands that say which pixels of an image are kept, and their graphs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from downloader.model.expression import call, joined_by, number, select


@dataclass(frozen=True, slots=True)
class MaskRule:
    """One condition on one quality band; a pixel is kept where it holds.

    The value compared is `(band >> first) & (2**count - 1)`, or the whole value where `count` is 0.
    """

    band: str
    of: str = ""
    """Collection of the partner image that has the band; empty for the image itself."""
    first: int = 0
    count: int = 0
    pattern: int = 0
    """Bits of which none may be set; 0 where the rule is about values."""
    values: tuple[int, ...] = ()
    """Values to compare with."""
    is_bad: bool = True
    """Whether `values` are those of pixels to leave out, else of pixels to keep."""
    minimum: float | None = None
    """Keep pixels of at least this value."""
    maximum: float | None = None
    """Keep pixels of at most this value."""

    @property
    def band_in_graph(self) -> str:
        """Name of the band in the graph; a partner's band gets a name that no band of the image has."""
        return re.sub(r"\W", "_", f"partner {self.of} {self.band}") if self.of else self.band


def mask_bands(rules: Sequence[MaskRule]) -> tuple[str, ...]:
    """Return the image's own bands that the rules look at, each once."""
    return tuple(dict.fromkeys(rule.band for rule in rules if not rule.of))


def keep_graph(image: dict[str, Any], rules: Sequence[MaskRule]) -> dict[str, Any]:
    """Return the graph of an image of one band that is 1 where every rule holds and 0 elsewhere; masked where a band is.

    Args:
        image: graph of the image, with the bands of `MaskRule.band_in_graph`.
        rules: at least one.
    """
    return joined_by("Image.and", [kept for rule in rules for kept in _kept(image, rule)])


def _kept(image: dict[str, Any], rule: MaskRule) -> list[dict[str, Any]]:
    """Return the conditions of one rule, all of which must hold."""
    band = select(image, [rule.band_in_graph])
    if rule.pattern:
        found = call("Image.bitwiseAnd", image1=band, image2=number(rule.pattern))
        return [call("Image.eq", image1=found, image2=number(0))]
    if rule.values:
        if rule.first:
            band = call("Image.rightShift", image1=band, image2=number(rule.first))
        if rule.count:
            band = call("Image.bitwiseAnd", image1=band, image2=number(2**rule.count - 1))
        compare, join = ("Image.neq", "Image.and") if rule.is_bad else ("Image.eq", "Image.or")
        return [joined_by(join, [call(compare, image1=band, image2=number(value)) for value in rule.values])]
    limits = (("Image.gte", rule.minimum), ("Image.lte", rule.maximum))
    return [call(how, image1=band, image2=number(limit)) for how, limit in limits if limit is not None]
