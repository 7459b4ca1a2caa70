"""Recipes of a job for the images of each collection."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.datasets.clouds import cloud_mask
from downloader.datasets.colours import bands_of_colour, colour_of, meant_by_colour
from downloader.datasets.facts import DatasetFacts, dataset_facts
from downloader.errors import JobError
from downloader.expressions.formula import Formula, Interval
from downloader.expressions.masks import MaskRule, mask_bands
from downloader.expressions.recipe import MOST_AVERAGED, ComputedBand, Recipe, SourceBand
from downloader.expressions.reducers import parse_reducer, reduced_dtype
from downloader.job.sections.bands import BandSpec
from downloader.job.sections.mask import MaskRules
from downloader.model.expression import graph_of
from downloader.model.grid import PixelGrid
from downloader.model.image import Band, Image, collection_of, unknown_bands
from downloader.planning.lattice import held_pixels
from downloader.planning.steps import Steps
from downloader.text import few

if TYPE_CHECKING:
    from downloader.job import Job

_OF_CLASSES: Final = ("MODE", "SAMPLE")
"""Pyramiding policies of bands whose values cannot be averaged."""


def step_facts(job: Job) -> dict[str, str]:
    """Return the settings that determine pixels, by key of the job file: jobs that differ in one mean different pixels."""
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
    """Return the steps of a job for these images.

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
    makers = [_RecipeMaker(job, collection, bands, specs, like) for collection, bands in catalogue.items()]
    _check_names(specs, makers)
    _check_resampling(job, makers)
    types: dict[str, np.dtype[Any]] = {}
    for place, spec in enumerate(specs):
        made = [dtype for maker in makers if (dtype := maker.dtype(place)) is not None]
        natural = np.result_type(*made) if made else np.dtype("f4")
        if reducer is not None:
            natural = reduced_dtype(reducer, natural)
        types[spec.name] = natural if source.dtype is None else np.dtype(source.dtype)
    recipes = tuple(maker.recipe(types) for maker in makers)
    if reducer is not None and reducer.band and reducer.band not in types:
        raise JobError(
            f"{reducer.band!r} is none of the bands {few(list(types))}; name one of them, or add it to bands",
            key="source.reduce",
        )
    reasons = ["expression, each image by its system:index"] if expression else []
    meant = {(name, own) for maker in makers for named in maker.named for name, own in named.items()}
    bands_of = Counter(name for name, _ in meant)
    differing = {name for name, count in bands_of.items() if count > 1}
    reasons += dict.fromkeys(reason for maker in makers for reason in maker.reasons(differing))
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


def _check_names(specs: Sequence[BandSpec], makers: Sequence[_RecipeMaker]) -> None:
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


def _check_resampling(job: Job, makers: Sequence[_RecipeMaker]) -> None:
    """Raise JobError for a band of `grid.resampling` that no image has."""
    asked = job.grid.resampling
    known = dict.fromkeys(band for maker in makers for band in maker.bands)
    for name in () if isinstance(asked, str) else asked:
        if not any(maker.own(name) in maker.bands for maker in makers):
            raise JobError(f"{name!r} is none of the bands {few(list(known), most=8)}", key="grid.resampling")


@dataclass(frozen=True)
class _RecipeMaker:
    """Maker of the recipe of one collection."""

    job: Job
    collection: str
    bands: Mapping[str, Band]
    specs: Sequence[BandSpec]
    like: PixelGrid | None
    """Grid of the file that `grid.like` names."""

    @cached_property
    def facts(self) -> DatasetFacts | None:
        return dataset_facts(self.collection)

    @cached_property
    def named(self) -> list[dict[str, str]]:
        """For each band asked for: name in its formula → band of the images."""
        return [
            {spec.name: spec.by_collection.get(self.collection, spec.name)}
            if spec.by_collection
            else {name: self.own(name) for name in spec.bands}
            for spec in self.specs
        ]

    @cached_property
    def sources(self) -> dict[str, SourceBand]:
        """Name in formulas → band of the images."""
        return {name: self._source(name, own) for named in self.named for name, own in named.items()}

    @cached_property
    def mask(self) -> tuple[MaskRule, ...]:
        """Rules of the mask. Raises JobError where none is known."""
        mask = self.job.source.mask
        if mask is None:
            return ()
        if mask != "clouds":
            return tuple(one.rule for one in mask)
        known = cloud_mask(self.collection)
        if known is not None:
            return tuple(MaskRules.model_validate(rule).rule for rule in known)
        serving = [band for band in self.facts.bands if band.is_categorical] if self.facts else []
        could, rule = "", "{band: QA, bits: [3, 4]}"
        if serving:
            could = f"; bands that could serve in rules: {few([band.name for band in serving])}"
            looked_at = "bits: [3, 4]" if serving[0].bits else f"values: [{serving[0].classes[0][0]}]"
            rule = f"{{band: {serving[0].name}, {looked_at}}}"
        raise JobError(
            f"no cloud mask is known for {self.collection or 'this image'}{could}; write a rule such as {rule}, or leave mask out",
            key="source.mask",
        )

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

    def _source(self, name: str, own: str) -> SourceBand:
        known, scale, offset = self.facts.band(own) if self.facts else None, 1.0, 0.0
        if known is not None and self.job.source.scale == "catalog":
            scale, offset = 1 if known.scale is None else known.scale, known.offset or 0
        is_decibel = known is not None and known.units.lower() == "db"
        is_categorical = known is not None and known.is_categorical
        resampling = self._resampling(name, own, is_categorical=is_categorical)
        return SourceBand(name, "" if own == name else own, scale, offset, resampling, is_decibel)

    def _resampling(self, name: str, own: str, *, is_categorical: bool) -> str:
        """Return the resampling of a band: nearest for classes and bits, unless the job names the band."""
        asked, band = self.job.grid.resampling, self.bands.get(own)
        if isinstance(asked, str):
            how = asked
            if is_categorical or (band is not None and band.pyramiding in _OF_CLASSES):
                return "nearest"
        else:
            how = asked.get(name) or asked.get(own) or "nearest"
        if how != "average" or band is None or self._held(band) > 1:
            return how
        if isinstance(asked, str):
            return "nearest"
        raise JobError(
            f"pixels of the grid are no coarser than those of {own}, {band.grid.transform.pixel_size[0]:g} "
            f"{band.grid.crs.unit}, so there is nothing to average; write bilinear, or a coarser grid",
            key="grid.resampling",
        )

    def _held(self, band: Band) -> float:
        """Return the number of pixels of a band in one pixel of the grid."""
        like, named = self.like, self.job.grid.like
        if like is None and named is not None:
            if named not in self.bands:
                return MOST_AVERAGED  # a file that the caller has not read, or none
            like = self.bands[named].grid
        return round(math.prod(held_pixels(self.job, band.grid, like)), 6)

    def _averaged(self, named: Mapping[str, str]) -> int:
        """Return the most pixels that one pixel of a band is the mean of; 0 if it is not averaged."""
        there = {name: self.bands[own] for name, own in named.items() if own in self.bands}
        if not any(self.sources[name].resampling == "average" for name in there):
            return 0
        # Twice as wide and high: pixels that are cut at the edges count, and in another CRS they may lie askew.
        held = max(map(self._held, there.values()))
        return min(MOST_AVERAGED, math.ceil((2 * math.sqrt(held) + 2) ** 2))

    def dtype(self, place: int) -> np.dtype[Any] | None:
        """Return the smallest type that holds a band as it is computed of one image; None where nothing has its bands."""
        formula, named = self.specs[place].formula, self.named[place]
        if any(own not in self.bands for own in named.values()):
            return None
        types = {
            name: np.dtype("f4") if self.sources[name].is_scaled else self.bands[own].dtype
            for name, own in named.items()
        }
        if self._averaged(named):
            return np.dtype("f4")
        if formula is None or formula.is_band:
            return next(iter(types.values()))
        intervals = {name: Interval.of(dtype) for name, dtype in types.items()}
        return formula.interval(intervals).smallest_dtype()

    def recipe(self, types: Mapping[str, np.dtype[Any]]) -> Recipe:
        """Return the recipe. Raises JobError for a band that no image has, unless images may lack it."""
        asked = {
            "source.bands": [own for named in self.named for own in named.values()],
            "source.mask": mask_bands(self.mask),
        }
        for key, names in asked.items():
            unknown = [name for name in dict.fromkeys(names) if name not in self.bands]
            if unknown and self.job.source.on_missing_band != "nodata":
                meant = meant_by_colour(self.facts, unknown, self.bands)
                raise unknown_bands(self.collection or "the image", unknown, self.bands, meant, key)
        bands = []
        for spec, named in zip(self.specs, self.named, strict=True):
            formula = spec.formula or Formula.of_band(spec.name)
            is_decibel = formula.is_band and self.sources[formula.bands[0]].is_decibel
            bands.append(
                ComputedBand(spec.name, formula, types[spec.name], is_decibel, self._averaged(named))
            )
        return Recipe(tuple(bands), tuple(self.sources.values()), self.mask)

    def reasons(self, differing: Collection[str]) -> list[str]:
        """Return the reasons why each image is computed; names in `differing` are told with their collection."""
        found = [] if self.job.source.mask is None else ["mask"]
        for spec, named in zip(self.specs, self.named, strict=True):
            if any(self.sources[name].is_scaled for name in named):
                found.append("scale: catalog")
            if spec.formula is not None:
                found.append(f"{spec.name}: {spec.formula.text}")
                continue
            for name, own in named.items():
                if own != spec.name:
                    found.append(f"{name} is {own}" + (f" in {self.collection}" if name in differing else ""))
        return found
