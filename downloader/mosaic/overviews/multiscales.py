"""Metadata of overviews: the `multiscales` convention of GeoZarr (github.com/zarr-conventions/multiscales).

It stands twice. At the root band by band, from the pixels up, each with its own way of resampling, which is how GDAL
≥ 3.13 finds the overviews of an array. And in the group of the overviews level by level, without the pixels, which is
the form that viewers open: they want each level to be a group.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from downloader.errors import RefusedError
from downloader.mosaic.format.coordinates import coordinate_chunks, write_axis
from downloader.mosaic.format.georeferencing import CONVENTIONS
from downloader.mosaic.format.hierarchy import ROOT, STATEMENT, members_of, nodes_of, read_document
from downloader.mosaic.format.layout import GroupLayout, dump, group_document
from downloader.mosaic.overviews.levels import OVERVIEWS, Level
from downloader.mosaic.storage.store import Store

RESAMPLING: Final = {
    "MEAN": "average",
    "SAMPLE": "nearest",
    "MIN": "min",
    "MAX": "max",
    "MODE": "mode",
    "MEDIAN": "med",
}
"""The service's words for a pyramid's rule → the convention's, which are GDAL's."""

_CONVENTION: Final = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v1/README.md",
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "description": "Multiscale layout of zarr datasets",
}


def show_levels(store: Store, groups: Mapping[str, Sequence[Level]], attributes: Mapping[str, Any]) -> None:
    """Make the levels visible, unless they are; the root's metadata, which names them all, is replaced last.

    Args:
        store: the mosaic's objects.
        groups: the group's name → its levels, whose objects are all there.
        attributes: of the mosaic's root, which the levels share.

    Raises:
        RefusedError: the root's metadata is damaged.
        OSError: the store cannot be read or written.
    """
    root = read_document(store, ROOT)
    arrays = members_of(root)
    bases = (chain[0].below for chain in groups.values() if chain)
    if root is None or any(
        _path(base, index) not in arrays for base in bases for index in range(len(base.arrays))
    ):
        raise RefusedError(
            f"{store.name}: {ROOT} is missing or damaged; repair it with `downloader verify --repair`"
        )
    documents: dict[str, dict[str, Any]] = {}
    nodes: dict[str, dict[str, Any]] = {}
    shared = {name: value for name, value in attributes.items() if name != STATEMENT}
    levels = [level for chain in groups.values() for level in chain]
    for level in levels:
        name = level.layout.group.name
        own = dict(level.layout.documents())
        for array, document in own.items():
            documents[f"{name}/{array}/{ROOT}"] = nodes[f"{name}/{array}"] = document
        about = {**shared, "coordinates": level.layout.coordinates}
        documents[f"{name}/{ROOT}"] = group_document(about, own)
        nodes[name] = group_document(about, {})
    for above, about in _above(groups):
        below = {
            path.removeprefix(f"{above}/"): document
            for path, document in nodes.items()
            if path.startswith(f"{above}/")
        }
        documents[f"{above}/{ROOT}"] = group_document(about, below)
        nodes[above] = group_document(about, {})
    members = {path: node for path, node in nodes_of(root).items() if not _is_ours(path)} | dict(
        sorted(nodes.items())
    )
    attributes_there = root.get("attributes")
    stated = dict(attributes_there) if isinstance(attributes_there, dict) else {}
    if levels:
        stated |= attributes_of(
            stated, [entry for chain in groups.values() for entry in _band_by_band(chain)]
        )
    data = dump(group_document(stated, members))
    if json.loads(data) == root:
        return
    pieces = {key: dump(document) for key, document in documents.items()}
    for level in levels:
        for key, values in coordinate_chunks(level.layout):
            pieces[key] = level.layout.codec.encode(values)
    for key, piece in pieces.items():
        store.put(key, [piece])
    store.flush(pieces)
    write_axis(store, tuple(level.layout for level in levels))
    store.put(ROOT, [data])
    store.flush([ROOT])


def visible_levels(store: Store) -> frozenset[str]:
    """Return the names of the groups of levels that readers see."""
    return frozenset(
        path.rpartition("/")[0] for path in members_of(read_document(store, ROOT)) if _is_ours(path)
    )


def attributes_of(stated: Mapping[str, Any], layout: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the attribute `multiscales` and those that belong to it; conventions that are stated already stay."""
    ours = {one["uuid"] for one in (_CONVENTION, *CONVENTIONS)}
    there = stated.get("zarr_conventions")
    kept = [
        one
        for one in (there if isinstance(there, list) else [])
        if not (isinstance(one, dict) and one.get("uuid") in ours)
    ]
    return {
        "zarr_conventions": [*kept, _CONVENTION, *CONVENTIONS],
        "spatial:dimensions": ["y", "x"],
        "multiscales": {"layout": list(layout)},
    }


def _is_ours(path: str) -> bool:
    return path == OVERVIEWS or path.startswith(f"{OVERVIEWS}/")


def _above(groups: Mapping[str, Sequence[Level]]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yield (name, attributes) of the groups that hold the levels, from the innermost."""
    chains = {name: chain for name, chain in groups.items() if chain}
    for name, chain in chains.items():
        yield f"{OVERVIEWS}/{name}".rstrip("/"), attributes_of({}, list(_level_by_level(chain)))
    if chains and "" not in chains:
        yield OVERVIEWS, {}


def _band_by_band(chain: Sequence[Level]) -> Iterable[dict[str, Any]]:
    for index in range(len(chain[0].layout.arrays) if chain else 0):
        yield _entry(chain[0].below, _path(chain[0].below, index))
        for level in chain:
            policy = level.layout.group.bands[index].pyramiding
            yield _entry(level.layout, _path(level.layout, index), _path(level.below, index), policy)


def _level_by_level(chain: Sequence[Level]) -> Iterable[dict[str, Any]]:
    policies = {band.pyramiding for band in chain[0].layout.group.bands}
    policy = policies.pop() if len(policies) == 1 else ""
    yield _entry(chain[0].layout, str(chain[0].factor))
    for level, below in zip(chain[1:], chain, strict=False):
        yield _entry(level.layout, str(level.factor), str(below.factor), policy)


def _path(layout: GroupLayout, index: int) -> str:
    return f"{layout.prefix}{layout.arrays[index]}"


def _entry(layout: GroupLayout, asset: str, source: str = "", policy: str = "") -> dict[str, Any]:
    grid, t = layout.group.grid, layout.group.grid.transform
    step = 2.0 if source else 1.0
    leading = len(layout.leading)
    return {
        "asset": asset,
        **({"derived_from": source} if source else {}),
        "transform": {"scale": [1.0] * leading + [step, step], "translation": [0.0] * (leading + 2)},
        "spatial:transform": [t.scale_x, t.shear_x, t.translate_x, t.shear_y, t.scale_y, t.translate_y],
        "spatial:shape": [grid.height, grid.width],
        **({"resampling_method": RESAMPLING[policy]} if source and policy else {}),
    }
