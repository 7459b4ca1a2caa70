"""Create and extend the Zarr hierarchy on a store, so that a reader may open it at any moment."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from downloader.mosaic.format.coverage import COVERAGE
from downloader.mosaic.format.layout import (
    GroupLayout,
    coverage_group,
    described_datasets,
    dump,
    group_document,
)
from downloader.mosaic.overviews.levels import OVERVIEWS
from downloader.mosaic.record.paths import OWN
from downloader.mosaic.storage.store import Store
from downloader.planning import Plan

ROOT: Final = "zarr.json"
"""The key of a node's metadata, below the node's path."""


def ensure_hierarchy(
    store: Store,
    layouts: tuple[GroupLayout, ...],
    attributes: Mapping[str, Any],
    broken: Collection[str] = (),
) -> dict[str, Any] | None:
    """Write the metadata that is missing, or grew along an axis; the root's, which makes all visible, last.

    Args:
        store: the mosaic's objects.
        layouts: its groups.
        attributes: of the root; those of the groups are the same but for the statement of identity.
        broken: keys of `zarr.json`s that exist and are to be written anew.

    Returns the attributes that the root had; None where nothing was written. What is there stays as it is, so attributes
    that users added survive.
    """
    groups = {
        layout.group.name: {f"{layout.prefix}{name}": document for name, document in layout.documents()}
        for layout in layouts
    }
    root = None if ROOT in broken else read_document(store, ROOT)
    there = members_of(root)
    # `coordinates` of the group makes what lies along its axis coordinates: no data variables beside the bands.
    coordinates = {
        layout.group.name: {"coordinates": layout.coordinates} if layout.coordinates else {}
        for layout in layouts
    }
    single = list(groups) == [""]
    own = {**attributes, **coordinates[""]} if single else dict(attributes)
    at_root = merged(_attributes(root), own)
    fits = all(
        path in there and there[path] == _grown(there[path], document)
        for members in groups.values()
        for path, document in members.items()
    )
    if not broken and root is not None and fits and _attributes(root) == at_root:
        return None
    written: list[str] = []

    def put(key: str, document: dict[str, Any]) -> None:
        store.put(key, [dump(document)])
        written.append(key)

    here = {name: value for name, value in attributes.items() if name != STATEMENT}
    inlined: dict[str, dict[str, Any]] = {}
    for name, planned in groups.items():
        members = {
            path: _grown(there[path], document) if path in there else document
            for path, document in planned.items()
        }
        for path, document in members.items():
            if there.get(path) != document or f"{path}/{ROOT}" in broken:
                put(f"{path}/{ROOT}", document)
        prefix = f"{name}/" if name else ""
        put(f"{prefix}{COVERAGE}/{ROOT}", coverage_group(members, prefix))
        members[f"{prefix}{COVERAGE}"] = group_document({}, {})
        if name:
            local = {path.removeprefix(prefix): document for path, document in members.items()}
            in_group = merged(
                _attributes(read_document(store, f"{name}/{ROOT}")), {**here, **coordinates[name]}
            )
            put(f"{name}/{ROOT}", group_document(in_group, local))
            inlined[name] = group_document(in_group, {})
        inlined.update(members)
    # Overviews are written elsewhere, and stay.
    inlined.update({path: node for path, node in nodes_of(root).items() if path.split("/")[0] == OVERVIEWS})
    # zarr-python warns a reader that lists folders of each one that is no group.
    put(f"{OWN}/{ROOT}", group_document({}, {}))
    store.flush(written)
    store.put(ROOT, [dump(group_document(at_root, inlined))])
    store.flush([ROOT])
    return _attributes(root)


def read_document(store: Store, key: str) -> dict[str, Any] | None:
    """Return a JSON object of the store; None where it is missing or damaged."""
    try:
        document = json.loads(bytes(store.get(key)))
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def members_of(group: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return path → metadata of the arrays that are inlined in a group's metadata."""
    return {path: node for path, node in nodes_of(group).items() if node["node_type"] == "array"}


def nodes_of(group: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return path → metadata of all arrays and groups that are inlined in a group's metadata."""
    try:
        members: dict[str, dict[str, Any]] = (group or {})["consolidated_metadata"]["metadata"]
        return {path: member for path, member in members.items() if member["node_type"] in {"array", "group"}}
    except (KeyError, TypeError, AttributeError):
        return {}


def _grown(there: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
    """Return an array's metadata as it is, longer where the planned is; a first missing time brings its `_FillValue`."""
    if there.get("shape") == planned["shape"]:
        return there
    stated = there.get("attributes")
    attributes = {**planned["attributes"], **(stated if isinstance(stated, dict) else {})}
    return {**there, "shape": planned["shape"], "attributes": attributes}


def _attributes(group: Mapping[str, Any] | None) -> dict[str, Any]:
    found = (group or {}).get("attributes")
    return dict(found) if isinstance(found, dict) else {}


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
        attributes["properties"] = json.dumps(_plain_json(image.properties), ensure_ascii=False)
    return attributes


def merged(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that are there, completed by `wanted`; those of `OURS` are as wanted, or removed."""
    kept = {name: value for name, value in there.items() if name not in OURS}
    return {**wanted, **kept}


def _plain_json(value: Any) -> Any:  # noqa: ANN401 - JSON of the service
    """Return what JSON can hold: the service's properties may be numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(name): _plain_json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_json(member) for member in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
