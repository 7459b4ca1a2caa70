"""Masks: which pixels of an image are kept, as rules over its quality bands, and their graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from downloader.model.expression import call, constant


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
    is_bad: bool = False
    """Whether `values` are those of pixels to leave out, else of pixels to keep."""
    minimum: float | None = None
    """Keep pixels of at least this value."""
    maximum: float | None = None
    """Keep pixels of at most this value."""

    @property
    def band_in_graph(self) -> str:
        """Name of the band in the graph; a partner's band gets a name that no band of the image has."""
        return f"partner_{self.band}" if self.of else self.band


def mask_bands(rules: Sequence[MaskRule]) -> tuple[str, ...]:
    """Return the image's own bands that the rules look at, each once."""
    return tuple(dict.fromkeys(rule.band for rule in rules if not rule.of))


def keep_graph(image: dict[str, Any], rules: Sequence[MaskRule]) -> dict[str, Any]:
    """Return the graph of an image of one band that is 1 where every rule holds and 0 elsewhere.

    Args:
        image: graph of the image, with the bands of `MaskRule.band_in_graph`.
        rules: at least one.
    """
    kept = [_keep(image, rule) for rule in rules]
    result = kept[0]
    for other in kept[1:]:
        result = call("Image.and", image1=result, image2=other)
    return result


def _number(value: float) -> dict[str, Any]:
    return call("Image.constant", value=constant(value))


def _keep(image: dict[str, Any], rule: MaskRule) -> dict[str, Any]:
    band = call("Image.select", input=image, bandSelectors=constant([rule.band_in_graph]))
    if rule.minimum is not None:
        return call("Image.gte", image1=band, image2=_number(rule.minimum))
    if rule.maximum is not None:
        return call("Image.lte", image1=band, image2=_number(rule.maximum))
    if rule.pattern:
        return call(
            "Image.eq",
            image1=call("Image.bitwiseAnd", image1=band, image2=_number(rule.pattern)),
            image2=_number(0),
        )
    if rule.count:
        if rule.first:
            band = call("Image.rightShift", image1=band, image2=_number(rule.first))
        band = call("Image.bitwiseAnd", image1=band, image2=_number(2**rule.count - 1))
    compare, join = ("Image.neq", "Image.and") if rule.is_bad else ("Image.eq", "Image.or")
    result = call(compare, image1=band, image2=_number(rule.values[0]))
    for value in rule.values[1:]:
        result = call(join, image1=result, image2=call(compare, image1=band, image2=_number(value)))
    return result
