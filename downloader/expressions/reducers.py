"""Reducers: one image computed from a collection, pixel by pixel and band by band.

Bands of the result have the names of the collection's bands; a pixel is masked where no image has a valid one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from downloader.errors import JobError
from downloader.model.expression import call, constant, function, select

REDUCERS: Final = ("first", "last", "median", "mean", "min", "max", "count", "std", "medoid")
"""Words of `source.reduce`, besides percentiles `p0` to `p100` and `{least: BAND}`, `{most: BAND}`."""

_DIRECT: Final = {
    "first": "ImageCollection.mosaic",
    "last": "ImageCollection.mosaic",
    "median": "reduce.median",
    "mean": "reduce.mean",
    "min": "reduce.min",
    "max": "reduce.max",
    "count": "reduce.count",
}
"""Reducers that the service has as functions of a collection. Of `mosaic` the last valid pixel is on top."""

_ELEMENT: Final = "image"


@dataclass(frozen=True, slots=True)
class Reducer:
    """Rule by which the images of a period become one."""

    name: str
    """One of `REDUCERS`, `percentile`, `least` or `most`."""
    percentile: int = 0
    band: str = ""
    """Band that decides, of `least` and `most`."""

    def __str__(self) -> str:
        if self.name == "percentile":
            return f"p{self.percentile}"
        return f"{self.name} {self.band}".strip()


def parse_reducer(value: object, key: str) -> Reducer:
    """Return the reducer that a value of the job file names.

    Raises:
        JobError: it names none.
    """
    if isinstance(value, str):
        if value in REDUCERS:
            return Reducer(value)
        if (found := re.fullmatch(r"p(\d{1,3})", value)) and int(found[1]) <= 100:
            return Reducer("percentile", int(found[1]))
    if isinstance(value, dict) and len(value) == 1:
        [(name, band)] = value.items()
        if name in {"least", "most"} and isinstance(band, str) and band:
            return Reducer(name, band=band)
    raise JobError(
        f"{str(value)[:200]!r} is not a reducer; write {', '.join(REDUCERS)}, a percentile such as p90, "
        "or {least: BAND} or {most: BAND}",
        key=key,
    )


def reduced_dtype(reducer: Reducer, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the smallest type that holds the reduced values of a band: float32 for fractions."""
    if reducer.name == "count":
        return np.dtype("u2")
    if reducer.name in {"median", "mean", "std", "percentile"}:
        return np.dtype("f4")
    return dtype


def reduce_graph(collection: dict[str, Any], reducer: Reducer, bands: Sequence[str]) -> dict[str, Any]:
    """Return the graph of one image reduced from a collection, with its bands under their names.

    Args:
        collection: graph of a collection whose images have exactly the bands `bands`, in this order, and masks of 0 or 1. They
            are in the order in which the first or last wins; for `first` in the reverse of it, since `mosaic` puts the last on top.
        reducer: how.
        bands: names of the bands.

    Sources: https://developers.google.com/earth-engine/guides/reducers_intro and reducers_image_collection.
    """
    match reducer.name:
        case "std":
            return select(_reduced(collection, call("Reducer.stdDev")), range(len(bands)), bands)
        case "percentile":
            percentile = call("Reducer.percentile", percentiles=constant([reducer.percentile]))
            return select(_reduced(collection, percentile), range(len(bands)), bands)
        case "medoid":
            return _medoid(collection, bands)
        case "least" | "most":
            return _by_key(collection, reducer.band, bands, "min" if reducer.name == "least" else "max")
        case name:
            return call(_DIRECT[name], collection=collection)


def _reduced(collection: dict[str, Any], reducer: dict[str, Any]) -> dict[str, Any]:
    return call("ImageCollection.reduce", collection=collection, reducer=reducer)


def _by_key(collection: dict[str, Any], key: str, bands: Sequence[str], extreme: str) -> dict[str, Any]:
    """Return all bands of the image whose key band is least or greatest; a pixel with any band masked takes no part."""
    order = [key, *(band for band in bands if band != key)]
    element = {"argumentReference": _ELEMENT}
    ordered = call(
        "Collection.map", collection=collection, baseAlgorithm=function([_ELEMENT], select(element, order))
    )
    reduced = _reduced(ordered, call(f"Reducer.{extreme}", numInputs=constant(len(order))))
    return select(reduced, [order.index(band) for band in bands], bands)


def _medoid(collection: dict[str, Any], bands: Sequence[str]) -> dict[str, Any]:
    """Return the image that is nearest to the median of each pixel, by squared distance over all bands."""
    median = call("reduce.median", collection=collection)
    element = {"argumentReference": _ELEMENT}
    difference = call("Image.subtract", image1=element, image2=median)
    squares = call("Image.multiply", image1=difference, image2=difference)
    distance = call("Image.reduce", image=squares, reducer=call("Reducer.sum"))
    # The sum skips masked bands; the pixel takes part only where every band is valid.
    whole = call("Image.reduce", image=call("Image.mask", image=element), reducer=call("Reducer.min"))
    keyed = call(
        "Image.addBands", dstImg=call("Image.updateMask", image=distance, mask=whole), srcImg=element
    )
    tuples = call("Collection.map", collection=collection, baseAlgorithm=function([_ELEMENT], keyed))
    reduced = _reduced(tuples, call("Reducer.min", numInputs=constant(1 + len(bands))))
    return select(reduced, range(1, 1 + len(bands)), bands)
