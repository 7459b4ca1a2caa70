"""The list of algorithms: the signatures from which clients build their functions (contract §8, §4.7).

One line each: `Name(argument: Type, argument: Type = default, …) -> Type`; an argument with a default is optional.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Final

_ARITHMETIC: Final = "add subtract multiply divide mod pow min max eq neq lt lte gt gte and or bitwiseAnd bitwiseOr leftShift rightShift"
_UNARY: Final = "abs sqrt log exp not round floor ceil sin cos"
_CASTS: Final = "toByte toInt8 toUint8 toInt16 toUint16 toInt32 toUint32 toInt64 toFloat toDouble"
_REDUCTIONS: Final = "median mean min max sum mode"
_COMPARISONS: Final = "equals notEquals lessThan lessThanOrEquals greaterThan greaterThanOrEquals"

_SIGNATURES: Final = """
Image.load(id: String, version: Long = -1) -> Image
Image.constant(value: Object) -> Image
Image.select(input: Image, bandSelectors: List, newNames: List = null) -> Image
Image.rename(input: Image, names: List) -> Image
Image.addBands(dstImg: Image, srcImg: Image = null, names: List = null, overwrite: Boolean = false) -> Image
Image.normalizedDifference(input: Image, bandNames: List = null) -> Image
Image.updateMask(image: Image, mask: Image) -> Image
Image.unmask(input: Image, value: Image = null, sameFootprint: Boolean = true) -> Image
Image.mask(image: Image, mask: Image = null) -> Image
Image.clip(input: Image, geometry: Object = null) -> Image
Image.clipToBoundsAndScale(input: Image, geometry: Geometry = null, width: Integer = null, height: Integer = null, \
maxDimension: Integer = null, scale: Float = null) -> Image
Image.reproject(image: Image, crs: Projection, crsTransform: List = null, scale: Float = null) -> Image
Image.resample(image: Image, mode: String = "bilinear") -> Image
Image.visualize(image: Image, bands: Object = null, gain: Object = null, bias: Object = null, min: Object = null, \
max: Object = null, gamma: Object = null, opacity: Number = null, palette: Object = null, \
forceRgbOutput: Boolean = false) -> Image
Image.parseExpression(expression: String, argName: String = "DEFAULT_EXPRESSION_IMAGE", vars: List = null) -> Algorithm
Image.metadata(image: Image, property: String, name: String = null) -> Image
Image.bandNames(image: Image) -> List
Image.projection(image: Image) -> Projection
Image.geometry(feature: Element, maxError: ErrorMargin = null, proj: Projection = null) -> Geometry
ImageCollection.load(id: String, version: Long = -1) -> ImageCollection
ImageCollection.fromImages(images: List) -> ImageCollection
ImageCollection.mosaic(collection: ImageCollection) -> Image
Collection.first(collection: FeatureCollection) -> Element
Collection.size(collection: FeatureCollection) -> Integer
Collection.filter(collection: FeatureCollection, filter: Filter) -> FeatureCollection
Collection.map(collection: FeatureCollection, baseAlgorithm: Algorithm, dropNulls: Boolean = false) -> FeatureCollection
Collection.limit(collection: FeatureCollection, limit: Integer = -1, key: String = null, ascending: Boolean = true) \
-> FeatureCollection
Collection.geometry(collection: FeatureCollection, maxError: ErrorMargin = null) -> Geometry
Filter.dateRangeContains(leftField: String = null, rightValue: Object = null, rightField: String = null, \
leftValue: Object = null) -> Filter
Filter.intersects(leftField: String = null, rightValue: Object = null, rightField: String = null, \
leftValue: Object = null, maxError: ErrorMargin = null) -> Filter
Filter.and(filters: List) -> Filter
Filter.or(filters: List) -> Filter
Filter.not(filter: Filter) -> Filter
GeometryConstructors.Point(coordinates: List, crs: Projection = null) -> Geometry
GeometryConstructors.Polygon(coordinates: List, crs: Projection = null, geodesic: Boolean = null, \
maxError: ErrorMargin = null, evenOdd: Boolean = true) -> Geometry
GeometryConstructors.Rectangle(coordinates: Object, crs: Projection = null, geodesic: Boolean = null, \
evenOdd: Boolean = true) -> Geometry
Projection(crs: Object, transform: List = null, transformWkt: String = null) -> Projection
Date(value: Object, timeZone: String = null) -> Date
DateRange(start: Object, end: Object = null, timeZone: String = null) -> DateRange
Feature(geometry: Geometry = null, metadata: Dictionary = null) -> Feature
Element.get(object: Element, property: String) -> Object
Element.set(object: Element, key: String, value: Object) -> Element
Element.copyProperties(destination: Element = null, source: Element = null, properties: List = null, \
exclude: List = null) -> Element
List.get(list: List, index: Integer) -> Object
List.size(list: List) -> Integer
Dictionary.get(dictionary: Dictionary, key: String, defaultValue: Object = null) -> Object
Number.add(left: Number, right: Number) -> Number
Number.subtract(left: Number, right: Number) -> Number
Number.multiply(left: Number, right: Number) -> Number
Number.divide(left: Number, right: Number) -> Number
String(input: Object) -> String
""" + "".join(
    [f"Image.{name}(image1: Image, image2: Image) -> Image\n" for name in _ARITHMETIC.split(" ")]
    + [f"Image.{name}(value: Image) -> Image\n" for name in [*_UNARY.split(" "), *_CASTS.split(" ")]]
    + [f"reduce.{name}(collection: ImageCollection) -> Image\n" for name in _REDUCTIONS.split(" ")]
    + [
        f"Filter.{name}(leftField: String = null, rightValue: Object = null, rightField: String = null, "
        "leftValue: Object = null) -> Filter\n"
        for name in _COMPARISONS.split(" ")
    ]
)

_LINE: Final = re.compile(r"^([\w.]+)\((.*)\) -> (\w+)$")


@cache
def document() -> dict[str, Any]:
    """The answer of algorithms.list."""
    return {"algorithms": [_entry(line) for line in _SIGNATURES.strip().splitlines()]}


def _entry(line: str) -> dict[str, Any]:
    match = _LINE.match(line)
    if match is None:
        raise ValueError(f"not a signature: {line}")
    name, arguments, returned = match.groups()
    return {
        "name": f"algorithms/{name}",
        "description": f"{name}, as far as the emulator supports it.",
        "returnType": returned,
        "arguments": [_argument(text) for text in arguments.split(", ")],
    }


def _argument(text: str) -> dict[str, Any]:
    declared, _, default = text.partition(" = ")
    name, kind = declared.split(": ")
    argument: dict[str, Any] = {"argumentName": name, "type": kind, "description": f"The {name}."}
    if default:
        argument["optional"] = True
        value = json.loads(default)
        if value is not None:
            argument["defaultValue"] = value
    return argument
