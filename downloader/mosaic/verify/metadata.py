"""Check and restore everything but pixels: `zarr.json`s, coordinates, files below `.downloader`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import numpy as np

from downloader.mosaic.format.coordinates import coordinate_chunks, write_coordinates
from downloader.mosaic.format.coverage import COVERAGE, COVERAGE_TILES, TILES
from downloader.mosaic.format.documents import ROOT, attributes_of, members_of, read_document
from downloader.mosaic.format.hierarchy import STATEMENT
from downloader.mosaic.format.layout import GroupLayout, axis_chunk
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.identity_json import identity_to_bytes, statement_of
from downloader.mosaic.record.ownership import write_hierarchy
from downloader.mosaic.record.paths import JOB, MARKER, OWN
from downloader.mosaic.storage.store import Store, put_all, put_changed, read_object
from downloader.mosaic.verify.result import Lost

_STRUCTURE: Final = (
    "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "dimension_names", "zarr_format",
    "node_type",
)  # fmt: skip
"""Members of an array's metadata that say how its pixels are read."""

_PLACE: Final = ("GeoTransform", "grid_mapping", "band", "_FillValue")
"""Attributes that must be the layout's own. Texts of a CRS differ from one release of PROJ to the next."""


def lost_metadata(store: Store, identity: Identity, *, has_marker: bool) -> Iterator[Lost]:
    """Yield everything that is missing or differs from the layout.

    Args:
        store: the mosaic's objects.
        identity: what the mosaic is.
        has_marker: whether its marker could be read.
    """
    if not has_marker:
        yield Lost(MARKER, "is missing or cannot be read; its copy holds the same")
    if not any(key == JOB and size for key, size in store.list(OWN)):
        yield Lost(JOB, "is missing or empty")
    if read_document(store, f"{OWN}/{ROOT}") is None:
        yield Lost(f"{OWN}/{ROOT}", "is missing or cannot be read")
    root = read_document(store, ROOT)
    yield from _root(store, root, identity)
    for layout in identity.layouts:
        planned = {name: json.loads(json.dumps(document)) for name, document in layout.documents()}
        if layout.group.name:
            yield from _group(store, f"{layout.group.name}/{ROOT}", planned)
        if root is not None:
            yield from _inlined(ROOT, members_of(root), planned, layout.prefix)
        key = f"{layout.prefix}{COVERAGE}/{ROOT}"
        yield from _group(store, key, {TILES: planned[COVERAGE_TILES]})
        for name, document in planned.items():
            key = f"{layout.prefix}{name}/{ROOT}"
            found = read_document(store, key)
            why = "is missing or cannot be read" if found is None else _difference(found, document)
            if why:
                yield Lost(key, why)
        yield from _coordinates(store, layout)


def restore_metadata(store: Store, identity: Identity, lost: Collection[Lost]) -> None:
    """Write what `lost_metadata` found, except the job. Raises OSError."""
    keys = {one.key for one in lost}
    if MARKER in keys:
        put_all(store, [(MARKER, identity_to_bytes(identity))])
    for layout in identity.layouts:
        chunks = ((key, values) for key, values in coordinate_chunks(layout) if key in keys)
        put_all(store, ((key, layout.codec.encode(values)) for key, values in chunks))
    write_coordinates(store, identity.layouts)
    broken = {key for key in keys if key.rsplit("/", 1)[-1] == ROOT}
    put_changed(store, [statement_of(identity)[1]])
    if broken:
        write_hierarchy(store, identity, broken)


def _root(store: Store, root: Mapping[str, Any] | None, identity: Identity) -> Iterator[Lost]:
    if root is None:
        yield Lost(ROOT, "is missing or cannot be read")
        return
    attributes = attributes_of(root)
    stated, copy = statement_of(identity)
    if attributes.get(STATEMENT) != copy[0]:
        yield Lost(ROOT, "its attribute `downloader` is missing or differs from the mosaic's identity")
    elif absent := [name for name in stated if name not in attributes]:
        yield Lost(ROOT, f"attributes are missing: {', '.join(absent)}")
    yield from _different(store, *copy, "it is not what the mosaic is")


def _group(store: Store, key: str, planned: Mapping[str, dict[str, Any]]) -> Iterator[Lost]:
    group = read_document(store, key)
    if group is None:
        yield Lost(key, "is missing or cannot be read")
    else:
        yield from _inlined(key, members_of(group), planned, "")


def _inlined(
    key: str, members: Mapping[str, Any], planned: Mapping[str, dict[str, Any]], prefix: str
) -> Iterator[Lost]:
    for name, document in planned.items():
        found = members.get(f"{prefix}{name}")
        why = "is not there" if found is None else _difference(found, document)
        if why:
            yield Lost(key, f"consolidated metadata of {prefix}{name}: {why}")


def _difference(found: Mapping[str, Any], planned: Mapping[str, Any]) -> str:
    """Describe the first difference of an array's metadata from the planned; empty where there is none."""
    for name in _STRUCTURE:
        if found.get(name) != planned[name]:
            return f"{name} is {found.get(name)!r:.100}, not {planned[name]!r:.100}"
    attributes = found.get("attributes")
    if not isinstance(attributes, dict):
        return "it has no attributes"
    for name, value in planned["attributes"].items():
        if name not in attributes:
            return f"the attribute {name} is missing"
        if name in _PLACE and attributes[name] != value:
            return f"the attribute {name} is {attributes[name]!r:.100}, not {value!r:.100}"
    return ""


def _coordinates(store: Store, layout: GroupLayout) -> Iterator[Lost]:
    for key, values in coordinate_chunks(layout):
        try:
            found = layout.codec.decode(store.get(key), values.dtype, (axis_chunk(len(values)),))
        except FileNotFoundError:
            yield Lost(key, "is missing")
        except ValueError as error:
            yield Lost(key, str(error))
        else:
            if not np.array_equal(found, values, equal_nan=True):
                yield Lost(key, "its values are not those of the grid")
    for key, data in layout.axis_chunks():
        yield from _different(store, key, data, "its values are not those of the image list")


def _different(store: Store, key: str, data: bytes, why: str) -> Iterator[Lost]:
    found = read_object(store, key)
    if found != data:
        yield Lost(key, "is missing" if found is None else why)
