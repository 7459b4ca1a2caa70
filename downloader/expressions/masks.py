"""Masks: which pixels of an image are kept, as rules over its quality bands, and their graphs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from downloader.errors import JobError
from downloader.model.expression import call, number, select


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
    bits: tuple[int, ...] = ()
    """Bits of which none may be set; empty where the rule is about values."""
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


def parse_mask_rule(value: object, key: str) -> MaskRule:
    """Return the rule that an entry of `source.mask` writes.

    Args:
        value: `band` and one of `bits`, `values`, or `below` and `above`; `of` names the partner's collection, `is: good` or
            `is: bad` (default) what `values` are, and `field: [first bit, number of bits]` the bits that hold them.
        key: key of the job file, for the message.

    Raises:
        JobError: it is no rule; the message says what is wrong of it.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("band"), str):
        raise JobError(
            f"{str(value)[:100]!r} is not a mask; write clouds, or a rule such as {{band: SCL, values: [3, 8, 9]}}",
            key=key,
        )
    known = {"band", "of", "bits", "values", "field", "is", "below", "above"}
    if unknown := [str(name) for name in value if name not in known]:
        raise JobError(f"a rule has no {unknown[0]}; its keys are {', '.join(sorted(known))}", key=key)
    kinds = [name for name in ("bits", "values", "below", "above") if name in value]
    if len(kinds) != 1 and kinds != ["below", "above"]:
        raise JobError("a rule needs one of bits, values, and below or above", key=key)
    if ("is" in value or "field" in value) and kinds != ["values"]:
        raise JobError("is and field belong to a rule with values", key=key)
    if value.get("is", "bad") not in {"good", "bad"}:
        raise JobError(f"{value['is']!r} is neither good nor bad", key=f"{key}.is")
    first, count = _whole(value["field"], f"{key}.field", 2) if "field" in value else (0, 0)
    bits = _whole(value["bits"], f"{key}.bits") if "bits" in value else ()
    if any(bit > 31 for bit in (*bits, first + count)):
        raise JobError("bits are counted from 0 to 31", key=key)
    return MaskRule(
        band=value["band"],
        of=str(value.get("of", "")),
        first=first,
        count=count,
        bits=bits,
        values=_whole(value["values"], f"{key}.values") if "values" in value else (),
        is_bad=value.get("is", "bad") == "bad",
        minimum=_real(value.get("below"), f"{key}.below"),
        maximum=_real(value.get("above"), f"{key}.above"),
    )


def _whole(value: object, key: str, length: int | None = None) -> tuple[int, ...]:
    numbers = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not numbers or not all(
        isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in numbers
    ):
        raise JobError(f"{str(value)[:100]!r} is not a list of whole numbers, 0 or more", key=key)
    if length is not None and len(numbers) != length:
        raise JobError("needs two numbers: the first bit and how many there are", key=key)
    return tuple(numbers)


def _real(value: object, key: str) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise JobError(f"{str(value)[:100]!r} is not a number", key=key)
    return value


def mask_bands(rules: Sequence[MaskRule]) -> tuple[str, ...]:
    """Return the image's own bands that the rules look at, each once."""
    return tuple(dict.fromkeys(rule.band for rule in rules if not rule.of))


def keep_graph(image: dict[str, Any], rules: Sequence[MaskRule]) -> dict[str, Any]:
    """Return the graph of an image of one band that is 1 where every rule holds and 0 elsewhere; masked where a band is.

    Args:
        image: graph of the image, with the bands of `MaskRule.band_in_graph`.
        rules: at least one.
    """
    return _joined("Image.and", [kept for rule in rules for kept in _kept(image, rule)])


def _joined(operation: str, images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    result = images[0]
    for other in images[1:]:
        result = call(operation, image1=result, image2=other)
    return result


def _kept(image: dict[str, Any], rule: MaskRule) -> list[dict[str, Any]]:
    """Return the conditions of one rule, all of which must hold."""
    band = select(image, [rule.band_in_graph])
    if rule.bits:
        found = call("Image.bitwiseAnd", image1=band, image2=number(sum(1 << bit for bit in set(rule.bits))))
        return [call("Image.eq", image1=found, image2=number(0))]
    if rule.values:
        if rule.first:
            band = call("Image.rightShift", image1=band, image2=number(rule.first))
        if rule.count:
            band = call("Image.bitwiseAnd", image1=band, image2=number(2**rule.count - 1))
        compare, join = ("Image.neq", "Image.and") if rule.is_bad else ("Image.eq", "Image.or")
        return [_joined(join, [call(compare, image1=band, image2=number(value)) for value in rule.values])]
    limits = (("Image.gte", rule.minimum), ("Image.lte", rule.maximum))
    return [call(how, image1=band, image2=number(limit)) for how, limit in limits if limit is not None]
