"""Recipes of images: bands chosen, masked, scaled, and computed from others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np

from downloader.expressions.formula import Formula
from downloader.expressions.masks import MaskRule, keep_graph, mask_bands
from downloader.model.expression import add_bands, call, constant, function, number, select

_ELEMENT: Final = "one"

MOST_AVERAGED: Final = 65_536
"""Pixels that the service averages to one at most (`maxPixels` of `Image.reduceResolution`)."""


@dataclass(frozen=True, slots=True)
class SourceBand:
    """A band of the images of one collection, as formulas and rules call it."""

    name: str
    """Name in formulas and mask rules, and of the band that is written as it is."""
    own: str = ""
    """Name in the image, where it is another, as of a colour."""
    scale: float = 1
    """Formulas see stored value × scale + offset."""
    offset: float = 0
    resampling: str = "nearest"
    """How the service makes pixels of another grid: `nearest`, `bilinear`, `bicubic`, or `average`, which computed bands are."""
    is_decibel: bool = False
    """Whether it is interpolated as 10^(value/10), the linear power."""

    @property
    def is_scaled(self) -> bool:
        """Whether values in physical units differ from those stored."""
        return (self.scale, self.offset) != (1, 0)


@dataclass(frozen=True, slots=True)
class ComputedBand:
    """A band of the result."""

    name: str
    formula: Formula
    dtype: np.dtype[Any]
    """Type of the result, after reducing."""
    is_decibel: bool = False
    """Whether means are taken of 10^(value/10), the linear power."""
    averaged: int = 0
    """Pixels of the image, at most, that a coarser one is the mean of; of `MOST_AVERAGED` it is the mean of pyramid pixels where
    it holds more. 0 where it is not averaged."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Bands and mask that are made of each image of one collection."""

    bands: tuple[ComputedBand, ...]
    """Bands of the result."""
    sources: tuple[SourceBand, ...] = ()
    """Bands of the image whose name, scale or resampling is not the plain one."""
    mask: tuple[MaskRule, ...] = ()

    def source(self, name: str) -> SourceBand:
        """Return the image's band of a name in formulas and rules."""
        return next((band for band in self.sources if band.name == name), SourceBand(name))

    def own(self, name: str) -> str:
        """Return the band's name in the image; formulas and rules call it `name`."""
        return self.source(name).own or name

    def of(self, bands: Sequence[ComputedBand]) -> tuple[str, ...]:
        """Return the names of the image's bands that `bands` and the mask need, each once."""
        names = [name for band in bands for name in band.formula.bands]
        return tuple(dict.fromkeys([*names, *mask_bands(self.mask)]))


@dataclass(frozen=True, slots=True)
class InputImage:
    """One frozen image that goes into a computed image."""

    node: Mapping[str, Any]
    """Graph of the image."""
    partners: Mapping[str, Mapping[str, Any]]
    """Collection → graph of the image of that collection which has the same index."""
    recipe: int = 0
    """Place of its recipe among those of the computation."""
    lacks: frozenset[str] = frozenset()
    """Bands, as formulas and rules call them, that the image does not have."""


def loaded(image: InputImage, recipe: Recipe, bands: Sequence[ComputedBand]) -> dict[str, Any]:
    """Return the graph of an input with the bands that the recipe needs, under the names that formulas and rules use."""
    sources = [recipe.source(name) for name in recipe.of(bands)]
    parts = []
    for (resampling, is_decibel), group in groupby(sorted(sources, key=_interpolated), _interpolated):
        chosen = list(group)
        node, names = dict(image.node), [band.name for band in chosen]
        own: Sequence[str | int] = [band.own or band.name for band in chosen]
        if is_decibel:
            node, own = _power_of(select(node, own)), range(len(names))
        if resampling:
            node = call("Image.resample", image=node, mode=constant(resampling))
        if is_decibel:
            node = _decibels_of(node)
        parts.append(select(node, own, names))
    partner_rules = dict.fromkeys((rule.of, rule.band, rule.band_in_graph) for rule in recipe.mask if rule.of)
    parts += [select(dict(image.partners[of]), [band], [name]) for of, band, name in partner_rules]
    return add_bands(parts)


def collection_graph(
    nodes: Sequence[dict[str, Any]],
    recipes: Sequence[int],
    prepare: Callable[[int, dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Return a flat collection of images, each prepared by its recipe.

    What is done is one function for each recipe: mapped where all images share it, else called for each image, since a merge of
    collections would lose their order.

    Args:
        nodes: graphs of the images, as `loaded` gives them.
        recipes: number of each image's recipe.
        prepare: graph of what a recipe makes of an image.
    """
    functions = {
        recipe: function([_ELEMENT], prepare(recipe, {"argumentReference": _ELEMENT}))
        for recipe in sorted(set(recipes))
    }
    if len(functions) > 1:
        nodes = [
            {
                "functionInvocationValue": {
                    "functionReference": functions[recipe],
                    "arguments": {_ELEMENT: node},
                }
            }
            for recipe, node in zip(recipes, nodes, strict=True)
        ]
    flat = call("ImageCollection.fromImages", images={"arrayValue": {"values": list(nodes)}})
    if len(functions) > 1:
        return flat
    [only] = functions.values()
    return call("Collection.map", collection=flat, baseAlgorithm=only)


def each_graph(
    image: dict[str, Any], recipe: Recipe, bands: Sequence[ComputedBand], *, linear_power: bool = False
) -> dict[str, Any]:
    """Return the graph of what a recipe makes of an image: the bands asked for, in order, masked by its rules.

    Args:
        image: graph of the image, as `loaded` gives it.
        recipe: what is done.
        bands: those of the recipe's that are wanted.
        linear_power: whether bands in decibels become linear power.
    """
    parts = []
    for is_plain, group in groupby(bands, lambda band: _is_plain(band, recipe, linear_power)):
        chosen = list(group)
        if is_plain:
            parts.append(
                select(image, [band.formula.bands[0] for band in chosen], [band.name for band in chosen])
            )
        else:
            parts += [
                select(_computed(image, recipe, band, linear_power), [0], [band.name]) for band in chosen
            ]
    result = add_bands(parts)
    if recipe.mask:
        result = call("Image.updateMask", image=result, mask=keep_graph(image, recipe.mask))
    if not any(band.averaged for band in bands):
        return result
    result = _averaged(result, bands)
    means = {band.name for band in bands if band.is_decibel and band.averaged and not linear_power}
    return in_decibels(result, [band.name for band in bands], means)


def _averaged(image: dict[str, Any], bands: Sequence[ComputedBand]) -> dict[str, Any]:
    """Return an image whose coarser pixels are means of those that are valid, weighed by their share; bands stay in order."""
    parts = []
    for most, group in groupby(bands, lambda band: band.averaged):
        part = select(image, [band.name for band in group])
        if most:
            part = call(
                "Image.reduceResolution",
                image=part,
                reducer=call("Reducer.mean"),
                bestEffort=constant(most >= MOST_AVERAGED),
                maxPixels=constant(most),
            )
        parts.append(part)
    return add_bands(parts)


def in_decibels(image: dict[str, Any], names: Sequence[str], chosen: Collection[str]) -> dict[str, Any]:
    """Return an image whose bands of linear power are in decibels again.

    Args:
        image: graph of an image with bands of these names, which stay in order.
        names: of its bands.
        chosen: names of the bands of linear power.
    """
    if not chosen:
        return image
    parts = [(name, select(image, [name])) for name in names]
    return add_bands(
        [select(_decibels_of(part), [0], [name]) if name in chosen else part for name, part in parts]
    )


def _interpolated(band: SourceBand) -> tuple[str, bool]:
    """Return the interpolation of a band that is read on another grid (empty for none), and whether it is done in linear power."""
    how = band.resampling if band.resampling in {"bilinear", "bicubic"} else ""
    return how, bool(how) and band.is_decibel


def _power_of(image: dict[str, Any]) -> dict[str, Any]:
    return call("Image.pow", image1=number(10), image2=call("Image.divide", image1=image, image2=number(10)))


def _decibels_of(image: dict[str, Any]) -> dict[str, Any]:
    return call("Image.multiply", image1=call("Image.log10", value=image), image2=number(10))


def _is_plain(band: ComputedBand, recipe: Recipe, linear_power: bool) -> bool:
    if not band.formula.is_band or (band.is_decibel and (linear_power or band.averaged)):
        return False
    return not recipe.source(band.formula.bands[0]).is_scaled


def _computed(
    image: dict[str, Any], recipe: Recipe, band: ComputedBand, linear_power: bool
) -> dict[str, Any]:
    def physical(name: str) -> dict[str, Any]:
        source, stored = recipe.source(name), select(image, [name])
        if not source.is_scaled:
            return stored
        scaled = call("Image.multiply", image1=stored, image2=number(source.scale))
        return call("Image.add", image1=scaled, image2=number(source.offset)) if source.offset else scaled

    result = band.formula.graph(physical)
    return _power_of(result) if band.is_decibel and (linear_power or band.averaged) else result
