"""What a job does to images: each by the recipe of its collection, then several become one.

Where no step asks for computing, images are read as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.datasets.clouds import cloud_mask
from downloader.datasets.colours import bands_of_colour, colour_of, meant_by_colour
from downloader.datasets.facts import DatasetFacts, dataset_facts
from downloader.errors import JobError
from downloader.expressions.composite import computed_expression
from downloader.expressions.elements import element
from downloader.expressions.formula import Formula, Interval
from downloader.expressions.masks import MaskRule, mask_bands
from downloader.expressions.recipe import (
    MOST_AVERAGED,
    ComputedBand,
    InputImage,
    Recipe,
    SourceBand,
    input_image,
)
from downloader.expressions.reducers import Reducer, parse_reducer, reduced_dtype
from downloader.job.sections.bands import BandSpec
from downloader.job.sections.mask import MaskRules
from downloader.model.expression import graph_of
from downloader.model.grid import PixelGrid
from downloader.model.image import Band, Image, collection_of, unknown_bands
from downloader.planning.lattice import held_pixels, pixel_area
from downloader.text import few

if TYPE_CHECKING:
    from downloader.job import Job

_ANY: Final = "\0 any index"
"""Stands for an element's index; no text of a graph holds a NUL character."""

_KEEPING: Final = ("first", "last", "min", "max")
"""Reducers that leave the only image of a slice as it is."""

_OF_CLASSES: Final = ("MODE", "SAMPLE")
"""Pyramiding policies of bands whose values cannot be averaged."""

Partners = Mapping[str, tuple[Image, ...]]
"""Image's name → images of other collections that have the same index, whose bands its mask looks at."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done to the images of a job."""

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
    _templates: dict[frozenset[str], str] = field(default_factory=dict, compare=False, repr=False)
    """Bands that elements lack → the expression of one, in which an index takes the place of `_ANY`."""

    @property
    def keeps_pixels(self) -> bool:
        """Whether the only image of a slice is what the slice is made of, bit for bit."""
        return not self.reasons and (self.reducer is None or self.reducer.name in _KEEPING)

    def recipe(self, image: Image) -> Recipe:
        """Return what is done to an image."""
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
        """Return an image with the bands that the steps make of it, in place of its own; those that it lacks are left out."""
        recipe = self.recipe(image)
        own = {band.id: band for band in image.bands}
        lacks = self._lacks(image)
        if lacks and not self.may_lack:
            raise self._lacking(image)
        bands = []
        for band in recipe.bands:
            if lacks.intersection(recipe.of([band])):
                continue
            sources = [own[recipe.own(name)] for name in band.formula.bands]
            modes = [recipe.source(name).resampling for name in band.formula.bands]
            mode = next((mode for mode in modes if mode != "nearest"), "nearest")
            mode = "average" if band.averaged else mode
            bands.append(replace(self._band(band, sources), resampling=mode))
        return replace(image, bands=tuple(bands))

    def finest_grid(self, image: Image) -> PixelGrid | None:
        """Return the finest pixel grid of the bands that are read of an image; None where it lacks one of them."""
        recipe, own = self.recipe(image), {band.id: band.grid for band in image.bands}
        grids = [own.get(recipe.own(name)) for name in recipe.of(recipe.bands)]
        there = [grid for grid in grids if grid is not None]
        return min(there, key=pixel_area) if there and len(there) == len(grids) else None

    def lacking(self, image: Image) -> str:
        """Return what an image lacks of the bands and partners that are needed, such as `no band 'nir'`; empty if nothing."""
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
        """Return why a slice of so many images is computed; empty where its image is read."""
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
        """Return what computes the slice of these images; empty where the only one is read.

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
        """Return what computes one element: thousands differ in their index alone, and the graph may be long."""
        if graph.lacks not in self._templates:
            any_of_them = replace(graph, node=element(self.graph or {}, _ANY))
            made = computed_expression([any_of_them], self.recipes, self.reducer, "source.every")
            self._templates[graph.lacks] = made
        return self._templates[graph.lacks].replace(json.dumps(_ANY), json.dumps(image.id))

    def reduced(self, members: Sequence[Image]) -> str:
        """Return what reduces some images of a slice of several, also one alone. Arguments and errors as of `expression`."""
        return computed_expression(
            list(map(self.input_of, members)), self.recipes, self.reducer, "source.every"
        )

    def input_of(self, image: Image) -> InputImage:
        """Return an image as input of what is computed."""
        place, lacks = self._place(image), self._lacks(image)
        partners = {
            collection_of(one): (one.id, one.update_time) for one in self.partners.get(image.name, ())
        }
        if self.graph is None:
            return input_image(image.id, image.update_time, partners=partners, recipe=place, lacks=lacks)
        node = element(self.graph, image.id) if self.of_elements else self.graph
        return input_image(node, partners=partners, recipe=place, lacks=lacks)


def step_facts(job: Job) -> dict[str, str]:
    """Return what the job does to images, by key of the job file: two jobs that differ in it mean different pixels."""
    source = job.source
    mask = source.mask if isinstance(source.mask, str) else "; ".join(map(str, source.mask or ()))
    facts = {
        "mask": mask or "none",
        "scale": source.scale,
        "dtype": source.dtype or "",
        "reduce": "" if source.reduce is None else str(parse_reducer(source.reduce, "source.reduce")),
    }
    made = {f"bands.{one.name}": str(one) for one in source.outputs or () if str(one) != one.name}
    return {key: value for key, value in facts.items() if value} | made


def steps_of(job: Job, images: Iterable[Image], expression: str = "", like: PixelGrid | None = None) -> Steps:
    """Return what the job does to these images.

    Args:
        job: what the user asks for.
        images: all of them.
        expression: canonical JSON of the collection whose elements they are; empty where they are assets.
        like: grid of the file that `grid.like` names; None where it names none.

    Raises:
        JobError: a band that does not exist, or means different things in two collections; no cloud mask that is known to serve.
    """
    source = job.source
    catalogue: dict[str, dict[str, Band]] = {}
    for image in images:
        known = catalogue.setdefault("" if expression else collection_of(image), {})
        for band in image.bands:
            first = known.setdefault(band.id, band)
            if band.dtype != first.dtype:  # one array has one type, which holds all
                known[band.id] = replace(first, dtype=np.result_type(first.dtype, band.dtype))
    specs = source.outputs
    if specs is None:
        specs = tuple(map(BandSpec, next(iter(catalogue.values()), {})))
    reducer = None if source.reduce is None else parse_reducer(source.reduce, "source.reduce")
    makers = [_Maker(job, collection, bands, like) for collection, bands in catalogue.items()]
    _check_names(specs, makers)
    _check_resampling(job, makers)
    types: dict[str, np.dtype[Any]] = {}
    for spec in specs:
        made = [maker.dtype(spec) for maker in makers]
        natural = np.result_type(*(one for one in made if one is not None)) if any(made) else np.dtype("f4")
        if source.dtype is not None:
            types[spec.name] = np.dtype(source.dtype)
        else:
            types[spec.name] = natural if reducer is None else reduced_dtype(reducer, natural)
    recipes = tuple(maker.recipe(specs, types) for maker in makers)
    if reducer is not None and reducer.band and reducer.band not in types:
        raise JobError(
            f"{reducer.band!r} is none of the bands {few(list(types))}; name one of them, or add it to bands",
            key="source.reduce",
        )
    reasons = ["expression, each image by its system:index"] if expression else []
    differing = _differing(specs, makers)
    reasons += dict.fromkeys(reason for maker in makers for reason in maker.reasons(specs, differing))
    if source.dtype is not None:
        reasons.append(f"dtype: {source.dtype}")
    if any(band.averaged for recipe in recipes for band in recipe.bands):
        reasons.append("grid.resampling: average")
    elif job.grid.resampling == "average":
        raise JobError(
            "averages none of the bands: they are classes or bits, or their pixels are no finer than the grid's; leave it out, "
            "or write a coarser grid",
            key="grid.resampling",
        )
    return Steps(
        tuple(catalogue),
        recipes,
        reducer,
        tuple(reasons),
        source.on_missing_band == "nodata",
        graph=graph_of(expression) if expression else None,
        of_elements=bool(expression),
    )


def _differing(specs: Sequence[BandSpec], makers: Sequence[_Maker]) -> frozenset[str]:
    """Return the names that are one band here and another one there."""
    found: dict[str, set[str]] = {}
    for maker in makers:
        for spec in specs:
            for name, own in maker.named(spec).items():
                found.setdefault(name, set()).add(own)
    return frozenset(name for name, owns in found.items() if len(owns) > 1)


def _check_names(specs: Sequence[BandSpec], makers: Sequence[_Maker]) -> None:
    """Raise JobError for a name that is another colour in another collection."""
    for name in dict.fromkeys(name for spec in specs if not spec.by_collection for name in spec.bands):
        colours = {
            maker.collection: colour_of(band)
            for maker in makers
            if maker.facts and name in maker.bands and (band := maker.facts.band(name))
        }
        if len(set(colours.values())) > 1:
            told = ", ".join(f"{colour or 'no colour'} in {where}" for where, colour in colours.items())
            raise JobError(
                f"{name} is {told}; name colours, such as red and nir, or the band of each collection: "
                f"{{red: {{{next(iter(colours))}: {name}, …}}}}",
                key="source.bands",
            )


def _check_resampling(job: Job, makers: Sequence[_Maker]) -> None:
    """Raise JobError for a band of `grid.resampling` that no image has."""
    asked = job.grid.resampling
    known = dict.fromkeys(band for maker in makers for band in maker.bands)
    for name in () if isinstance(asked, str) else asked:
        if not any(maker.own(name) in maker.bands for maker in makers):
            raise JobError(f"{name!r} is none of the bands {few(list(known), most=8)}", key="grid.resampling")


@dataclass(frozen=True)
class _Maker:
    """Maker of the recipe of one collection."""

    job: Job
    collection: str
    bands: Mapping[str, Band]
    like: PixelGrid | None = None
    """Grid of the file that `grid.like` names."""

    @property
    def facts(self) -> DatasetFacts | None:
        return dataset_facts(self.collection)

    def own(self, name: str) -> str:
        """Return the band that a name of the job means here: itself, or the only one of a colour."""
        if name in self.bands or self.facts is None:
            return name
        found = [band for band in bands_of_colour(self.facts, name) if band in self.bands]
        if len(found) > 1:
            raise JobError(
                f"{name} is any of {few(found)} in {self.collection}; name the one that is meant",
                key="source.bands",
            )
        return found[0] if found else name

    def named(self, spec: BandSpec) -> dict[str, str]:
        """Return name in the formula → band of the images."""
        if spec.by_collection:
            return {spec.name: spec.by_collection.get(self.collection, spec.name)}
        return {name: self.own(name) for name in spec.bands}

    def check(self, specs: Iterable[BandSpec]) -> None:
        """Raise JobError for a name that nothing here bears, unless images may lack it."""
        if self.job.source.on_missing_band == "nodata":
            return
        asked = {
            "source.bands": [own for spec in specs for own in self.named(spec).values()],
            "source.mask": mask_bands(self._mask()),
        }
        for key, names in asked.items():
            if unknown := [name for name in dict.fromkeys(names) if name not in self.bands]:
                meant = meant_by_colour(self.facts, unknown, self.bands)
                raise unknown_bands(self.collection or "the image", unknown, self.bands, meant, key)

    def _scale(self, own: str) -> tuple[float, float]:
        band = self.facts.band(own) if self.facts and self.job.source.scale == "catalog" else None
        if band is None or (band.scale is None and band.offset is None):
            return 1, 0
        return (1 if band.scale is None else band.scale), (band.offset or 0)

    def _resampling(self, name: str, own: str) -> str:
        """Return how a band is read on another grid: classes and bits nearest, unless a band's name asks otherwise."""
        asked = self.job.grid.resampling
        if not isinstance(asked, str):
            how = asked.get(name) or asked.get(own) or "nearest"
            if how == "average" and own in self.bands and not self._held(own) > 1:
                size = self.bands[own].grid.transform.pixel_size[0]
                raise JobError(
                    f"pixels of the grid are no coarser than those of {own}, {size:g} {self.bands[own].grid.crs.unit}, so there "
                    "is nothing to average; write bilinear, or a coarser grid",
                    key="grid.resampling",
                )
            return how
        facts = self.facts.band(own) if self.facts else None
        is_categorical = facts is not None and facts.is_categorical
        if own in self.bands:
            is_categorical = is_categorical or self.bands[own].pyramiding in _OF_CLASSES
        if is_categorical or (asked == "average" and own in self.bands and not self._held(own) > 1):
            return "nearest"
        return asked

    def _held(self, own: str) -> float:
        """Return how many pixels of a band one pixel of the grid holds."""
        like = self.like
        named = self.job.grid.like
        if like is None and named is not None and named in self.bands:
            like = self.bands[named].grid
        if like is None and named is not None:
            return MOST_AVERAGED  # a file that the caller has not read, or none
        return round(math.prod(held_pixels(self.job, self.bands[own].grid, like)), 6)

    def _averaged(self, spec: BandSpec) -> int:
        """Return the pixels of an image that one of a band is the mean of, at most; 0 where it is not averaged."""
        named = {name: own for name, own in self.named(spec).items() if own in self.bands}
        held = [self._held(own) for own in named.values()]
        if not any(self._resampling(name, own) == "average" for name, own in named.items()):
            return 0
        # Twice as wide and high: pixels that are cut at the edges count, and in another CRS they may lie askew.
        return min(MOST_AVERAGED, math.ceil((2 * math.sqrt(max(held)) + 2) ** 2))

    def dtype(self, spec: BandSpec) -> np.dtype[Any] | None:
        """Return the smallest type that holds the band as it is computed of one image; None where nothing has its bands."""
        named = self.named(spec)
        if not named.keys() or any(own not in self.bands for own in named.values()):
            return None
        if self._averaged(spec):
            return np.dtype("f4")
        scaled = {name: self._scale(own) != (1, 0) for name, own in named.items()}
        if spec.formula is None or spec.formula.is_band:
            ((name, own),) = named.items()
            return np.dtype("f4") if scaled[name] else self.bands[own].dtype
        intervals = {
            name: Interval(-math.inf, math.inf, False) if scaled[name] else Interval.of(self.bands[own].dtype)
            for name, own in named.items()
        }
        return spec.formula.interval(intervals).smallest_dtype()

    def recipe(self, specs: Sequence[BandSpec], types: Mapping[str, np.dtype[Any]]) -> Recipe:
        """Return what is done to each image. Raises JobError."""
        self.check(specs)
        sources: dict[str, SourceBand] = {}
        bands = []
        for spec in specs:
            for name, own in self.named(spec).items():
                scale, offset = self._scale(own)
                known = self.facts.band(own) if self.facts else None
                is_decibel = known is not None and known.units.lower() == "db"
                sources[name] = SourceBand(
                    name, "" if own == name else own, scale, offset, self._resampling(name, own), is_decibel
                )
            formula = spec.formula or Formula.of_band(spec.name)
            is_decibel = formula.is_band and sources[formula.bands[0]].is_decibel
            bands.append(ComputedBand(spec.name, formula, types[spec.name], is_decibel, self._averaged(spec)))
        return Recipe(tuple(bands), tuple(sources.values()), self._mask())

    def _mask(self) -> tuple[MaskRule, ...]:
        mask = self.job.source.mask
        if mask is None:
            return ()
        if mask != "clouds":
            return tuple(one.rule for one in mask)
        known = cloud_mask(self.collection)
        if known is not None:
            return tuple(MaskRules.model_validate(rule).rule for rule in known)
        serving = [band for band in self.facts.bands if band.is_categorical] if self.facts else []
        could = (
            f"; bands that could serve in rules: {few([band.name for band in serving])}" if serving else ""
        )
        rule = "{band: QA, bits: [3, 4]}"
        if serving:
            looked_at = "bits: [3, 4]" if serving[0].bits else f"values: [{serving[0].classes[0][0]}]"
            rule = f"{{band: {serving[0].name}, {looked_at}}}"
        raise JobError(
            f"no cloud mask is known for {self.collection or 'this image'}{could}; write a rule such as {rule}, or leave mask out",
            key="source.mask",
        )

    def reasons(self, specs: Sequence[BandSpec], differing: Collection[str]) -> list[str]:
        """Return why each image here is computed; names in `differing` are told with their collection."""
        source, found = self.job.source, []
        if source.mask is not None:
            found.append("mask")
        for spec in specs:
            for name, own in self.named(spec).items():
                if self._scale(own) != (1, 0) and "scale: catalog" not in found:
                    found.append("scale: catalog")
                if spec.formula is None and own != spec.name:
                    found.append(f"{name} is {own}" + (f" in {self.collection}" if name in differing else ""))
            if spec.formula is not None:
                found.append(f"{spec.name}: {spec.formula.text}")
        return found
