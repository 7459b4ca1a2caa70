"""Steps from images to slices: each image by the recipe of its collection, then several become one.

Where no step asks for computing, images are read as they are. A part of a slice of several images is computed of those alone
that meet it; its pixels are those that all of them give there, for what an image does not reach, it does not change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from downloader.errors import JobError
from downloader.expressions.composite import computed_expression
from downloader.expressions.elements import element
from downloader.expressions.recipe import ComputedBand, InputImage, Recipe
from downloader.expressions.reducers import Reducer
from downloader.model.expression import image_load
from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band, Image, collection_of
from downloader.planning.cover import layers
from downloader.planning.lattice import covered_window, offset_on, pixel_area
from downloader.text import few

_ANY: Final = "\0 any index"
"""Stands for an element's index; no text of a graph holds a NUL character."""

_KEEPING: Final = ("first", "last", "min", "max")
"""Reducers that leave the only image of a slice as it is."""

_DRAWN: Final = ("first", "last")
"""Reducers that draw images over each other, and hold no values of others."""

_KEPT: Final = 32
"""Expressions of parts that are kept: neighbouring requests have the same images."""

_BEYOND: Final = 2
"""Pixels, of the image and of the request, by which an image is taken larger where it is resampled."""

Partners = Mapping[str, tuple[Image, ...]]
"""Image's name → images of other collections that have the same index, whose bands its mask looks at."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps that a job takes from its images to slices."""

    collections: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    """One for each collection."""
    reducer: Reducer | None = None
    reasons: tuple[str, ...] = ()
    """Why each image is computed; empty where images are read as they are."""
    may_lack: bool = False
    """Whether images may lack bands, so that they take no part where those are needed."""
    partners: Partners = field(default_factory=dict)
    graph: Mapping[str, Any] | None = None
    """Node of what a user's expression computes; None where the images are assets."""
    of_elements: bool = False
    """Whether the images are the elements of the collection that `graph` computes, each by its index."""
    _templates: dict[frozenset[str], str] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Bands that elements lack → the expression of one, in which an index takes the place of `_ANY`."""
    _parts: dict[tuple[str, ...], str] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Names of images → the expression of a part that they meet."""

    @property
    def keeps_pixels(self) -> bool:
        """Whether the only image of a slice is what the slice is made of, bit for bit."""
        return not self.reasons and (self.reducer is None or self.reducer.name in _KEEPING)

    def recipe(self, image: Image) -> Recipe:
        """Return the recipe of an image."""
        return self.recipes[self._place(image)]

    def _place(self, image: Image) -> int:
        return 0 if self.of_elements else self.collections.index(collection_of(image))

    def partner_collections(self, image: Image) -> tuple[str, ...]:
        """Return the collections whose images have bands that the mask of an image looks at."""
        return tuple(dict.fromkeys(rule.of for rule in self.recipe(image).mask if rule.of))

    def _lacks_partner(self, image: Image) -> tuple[str, ...]:
        """Return the collections that have no partner of an image."""
        there = {collection_of(one) for one in self.partners.get(image.name, ())}
        return tuple(one for one in self.partner_collections(image) if one not in there)

    def view(self, image: Image) -> Image:
        """Return an image with the bands that its recipe makes, without those that it lacks."""
        recipe = self.recipe(image)
        own = {band.id: band for band in image.bands}
        lacks = self._lacks(image)
        if lacks and not self.may_lack:
            raise self._lacking(image)
        bands = []
        for band in recipe.bands:
            if lacks.intersection(recipe.of([band])):
                continue
            sources = [recipe.source(name) for name in band.formula.bands]
            modes = ["average"] if band.averaged else [one.resampling for one in sources]
            mode = next((mode for mode in modes if mode != "nearest"), "nearest")
            made = self._band(band, [own[recipe.own(one.name)] for one in sources])
            bands.append(replace(made, resampling=mode))
        return replace(image, bands=tuple(bands))

    def finest_grid(self, image: Image) -> PixelGrid | None:
        """Return the finest pixel grid of the bands that are read of an image; None where it lacks one of them."""
        recipe, own = self.recipe(image), {band.id: band.grid for band in image.bands}
        grids = [own.get(recipe.own(name)) for name in recipe.of(recipe.bands)]
        there = [grid for grid in grids if grid is not None]
        return min(there, key=pixel_area) if there and len(there) == len(grids) else None

    def lacking(self, image: Image) -> str:
        """Return the band or partner that an image lacks, such as `no band 'nir'`; empty if none."""
        recipe, lacks = self.recipe(image), self._lacks(image)
        if without := self._lacks_partner(image):
            return f"no partner of the same index in {without[0]}, whose bands the mask looks at"
        names = [recipe.own(name) for name in recipe.of(recipe.bands) if name in lacks]
        return f"no band {names[0]!r}" if names else ""

    def _lacking(self, image: Image) -> JobError:
        told, ways = self.lacking(image), "write source.on_missing_band: nodata"
        if told.startswith("no partner"):
            return JobError(
                f"{image.id} has {told}; leave the image out by source.filter, or {ways}", key="source.mask"
            )
        own = few([band.id for band in image.bands], most=8)
        return JobError(
            f"{image.id} has {told}; its bands are {own}. Leave the band or the image out, or {ways}",
            key="source.bands",
        )

    def _band(self, band: ComputedBand, sources: Sequence[Band]) -> Band:
        first = min(sources, key=lambda one: pixel_area(one.grid))
        if self.keeps_pixels:
            return first
        is_float = band.dtype.kind == "f"
        return Band(
            band.name,
            band.dtype,
            first.grid,
            first.pyramiding,
            (math.nan,) if is_float else (),
            is_bounded=first.is_bounded,
            is_filled=is_float,
        )

    def _lacks(self, image: Image) -> frozenset[str]:
        recipe = self.recipe(image)
        names = recipe.of(recipe.bands)
        if self._lacks_partner(image):
            return frozenset(names)
        own = {band.id for band in image.bands}
        return frozenset(name for name in names if recipe.own(name) not in own)

    def why(self, members: int) -> str:
        """Return the reason why a slice of `members` images is computed; empty where its image is read."""
        sources = [band for recipe in self.recipes for band in recipe.sources]
        modes = dict.fromkeys(
            band.resampling for band in sources if band.resampling not in {"nearest", "average"}
        )
        if members == 1 and self.keeps_pixels and not modes:
            return ""
        over = (
            []
            if self.reducer is None or (members == 1 and self.keeps_pixels)
            else [f"reduce: {self.reducer}"]
        )
        warped = [f"grid.resampling: {mode}" for mode in modes]
        return ", ".join([*self.reasons, *over, *warped])

    def expression(self, members: Sequence[Image]) -> str:
        """Return the expression of a slice of these images; empty where the only one is read.

        Args:
            members: in the order in which the first or last wins.

        Raises:
            JobError: it is longer, or nested deeper, than the service takes.
        """
        if not self.why(len(members)):
            return ""
        inputs = [self.input_of(image) for image in members]
        if self.of_elements and len(members) == 1 and not inputs[0].partners:
            return self._of_element(members[0], inputs[0])
        reducer = None if len(members) == 1 and self.keeps_pixels else self.reducer
        return computed_expression(inputs, self.recipes, reducer, "source.every")

    def _of_element(self, image: Image, graph: InputImage) -> str:
        """Return the expression of one element, made from a template: thousands differ in their index alone."""
        if graph.lacks not in self._templates:
            any_of_them = replace(graph, node=element(self.graph or {}, _ANY))
            made = computed_expression([any_of_them], self.recipes, self.reducer, "source.every")
            self._templates[graph.lacks] = made
        return self._templates[graph.lacks].replace(json.dumps(_ANY), json.dumps(image.id))

    def part_expression(self, members: Sequence[Image], lattice: PixelGrid, grid: PixelGrid) -> str:
        """Return the expression of one request of a slice of several images.

        Args:
            members: images of the slice, in the order in which the first or last wins.
            lattice: the group's.
            grid: the request's, on the lattice.

        Raises:
            JobError: it is longer, or nested deeper, than the service takes.
        """
        meeting = members
        if (offset := offset_on(lattice, grid)) is not None:
            window = grid.bounds.offset(*offset)
            # Where there is none, any image tells that nothing is there.
            meeting = [
                one for one in members if any(own.clip(window) for own in self._windows(one, lattice))
            ] or members[:1]
        names = tuple(image.name for image in meeting)
        if names not in self._parts:
            if len(self._parts) >= _KEPT:
                self._parts.clear()
            inputs = list(map(self.input_of, meeting))
            self._parts[names] = computed_expression(inputs, self.recipes, self.reducer, "source.every")
        return self._parts[names]

    def depth(self, slices: Iterable[Sequence[Image]], lattice: PixelGrid, region: Window) -> int:
        """Return the most images whose values a reducer holds of one pixel; 1 if it holds the result alone.

        Args:
            slices: images of each.
            lattice: the group's.
            region: in pixels of the lattice.
        """
        if self.reducer is None or self.reducer.name in _DRAWN:
            return 1
        found = [1]
        for members in slices:
            hulls = [hull for one in members if (hull := Window.hull(self._windows(one, lattice)))]
            inside = [clipped for hull in hulls if (clipped := hull.clip(region))]
            found.append(len(inside) if len({*inside}) < 2 else int(layers(inside)[0].max()))
        return max(found)

    def _windows(self, image: Image, lattice: PixelGrid) -> list[Window]:
        """Return the windows of a lattice that an image can contribute to."""
        recipe = self.recipe(image)
        read = {recipe.own(name) for name in recipe.of(recipe.bands)}
        grids = dict.fromkeys(band.grid for band in image.bands if band.id in read)
        return [_reach(lattice, grid) for grid in grids]

    def input_of(self, image: Image) -> InputImage:
        """Return an image as an input of expressions."""
        partners = self.partners.get(image.name, ())
        loads = {collection_of(one): image_load(one.id, one.update_time) for one in partners}
        if self.graph is None:
            node = image_load(image.id, image.update_time)
        else:
            node = element(self.graph, image.id) if self.of_elements else dict(self.graph)
        return InputImage(node, loads, self._place(image), self._lacks(image))

    def __reduce__(self) -> tuple[type[Steps], tuple[Any, ...]]:
        return Steps, tuple(getattr(self, one.name) for one in fields(self) if one.init)


def _reach(lattice: PixelGrid, grid: PixelGrid) -> Window:
    window = covered_window(lattice, grid)
    if offset_on(lattice, grid) is not None:
        return window
    beyond = _BEYOND + math.ceil(_BEYOND * math.sqrt(pixel_area(grid) / pixel_area(lattice)))
    return Window.between(
        window.column - beyond, window.row - beyond, window.column_end + beyond, window.row_end + beyond
    )
