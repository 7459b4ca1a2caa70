"""A STAC document of a mosaic: an Item, or of a time series a Collection, with projection, raster and datacube extensions."""

from __future__ import annotations

import json
import math
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from downloader.arguments import path_text, writing
from downloader.datasets.facts import dataset_facts
from downloader.errors import JobError, MissingExtraError
from downloader.model.antimeridian import cut_at_180, shorter_way
from downloader.model.crs import LONLAT, transformer
from downloader.model.image import asset_id
from downloader.model.time import from_us, rfc3339
from downloader.mosaic.format.axis import NO_TIME
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import Folder, MosaicPath, locate
from downloader.planning.search_area import in_lonlat
from downloader.progress.late import late
from downloader.text import counted

if TYPE_CHECKING:
    import pystac
    from shapely.geometry.base import BaseGeometry

_MEDIA: Final = "application/vnd.zarr; version=3"
_ASSETS: Final = "https://earthengine.googleapis.com/v1/"
_CATALOG: Final = "https://developers.google.com/earth-engine/datasets/catalog/"
_Box = tuple[float, float, float, float]


@late("reading the mosaic")
def stac(mosaic: MosaicPath, out: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the STAC document of a mosaic, and write it where `out` says.

    Args:
        mosaic: its path or URL.
        out: a `.json` file, beside the mosaic by preference: links to its arrays are relative to it.

    Returns:
        An Item; a Collection where the mosaic is a time series. Each group is an asset. The images that the pixels come from
        are links of the relation `derived_from`.

    Raises:
        JobError: `out` cannot be written.
        MissingExtraError: pystac is not installed.
        RefusedError: there is no mosaic.
        StoppedError: the disk is full.
    """
    try:
        import pystac
    except ImportError as error:
        raise MissingExtraError("STAC", "stac") from error
    location = locate(mosaic)
    identity = read_mosaic(mosaic)
    made = _document(identity, location.name)
    for layout in identity.layouts:
        _add_asset(made, layout, _href(location.name, out))
    _add_cube(made, identity.layouts[0])
    listed = identity.listed
    names = [image.name for image in listed.images] if listed else [identity.source["asset"]]
    for name in dict.fromkeys(name for name in names if name.startswith("projects/")):
        made.add_link(pystac.Link("derived_from", f"{_ASSETS}{name}", title=asset_id(name)))
    document: dict[str, Any] = made.to_dict(include_self_link=False, transform_hrefs=False)
    if out is not None:
        file = Path(path_text(out, "out", "name a .json file"))
        with writing(file):
            file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document


def beside(mosaic: MosaicPath) -> Path:
    """Return where the document of a mosaic lies by default. Raises JobError for a mosaic in a bucket."""
    location = locate(mosaic)
    if not isinstance(location, Folder):
        raise JobError(f"{location.name}: lies in a bucket; name the document's file with -o")
    return location.path.with_suffix(".stac.json")


def _document(identity: Identity, name: str) -> pystac.Item | pystac.Collection:
    import pystac

    attributes, listed = identity.attributes, identity.listed
    first = identity.layouts[0]
    source = identity.source.get("asset") or identity.source.get("collection") or ""
    facts = dataset_facts(asset_id(str(source)))
    title = str(attributes.get("title") or asset_id(str(source)) or name)
    id_ = Path(name).stem
    geometry, bbox = _footprint(identity.layouts)
    times = sorted(_times(first))
    if not times:  # images without a time have the moment at which they were changed last
        texts = [attributes[key] for key in ("start_time", "end_time") if attributes.get(key)]
        texts = texts or [attributes.get("update_time") or "1970-01-01T00:00:00Z"]
        times = [datetime.fromisoformat(str(text)) for text in texts]
    start, end = times[0], times[-1]
    providers = [pystac.Provider("Google Earth Engine", roles=[pystac.ProviderRole.HOST], url=_CATALOG)]
    if facts is not None:
        providers.insert(0, pystac.Provider(facts.provider, roles=[pystac.ProviderRole.PRODUCER]))
    made: pystac.Item | pystac.Collection
    if listed is not None and first.group.axis == "time":
        extent = pystac.Extent(pystac.SpatialExtent([list(bbox)]), pystac.TemporalExtent([[start, end]]))
        slices = counted(first.group.tiling.slices, "slice")
        images = counted(len(list(listed.images)), "image")
        made = pystac.Collection(
            id_, f"{title}: {slices} of {images}", extent, title=title, license="other", providers=providers
        )
    else:
        span: dict[str, Any] = {} if start == end else {"start_datetime": start, "end_datetime": end}
        when = None if span else start
        made = pystac.Item(id_, geometry, list(bbox), when, {"title": title, "license": "other"}, **span)
        made.common_metadata.providers = providers
    if facts is not None:
        made.add_link(pystac.Link("via", f"{_CATALOG}{facts.id.replace('/', '_')}", "text/html", facts.title))
        if facts.doi:
            made.add_link(pystac.Link("cite-as", f"https://doi.org/{facts.doi}"))
    return made


def _times(layout: GroupLayout) -> list[datetime]:
    """Return the known times of a group's slices."""
    values = next((array.values for array in layout.along if array.name == "time"), ())
    return [from_us(int(value)) for value in values if value != NO_TIME]


def _footprint(layouts: tuple[GroupLayout, ...]) -> tuple[dict[str, Any], _Box]:
    """Return the outline of all groups in longitude and latitude, and its box; west is greater than east across 180°."""
    shape = shapely.union_all([cut_at_180(_outline(layout)) for layout in layouts])
    west, south, east, north = shorter_way(shape).bounds
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(shape))
    return geometry, (west, south, east - 360 if east > 180 else east, north)


def _outline(layout: GroupLayout) -> BaseGeometry:
    """Return the outline of a group in longitude and latitude, beyond 180 where it crosses the antimeridian."""
    if layout.group.lattices:
        return _around_samples(layout)
    grid = layout.group.grid
    ends = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    outline = shapely.Polygon([grid.transform.at(*end) for end in ends])
    try:
        return shapely.make_valid(in_lonlat(outline, grid.crs))
    except JobError:  # parts of the grid lie beside the globe
        west, south, east, north = transformer(grid.crs, LONLAT).transform_bounds(*outline.bounds)
        return shapely.box(west, south, east if west <= east else east + 360, north)


def _around_samples(layout: GroupLayout) -> BaseGeometry:
    """Return a box around all chips."""
    places = {array.name: np.array(array.values) for array in layout.along if array.name in {"lon", "lat"}}
    is_there = np.isfinite(places["lon"]) & np.isfinite(places["lat"])
    lon, lat = places["lon"][is_there], places["lat"][is_there]
    if np.ptp(lon) > 180:
        lon = lon % 360
    grid = next(one for one in layout.group.lattices if one is not None)
    # Its axes may point anywhere.
    half = max(grid.transform.pixel_size) * math.hypot(grid.width, grid.height) / 2
    tall = half * grid.crs.metres_per_unit / LONLAT.metres_per_unit
    south, north = max(lat.min() - tall, -90.0), min(lat.max() + tall, 90.0)
    wide = tall / max(np.cos(np.radians(max(-south, north))), 0.01)
    return shapely.box(lon.min() - wide, south, lon.max() + wide, north)


def _add_asset(made: Any, layout: GroupLayout, href: str) -> None:  # noqa: ANN401  # pystac's
    """Add the asset of a group, with its grid and its bands."""
    import pystac
    from pystac.extensions.projection import ProjectionExtension
    from pystac.extensions.raster import DataType, NoDataStrings, RasterBand, RasterExtension

    group = layout.group
    asset = pystac.Asset(
        f"{href}/{group.name}" if group.name else href, group.name or None, media_type=_MEDIA, roles=["data"]
    )
    made.add_asset(group.name or "zarr", asset)
    if not group.lattices:
        grid, crs = group.grid, group.grid.crs
        t = grid.transform
        ProjectionExtension.ext(asset, add_if_missing=True).apply(
            code=crs.code,
            wkt2=None if crs.code else crs.to_pyproj().to_wkt(),
            shape=[grid.height, grid.width],
            transform=[t.scale_x, t.shear_x, t.translate_x, t.shear_y, t.scale_y, t.translate_y],
        )
    bands, documents = [], dict(layout.documents())
    for band, array, nodata in zip(group.bands, layout.arrays, layout.nodata, strict=True):
        about = documents[array]["attributes"]
        value: Any = nodata
        if nodata is not None and not math.isfinite(nodata):
            value = NoDataStrings(str(nodata))
        made_band = RasterBand.create(
            data_type=DataType(band.dtype.name),
            nodata=value,
            unit=about.get("units"),
            scale=about.get("scale_factor"),
            offset=about.get("add_offset"),
            spatial_resolution=None if group.lattices else abs(float(group.grid.transform.pixel_size[0])),
        )
        made_band.properties["name"] = array
        if "long_name" in about:
            made_band.properties["description"] = about["long_name"]
        bands.append(made_band)
    RasterExtension.ext(asset, add_if_missing=True).apply(bands=bands)


def _add_cube(made: Any, layout: GroupLayout) -> None:  # noqa: ANN401  # pystac's
    """Add dimensions and variables of the first group."""
    from pystac.extensions.datacube import DatacubeExtension, Dimension, Variable

    group = layout.group
    dimensions: dict[str, Any] = {}
    if group.axis == "time":
        texts = [rfc3339(one, "seconds") for one in _times(layout)]
        extent = [min(texts), max(texts)] if texts else [None, None]
        dimensions["time"] = {"type": "temporal", "extent": extent, "values": texts}
    elif group.axis:
        lengths = zip(layout.leading, group.tiling.leading, strict=True)
        dimensions |= {axis: {"type": axis, "extent": [0, length - 1], "step": 1} for axis, length in lengths}
    for axis, length, index in (("x", group.window.width, 0), ("y", group.window.height, 1)):
        dimension: dict[str, Any] = {"type": "spatial", "axis": axis}
        if group.lattices:
            # Each chip has a place of its own, so what counts here is pixels.
            dimension = {"type": "pixel", "extent": [0, length - 1], "step": 1}
        else:
            grid = group.grid
            ends = [grid.transform.at(c, r)[index] for c in (0, grid.width) for r in (0, grid.height)]
            code = grid.crs.code or ""
            dimension |= {
                "extent": [min(ends), max(ends)],
                "step": grid.transform.scale_x if axis == "x" else grid.transform.scale_y,
                "reference_system": int(code.removeprefix("EPSG:"))
                if code.startswith("EPSG:")
                else grid.crs.to_pyproj().to_wkt(),
            }
        dimensions[axis] = dimension
    documents, names = dict(layout.documents()), [*layout.leading, "y", "x"]
    variables: dict[str, dict[str, Any]] = {}
    for array in layout.arrays:
        about, told = documents[array]["attributes"], {"units": "unit", "long_name": "description"}
        variables[array] = {"type": "data", "dimensions": names}
        variables[array] |= {key: about[name] for name, key in told.items() if name in about}
    DatacubeExtension.ext(made, add_if_missing=True).apply(
        {name: Dimension.from_dict(value) for name, value in dimensions.items()},
        {name: Variable(value) for name, value in variables.items()},
    )


def _href(name: str, out: str | os.PathLike[str] | None) -> str:
    """Return the mosaic's path as the document names it: relative to the document where both lie on a disk."""
    if "://" in name or out is None:
        return name if "://" in name else str(Path(name).absolute())
    return Path(os.path.relpath(Path(name).absolute(), Path(out).absolute().parent)).as_posix()
