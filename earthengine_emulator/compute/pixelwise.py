# ruff: noqa: A002 - parameters are named as the API's arguments are
"""Images changed pixel by pixel: conditions, clamping, classes, masks (docs/contract.md §4.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.model import Image
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.computed import both, everywhere
from earthengine_emulator.compute.expression import Library
from earthengine_emulator.compute.images import select
from earthengine_emulator.compute.operand import (
    anonymous,
    as_double,
    each_band,
    image,
    masked_by,
    pairs_of,
    result_kind,
    retyped,
)
from earthengine_emulator.pixels.sampling import Part

_as_image = image


def where(input: object, test: object, value: object) -> Image:
    """Image.where: the value where the test is valid and not 0; masked values change nothing."""
    target, condition, other = image(input), image(test), image(value)

    def apply(parts: Sequence[Part]) -> Part:
        own, tested, wanted = parts
        replaced = everywhere(tested) & (tested[0] != 0) & everywhere(wanted) & everywhere(own)
        return np.where(replaced, as_double(wanted), as_double(own)), own[1]

    bands, planes = [], []
    with_test, with_value = dict(pairs_of(target, condition)), dict(pairs_of(target, other))
    for i, band in enumerate(target.bands):
        kinds = [computed.kind_of(band.type), computed.kind_of(other.bands[with_value[i]].type)]
        kind = result_kind("same", kinds)
        bands.append(retyped(band, kind))
        operands = [(target, i), (condition, with_test[i]), (other, with_value[i])]
        planes.append(computed.combine([computed.plane_of(*one) for one in operands], apply, kind, "first"))
    return anonymous(computed.image_of(bands, planes, target))


def clamp(input: object, low: float, high: float) -> Image:
    """Image.clamp: values below `low` and above `high` become these."""
    return each_band(
        image(input),
        lambda band: computed.kind_of(band.type),
        lambda part: (np.clip(as_double(part), float(low), float(high)), part[1]),
    )


def remap(image: object, **options: Any) -> Image:
    """Image.remap: one band's values exchanged by the lists `from` and `to`.

    Other values become `defaultValue`, or are masked without one. `bandName` is the first band by default.
    """
    target, default = _as_image(image), options.get("defaultValue")
    one = select(target, [0 if options.get("bandName") is None else options["bandName"]])
    old, new = options["from"], options["to"]
    if len(old) != len(new):
        raise invalid_argument("Image.remap: The lists 'from' and 'to' must be of the same length.")
    table = dict(zip(map(float, old), map(float, new), strict=True))
    wanted = [*new, *([] if default is None else [default])]
    whole = all(float(value).is_integer() for value in wanted)
    kind = "i4" if whole and all(abs(value) < 2**31 for value in wanted) else "f8"

    def apply(part: Part) -> Part:
        values = as_double(part)
        known = np.isin(values, list(table))
        result = np.full(values.shape, 0.0 if default is None else float(default))
        for key, value in table.items():
            result[values == key] = value
        return result, both(part[1], known) if default is None else part[1]

    renamed = each_band(one, lambda _: kind, apply)
    return computed.image_of(
        [retyped(renamed.bands[0], kind, "remapped")], [computed.plane_of(renamed, 0)], renamed
    )


def self_mask(image: object) -> Image:
    """Image.selfMask: masked also where it is 0."""
    target = _as_image(image)
    return masked_by(target, target)


LIBRARY: Final[Library] = {
    "Image.where": where,
    "Image.clamp": clamp,
    "Image.remap": remap,
    "Image.selfMask": self_mask,
}
