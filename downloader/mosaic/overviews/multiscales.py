"""Metadata of overviews: the `multiscales` convention of GeoZarr (github.com/zarr-conventions/multiscales).

It stands in the group of the overviews, level by level and without the pixels, which is the form that viewers open: they
want each level to be a group. Nothing of it stands where pixels are opened, as no other format holds such attributes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from downloader.errors import RefusedError
from downloader.mosaic.format.coordinates import write_coordinates
from downloader.mosaic.format.documents import (
    ROOT,
    attributes_of,
    dump,
    group_document,
    members_of,
    nodes_of,
    read_document,
)
from downloader.mosaic.format.georeferencing import CONVENTIONS, convention_attributes
from downloader.mosaic.format.hierarchy import STATEMENT, group_nodes
from downloader.mosaic.overviews.levels import OVERVIEWS, Level
from downloader.mosaic.storage.store import Store, put_all

RESAMPLING: Final = {
    "MEAN": "average",
    "SAMPLE": "nearest",
    "MIN": "min",
    "MAX": "max",
    "MODE": "mode",
    "MEDIAN": "med",
}
"""Pyramiding policy → name in the convention, as in GDAL."""

_CONVENTION: Final = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v1/README.md",
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "description": "Multiscale layout of zarr datasets",
}


def show_levels(store: Store, groups: Mapping[str, Sequence[Level]], attributes: Mapping[str, Any]) -> None:
    """Write the metadata of levels that are not visible yet; the root's, which names them all, is replaced last.

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
    bases = [chain[0].below for chain in groups.values() if chain]
    if root is None or any(f"{base.prefix}{name}" not in arrays for base in bases for name in base.arrays):
        raise RefusedError(
            f"{store.name}: {ROOT} is missing or damaged; repair it with `downloader verify --repair`"
        )
    documents: dict[str, dict[str, Any]] = {}
    nodes: dict[str, dict[str, Any]] = {}
    shared = {name: value for name, value in attributes.items() if name != STATEMENT}
    levels = [level for chain in groups.values() for level in chain]
    for level in levels:
        members = dict(level.layout.documents())
        documents |= {f"{level.layout.prefix}{path}/{ROOT}": document for path, document in members.items()}
        along = level.layout.coordinates
        about = {**shared, **({"coordinates": along} if along else {})}
        files, inlined = group_nodes(level.layout, members, about)
        documents |= files
        nodes |= inlined
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
    wanted = group_document(attributes_of(root), members)
    if json.loads(dump(wanted)) == root:
        return
    put_all(store, ((key, dump(document)) for key, document in documents.items()))
    write_coordinates(store, tuple(level.layout for level in levels))
    put_all(store, [(ROOT, dump(wanted))])


def visible_levels(store: Store) -> frozenset[str]:
    """Return the names of the groups of levels that readers see."""
    return frozenset(
        path.rpartition("/")[0] for path in members_of(read_document(store, ROOT)) if _is_ours(path)
    )


def _is_ours(path: str) -> bool:
    return path == OVERVIEWS or path.startswith(f"{OVERVIEWS}/")


def _above(groups: Mapping[str, Sequence[Level]]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yield (name, attributes) of the groups that hold the levels, from the innermost."""
    chains = {name: chain for name, chain in groups.items() if chain}
    for name, chain in chains.items():
        yield (
            f"{OVERVIEWS}/{name}".rstrip("/"),
            {
                "zarr_conventions": [_CONVENTION, *CONVENTIONS],
                **convention_attributes(chain[0].layout.group.grid.crs),
                "multiscales": {"layout": list(_level_by_level(chain))},
            },
        )
    if chains and "" not in chains:
        yield OVERVIEWS, {}


def _level_by_level(chain: Sequence[Level]) -> Iterable[dict[str, Any]]:
    policies = {band.pyramiding for band in chain[0].layout.group.bands}
    how = {"resampling_method": RESAMPLING[policies.pop()]} if len(policies) == 1 else {}
    for number, level in enumerate(chain):
        grid, t = level.layout.group.grid, level.layout.group.grid.transform
        step, leading = 2.0 if number else 1.0, len(level.layout.leading)
        yield {
            "asset": str(level.factor),
            **({"derived_from": str(chain[number - 1].factor)} if number else {}),
            "transform": {"scale": [1.0] * leading + [step, step], "translation": [0.0] * (leading + 2)},
            "spatial:transform": [t.scale_x, t.shear_x, t.translate_x, t.shear_y, t.scale_y, t.translate_y],
            "spatial:shape": [grid.height, grid.width],
            **(how if number else {}),
        }
