"""Read images and bands from the service's documents, of assets and of computed values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from downloader.earthengine.geojson import middle_longitude
from downloader.earthengine.redact import readable
from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import MAX_SIDE, AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image, asset_id
from downloader.text import cut

if TYPE_CHECKING:
    from collections.abc import Collection

_KINDS: Final = {
    "IMAGE": "an image; `downloader inspect {id}` shows its bands",
    "IMAGE_COLLECTION": "an image collection: name one of its images (`downloader images {id} --start DATE --end DATE` lists them), or take those of a period with source.collection, start and end",
    "FOLDER": "a folder: name an image or a collection in it",
    "TABLE": "a table of features, which has no pixels",
    "FEATURE_VIEW": "a feature view, which has no pixels of its own",
    "CLASSIFIER": "a classifier, which has no pixels",
}
"""Type of an asset → what to do where it is named in place of another."""

_LONGEST_ID: Final = 1_000
"""Most characters of a band's id; the service's own have a few dozen."""

_INTEGERS: Final = tuple(
    np.dtype(code) for code in ("u1", "<u2", "<u4", "i1", "<i2", "<i4")
)  # unsigned first: they are taken where min ≥ 0


def check_kind(document: Mapping[str, Any], wanted: str, shown: str) -> None:
    """Raise JobError if a document is not that of an asset of the type `wanted`, such as `IMAGE_COLLECTION`."""
    kind = str(document.get("type") or "").upper()
    if kind != wanted:
        what = _KINDS.get(kind, f"of the unknown type {readable(repr(kind), 80)}").replace("{id}", shown)
        raise JobError(f"{shown} is not an {wanted.replace('_', ' ').lower()} but {what}")


def parse_image(document: Mapping[str, Any], name: str, wanted: Collection[str] | None = None) -> Image:
    """Return the image in an asset's document (docs/contract.md §3).

    Args:
        document: as the service sent it; members at their default may be absent, unknown ones are ignored.
        name: resource name that was asked for.
        wanted: bands that must be usable; None for all.

    Raises:
        JobError: as `EarthEngineCatalogue.image` says.
    """
    identifier = str(document.get("id") or asset_id(name))
    shown = readable(identifier, 200)
    check_kind(document, "IMAGE", shown)
    bands: list[Band] = []
    for number, entry in enumerate(as_list(document.get("bands"))):
        try:
            bands.append(_band(entry, f"{shown}: band {cut(_band_id(entry, number))}"))
        except JobError:
            if wanted is None or _band_id(entry, number) in wanted:
                raise
    return Image(
        name=str(document.get("name") or name),
        id=identifier,
        bands=tuple(bands),
        update_time=str(document.get("updateTime") or ""),
        start_time=str(document.get("startTime") or ""),
        end_time=str(document.get("endTime") or ""),
        properties=as_mapping(document.get("properties")),
        longitude=middle_longitude(document.get("geometry")),
    )


def band_dtype(data_type: Mapping[str, Any]) -> np.dtype[np.generic] | None:
    """Return the numpy type in which NPY delivers a band (docs/contract.md §3.2); None where the document is no type.

    int64 comes as float64, and so does an integer band without a range.
    """
    precision = str(data_type.get("precision") or "").upper()
    if precision == "FLOAT":
        return np.dtype("<f4")
    if precision == "DOUBLE":
        return np.dtype("<f8")
    if precision not in {"INT", "INTEGER"}:
        return None
    if "range" not in data_type:
        return np.dtype("<f8")
    limits = as_mapping(data_type["range"])
    low, high = as_number(limits.get("min", 0)), as_number(limits.get("max", 0))
    if low is None or high is None:
        return None
    for dtype in _INTEGERS:
        info = np.iinfo(dtype)
        if info.min <= low and high <= info.max:
            return dtype
    return np.dtype("<f8")


def _band(entry: object, where: str) -> Band:
    band = as_mapping(entry)
    identifier = _identifier(band, where)
    data_type = as_mapping(band.get("dataType"))
    if as_number(data_type.get("dimensionsCount", 0)):
        raise JobError(f"{where} holds arrays in its pixels, which cannot be fetched as numbers")
    dtype = band_dtype(data_type)
    if dtype is None:
        raise JobError(f"{where} has a data type this version does not know: {cut(dict(data_type))}")
    missing = as_list(as_mapping(band.get("missingData")).get("values"))
    return Band(
        id=identifier,
        dtype=dtype,
        grid=_grid(as_mapping(band.get("grid")), where),
        pyramiding=str(band.get("pyramidingPolicy") or "MEAN"),
        missing=tuple(number for number in map(as_number, missing) if number is not None),
    )


def _grid(grid: Mapping[str, Any], where: str) -> PixelGrid:
    dimensions = as_mapping(grid.get("dimensions"))
    width, height = as_number(dimensions.get("width", 0)), as_number(dimensions.get("height", 0))
    if not width or not height:
        raise JobError(
            f"{where} is unbounded: the catalogue states no size; give a region and a grid through an expression instead"
        )
    if min(width, height) < 1 or max(width, height) > MAX_SIDE or width % 1 or height % 1:
        raise JobError(f"{where} has an impossible size, {width:g} × {height:g}")
    code, wkt = grid.get("crsCode"), grid.get("crsWkt") or grid.get("wkt")
    if not (isinstance(code, str) and code) and not (isinstance(wkt, str) and wkt):
        raise JobError(f"{where} has no CRS in the catalogue")
    crs = Crs(code=code) if isinstance(code, str) and code else Crs(wkt=str(wkt))
    try:
        transform = AffineTransform.from_json(as_mapping(grid.get("affineTransform")))
    except (JobError, ValueError, TypeError, OverflowError) as error:
        raise JobError(f"{where} has no usable affine transform: {cut(error)}") from error
    return PixelGrid(crs, transform, int(width), int(height))


def _band_id(entry: object, number: int) -> str:
    return str(as_mapping(entry).get("id") or f"number {number + 1}")


def _identifier(band: Mapping[str, Any], where: str) -> str:
    identifier = band.get("id")
    if not isinstance(identifier, str) or not identifier:
        raise JobError(f"{where} has no id")
    if len(identifier) > _LONGEST_ID:
        raise JobError(f"{where} has an id of {len(identifier):,} characters, more than any band's")
    return identifier


def as_number(value: object) -> float | None:
    """Return a number of proto3 JSON, which may be a string (int64, `NaN`, `Infinity`); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """Return a JSON array; an empty one for anything else."""
    return value if isinstance(value, list) else []


_PRECISIONS: Final = {"int": "INT", "float": "FLOAT", "double": "DOUBLE"}


def computed_band(described: object) -> Band:
    """Return a band as the service describes those of computed images. Raises JobError where it cannot be read."""
    entry = as_mapping(described)
    identifier = _identifier(entry, "the image that the expression computes: a band")
    name = f"band {cut(identifier)}"
    kind = as_mapping(entry.get("data_type"))
    precision = _PRECISIONS.get(str(kind.get("precision")))
    limits = {name: kind[name] for name in ("min", "max") if as_number(kind.get(name)) is not None}
    dtype = band_dtype({"precision": precision, "range": limits} if limits else {"precision": precision})
    if dtype is None:
        raise JobError(f"{name} has a type that no pixel has, {cut(dict(kind))}", key="source.expression")
    try:
        a, b, c, d, e, f = (float(number) for number in entry["crs_transform"])
        crs = Crs.parse(str(entry["crs"]))
        transform = AffineTransform(a, b, c, d, e, f)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise JobError(f"the grid of {name} cannot be read ({cut(error)})", key="source.expression") from None
    size = [as_number(number) or 0 for number in as_list(entry.get("dimensions"))]
    is_bounded = len(size) == 2 and all(0 < number <= MAX_SIDE for number in size)
    width, height = (int(size[0]), int(size[1])) if is_bounded else (1, 1)
    grid = PixelGrid(crs, transform, width, height)
    corner = [as_number(number) for number in as_list(entry.get("origin"))]
    if is_bounded and len(corner) == 2 and corner[0] is not None and corner[1] is not None:
        # What is clipped, or made on a part of a grid, begins at another pixel than the grid.
        grid = grid.window(Window(int(corner[0]), int(corner[1]), width, height))
    return Band(identifier, np.dtype(dtype), grid, is_bounded=is_bounded)


@dataclass(slots=True)
class ImageReader:
    """Reader of the images in a listing's documents, which shares what they have in common.

    Thousands of images have a handful of band lists, which take nine tenths of the time and memory of reading them.
    """

    _KEPT: ClassVar = 1_000

    bands: Collection[str] | None = None
    """Those that must be usable, as for `EarthEngineCatalogue.image`."""
    keep: Collection[str] | None = None
    """Properties to keep; None keeps all."""
    footprints: bool = False
    """Whether to keep the images' outlines."""
    _known: dict[str, tuple[Band, ...]] = field(default_factory=dict, repr=False)

    def read(self, document: Mapping[str, Any]) -> Image:
        """Return the image of a document.

        Raises:
            JobError: one of the wanted bands cannot be used.
        """
        name = str(document.get("name") or "")
        key = json.dumps(document.get("bands"))
        bands = self._known.get(key)
        # A listing may leave the type out, which is clear.
        plain = {**document, "type": "IMAGE", "bands": [] if bands is not None else document.get("bands")}
        if self.keep is not None:
            own = as_mapping(document.get("properties"))
            plain["properties"] = {key: own[key] for key in self.keep if key in own}
        image = parse_image(plain, name, self.bands)
        if self.footprints and isinstance(document.get("geometry"), dict):
            image = replace(image, footprint=document["geometry"])
        if bands is not None:
            return replace(image, bands=bands)
        if len(self._known) < self._KEPT:
            self._known[key] = image.bands
        return image
