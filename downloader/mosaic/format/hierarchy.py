"""Create and extend the Zarr hierarchy on a store, so that a reader may open it at any moment."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from downloader.model.document import to_document
from downloader.mosaic.format.coverage import COVERAGE, COVERAGE_TILES, TILES
from downloader.mosaic.format.documents import (
    ROOT,
    attributes_of,
    dump,
    group_document,
    members_of,
    nodes_of,
    read_document,
)
from downloader.mosaic.format.layout import GroupLayout, described_datasets
from downloader.mosaic.overviews.levels import OVERVIEWS
from downloader.mosaic.record.paths import OWN
from downloader.mosaic.storage.store import Store, put_all
from downloader.planning import Plan


def ensure_hierarchy(
    store: Store,
    layouts: tuple[GroupLayout, ...],
    attributes: Mapping[str, Any],
    broken: Collection[str] = (),
) -> dict[str, Any] | None:
    """Write missing metadata and lengthen what grew; the root's, which makes all visible, is written last.

    Args:
        store: the mosaic's objects.
        layouts: its groups.
        attributes: of the root; those of the groups are the same but for the statement of identity.
        broken: keys of `zarr.json`s that exist and are to be written anew.

    Returns the attributes that the root had; None where nothing was written. What is there stays as it is, so attributes
    that users added survive.
    """
    root = None if ROOT in broken else read_document(store, ROOT)
    there = members_of(root)
    files: dict[str, dict[str, Any]] = {}
    inlined: dict[str, dict[str, Any]] = {}
    here = {name: value for name, value in attributes.items() if name != STATEMENT}
    own = dict(attributes)
    for layout in layouts:
        name, members = layout.group.name, dict(layout.documents())
        for array, document in members.items():
            path = f"{layout.prefix}{array}"
            members[array] = _grown(there.get(path), document)
            if there.get(path) != members[array] or f"{path}/{ROOT}" in broken:
                files[f"{path}/{ROOT}"] = members[array]
        # `coordinates` of the group makes what lies along its axis coordinates: no data variables beside the bands.
        about = {**here, **({"coordinates": layout.coordinates} if layout.coordinates else {})}
        if name:
            about = merged(attributes_of(read_document(store, f"{name}/{ROOT}")), about)
        else:
            own |= about
        of_group, nodes = group_nodes(layout, members, about)
        files |= of_group
        inlined |= nodes
    # Overviews are written elsewhere, and stay.
    inlined |= {path: node for path, node in nodes_of(root).items() if path.split("/")[0] == OVERVIEWS}
    at_root = merged(attributes_of(root), own)
    plain = json.loads(json.dumps(inlined))
    if (
        not (broken or root is None)
        and attributes_of(root) == at_root
        and plain.items() <= nodes_of(root).items()
    ):
        return None
    # zarr-python warns a reader that lists folders of each one that is no group.
    files[f"{OWN}/{ROOT}"] = group_document({}, {})
    put_all(store, ((key, dump(document)) for key, document in files.items()))
    put_all(store, [(ROOT, dump(group_document(at_root, inlined)))])
    return attributes_of(root)


def group_nodes(
    layout: GroupLayout, members: Mapping[str, dict[str, Any]], attributes: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the metadata of a group and its coverage, by key, and the nodes that the root inlines, by path.

    Args:
        layout: the group; the root itself has no metadata here.
        members: metadata of its arrays, by path below it.
        attributes: of the group.
    """
    prefix = layout.prefix
    files = {f"{prefix}{COVERAGE}/{ROOT}": group_document({}, {TILES: members[COVERAGE_TILES]})}
    members = {**members, COVERAGE: group_document({}, {})}
    nodes = {f"{prefix}{path}": document for path, document in members.items()}
    if layout.group.name:
        files[f"{prefix}{ROOT}"] = group_document(attributes, members)
        nodes = {layout.group.name: group_document(attributes, {}), **nodes}
    return files, nodes


def _grown(there: dict[str, Any] | None, planned: dict[str, Any]) -> dict[str, Any]:
    """Return an array's present metadata with the planned shape; attributes that it lacks are added where it grows."""
    if there is None or there.get("shape") == planned["shape"]:
        return there or planned
    return {
        **there,
        "shape": planned["shape"],
        "attributes": {**planned["attributes"], **attributes_of(there)},
    }


STATEMENT: Final = "downloader"
"""Attribute of the root: key of the copy of the mosaic's identity."""

EARLIER: Final = "earlier_update_times"
"""Attribute: earlier `update_time`s of which pixels are stored as well."""

OURS: Final = frozenset({STATEMENT, EARLIER, "update_time", "coordinates"})
"""Attributes that follow the mosaic; users may change all others."""


def image_attributes(plan: Plan) -> dict[str, Any]:
    """Return the attributes of a group: source, licence and provider of the pixels, their times, the asset's properties."""
    image = plan.image
    known = {"Conventions": "CF-1.11", **described_datasets(plan)}
    if plan.listed is not None:
        # What differs from image to image is stored along the axis.
        source = plan.listed.facts.get("collection", "")
        return {**known, **({"source": source} if source else {})}
    told = {
        **known,
        "source": image.name,
        "update_time": image.update_time,
        "start_time": image.start_time,
        "end_time": image.end_time,
    }
    attributes: dict[str, Any] = {name: value for name, value in told.items() if value}
    if image.properties:
        # As text: no format that attributes are copied to, netCDF for one, holds a mapping.
        attributes["properties"] = json.dumps(to_document(image.properties), ensure_ascii=False)
    return attributes


def merged(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return present attributes completed by `wanted`; those of `OURS` are taken from `wanted` alone."""
    kept = {name: value for name, value in there.items() if name not in OURS}
    return {**wanted, **kept}
