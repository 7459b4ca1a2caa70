"""A STAC document of a mosaic: an Item, or of a time series a Collection, with projection, raster and datacube extensions."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zarr

from downloader.arguments import path_text
from downloader.datasets.facts import dataset_facts
from downloader.errors import JobError, MissingExtraError
from downloader.model.crs import LONLAT
from downloader.model.image import asset_id
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import Folder, MosaicPath, locate
from downloader.progress.late import late
from downloader.text import counted

if TYPE_CHECKING:
    import pystac

_MEDIA: Final = "application/vnd.zarr; version=3"
_ASSETS: Final = "https://earthengine.googleapis.com/v1/"
_CATALOG: Final = "https://developers.google.com/earth-engine/datasets/catalog/"
_PER_EDGE: Final = 5
"""Points of the footprint along each edge of the grid."""

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
    """
    try:
        import pystac
    except ImportError as error:
        raise MissingExtraError("STAC", "stac") from error
    location = locate(mosaic)
    identity = read_mosaic(mosaic)
    root: Any = zarr.open_group(location.readable(), mode="r")
    nodes = {one.group.name: root[one.group.name] if one.group.name else root for one in identity.layouts}
    href = _href(location.name, out)
    made = _document(identity, nodes, location.name)
    for layout in identity.layouts:
        _add_asset(made, layout, nodes[layout.group.name], href)
    first = identity.layouts[0]
    _add_cube(made, first, nodes[first.group.name])
    names = (
        [image.name for image in identity.listed.images] if identity.listed else [identity.source["asset"]]
    )
    for name in dict.fromkeys(name for name in names if name.startswith("projects/")):
        made.add_link(pystac.Link("derived_from", f"{_ASSETS}{name}", title=asset_id(name)))
    document: dict[str, Any] = made.to_dict(include_self_link=False, transform_hrefs=False)
    if out is not None:
        file = Path(path_text(out, "out", "name a .json file"))
        try:
            file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise JobError(f"{file}: cannot be written: {error.strerror or error}") from error
    return document


def beside(mosaic: MosaicPath) -> Path:
    """Return where the document of a mosaic lies by default. Raises JobError for a mosaic in a bucket."""
    location = locate(mosaic)
    if not isinstance(location, Folder):
        raise JobError(f"{location.name}: lies in a bucket; name the document's file with -o")
    return location.path.with_suffix(".stac.json")


def _document(identity: Identity, nodes: Mapping[str, Any], name: str) -> pystac.Item | pystac.Collection:
    import pystac

    node = nodes[identity.layouts[0].group.name]
    attributes = dict(node.attrs)
    listed = identity.listed
    source = identity.source.get("asset") or identity.source.get("collection") or ""
    facts = dataset_facts(asset_id(str(source)))
    title = str(attributes.get("title") or asset_id(str(source)) or name)
    id_ = Path(name).stem
    geometry, bbox = _footprint(identity.layouts, nodes)
    start, end = _times(node, attributes)
    providers = [pystac.Provider("Google Earth Engine", roles=[pystac.ProviderRole.HOST], url=_CATALOG)]
    if facts is not None:
        providers.insert(0, pystac.Provider(facts.provider, roles=[pystac.ProviderRole.PRODUCER]))
    made: pystac.Item | pystac.Collection
    if listed is not None and identity.samples is None and identity.layouts[0].group.axis == "time":
        extent = pystac.Extent(pystac.SpatialExtent([list(bbox)]), pystac.TemporalExtent([[start, end]]))
        slices = counted(identity.layouts[0].group.tiling.slices, "slice")
        images = counted(len(list(listed.images)), "image")
        made = pystac.Collection(
            id_, f"{title}: {slices} of {images}", extent, title=title, license="other", providers=providers
        )
    else:
        properties: dict[str, Any] = {"title": title, "license": "other"}
        when = start if start == end else None
        made = pystac.Item(
            id_,
            geometry,
            list(bbox),
            when,
            properties,
            start_datetime=None if when else start,
            end_datetime=None if when else end,
        )
        made.common_metadata.providers = providers
    if facts is not None:
        made.add_link(pystac.Link("via", f"{_CATALOG}{facts.id.replace('/', '_')}", "text/html", facts.title))
        if facts.doi:
            made.add_link(pystac.Link("cite-as", f"https://doi.org/{facts.doi}"))
    return made


def _times(node: Any, attributes: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:  # noqa: ANN401  # Zarr's
    """Return the first and the last moment; of images without a time the moment at which they were changed last."""
    if "time" in node:
        times = np.asarray(node["time"][...]).astype("datetime64[us]")
        known = times[~np.isnat(times)]
        if known.size:
            first, last = (
                moment.astype(datetime).replace(tzinfo=UTC) for moment in (known.min(), known.max())
            )
            return first, last
    texts = [str(attributes[key]) for key in ("start_time", "end_time") if attributes.get(key)]
    texts = texts or [str(attributes.get("update_time") or "1970-01-01T00:00:00Z")]
    return datetime.fromisoformat(texts[0]), datetime.fromisoformat(texts[-1])


def _footprint(layouts: tuple[GroupLayout, ...], nodes: Mapping[str, Any]) -> tuple[dict[str, Any], _Box]:
    """Return the outline of all groups in longitude and latitude, and its box; west is greater than east across 180°."""
    import shapely

    outlines = [one for layout in layouts for one in _outlines(layout, nodes[layout.group.name])]
    shape = shapely.union_all(outlines)
    west, south, east, north = shape.bounds
    halves = [part.bounds for part in outlines]
    if west == -180.0 and east == 180.0 and not any(b[0] == -180.0 and b[2] == 180.0 for b in halves):
        west = min(b[0] for b in halves if b[2] == 180.0)
        east = max(b[2] for b in halves if b[0] == -180.0)
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(shape))
    return geometry, (west, south, east, north)


def _outlines(layout: GroupLayout, node: Any) -> list[Any]:  # noqa: ANN401  # Zarr's, shapely's
    import pyproj
    import shapely

    group = layout.group
    if group.lattices:
        return _around_samples(layout, node)
    grid = group.grid
    along = np.linspace(0, 1, _PER_EDGE + 1)[:-1]
    columns = np.concatenate([along, along * 0 + 1, 1 - along, along * 0]) * grid.width
    rows = np.concatenate([along * 0, along, along * 0 + 1, 1 - along]) * grid.height
    points = [grid.transform.at(column, row) for column, row in zip(columns, rows, strict=True)]
    transformer = pyproj.Transformer.from_crs(grid.crs.to_pyproj(), 4326, always_xy=True)
    lon, lat = transformer.transform([x for x, _ in points], [y for _, y in points])
    # To a centimetre; a grid in degrees may count beyond 180.
    lon, lat = np.round((np.asarray(lon) + 180) % 360 - 180, 7), np.round(lat, 7)
    is_known = np.isfinite(lon) & np.isfinite(lat)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    is_cut = bool(np.abs(np.diff(np.append(lon, lon[0]))).max(initial=0) > 180)
    if is_known.all() and not is_cut:
        return [shapely.make_valid(shapely.Polygon(list(zip(lon.tolist(), lat.tolist(), strict=True))))]
    west, south, east, north = transformer.transform_bounds(min(xs), min(ys), max(xs), max(ys))
    west, east = (value - 360 if value > 180 else value for value in (west, east))
    if west <= east:
        return [shapely.box(west, south, east, north)]
    return [shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)]


def _around_samples(layout: GroupLayout, node: Any) -> list[Any]:  # noqa: ANN401  # as above
    """Return a box around all chips; two where it crosses 180°."""
    import shapely

    lon, lat = (np.asarray(node[name][...], np.float64) for name in ("lon", "lat"))
    is_there = np.isfinite(lon) & np.isfinite(lat)
    lon, lat = lon[is_there], lat[is_there]
    if np.ptp(lon) > 180:
        lon = lon % 360
    grid = next(one for one in layout.group.lattices if one is not None)
    half = (
        max(grid.transform.pixel_size) * math.hypot(grid.width, grid.height) / 2
    )  # its axes may point anywhere
    tall = half * grid.crs.metres_per_unit / LONLAT.metres_per_unit
    south, north = max(lat.min() - tall, -90.0), min(lat.max() + tall, 90.0)
    wide = tall / max(np.cos(np.radians(max(-south, north))), 0.01)
    west, east = lon.min() - wide, lon.max() + wide
    if east <= 180:
        return [shapely.box(west, south, east, north)]
    return [shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east - 360, north)]


def _add_asset(made: Any, layout: GroupLayout, node: Any, href: str) -> None:  # noqa: ANN401  # pystac's, Zarr's
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
    bands = []
    for band, array, nodata in zip(group.bands, layout.arrays, layout.nodata, strict=True):
        about = node[array].attrs
        value: Any = nodata
        if nodata is not None and not np.isfinite(nodata):
            value = (
                NoDataStrings.NAN
                if np.isnan(nodata)
                else NoDataStrings.INF
                if nodata > 0
                else NoDataStrings.NINF
            )
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


def _add_cube(made: Any, layout: GroupLayout, node: Any) -> None:  # noqa: ANN401  # pystac's, Zarr's
    """Add dimensions and variables of the first group."""
    from pystac.extensions.datacube import DatacubeExtension, Dimension, Variable

    group = layout.group
    dimensions: dict[str, Any] = {}
    if group.axis == "time" and "time" in node:
        times = np.asarray(node["time"][...]).astype("datetime64[us]")
        texts = [None if np.isnat(one) else f"{np.datetime_as_string(one, unit='s')}Z" for one in times]
        known = sorted(text for text in texts if text)
        extent = [known[0], known[-1]] if known else [None, None]
        dimensions["time"] = {
            "type": "temporal",
            "extent": extent,
            "values": [text for text in texts if text],
        }
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
    names = [*layout.leading, "y", "x"]
    variables = {
        array: {"type": "data", "dimensions": names}
        | {
            key: node[array].attrs[name]
            for key, name in (("unit", "units"), ("description", "long_name"))
            if name in node[array].attrs
        }
        for array in layout.arrays
    }
    DatacubeExtension.ext(made, add_if_missing=True).apply(
        {name: Dimension.from_dict(value) for name, value in dimensions.items()},
        {name: Variable(value) for name, value in variables.items()},
    )


def _href(name: str, out: str | os.PathLike[str] | None) -> str:
    """Return the mosaic's path as the document names it: relative to the document where both lie on a disk."""
    if "://" in name or out is None:
        return name if "://" in name else str(Path(name).absolute())
    return Path(os.path.relpath(Path(name).absolute(), Path(out).absolute().parent)).as_posix()
