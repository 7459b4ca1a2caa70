"""Metadata documents of Zarr v3: the `zarr.json` of each array and group.

The documents are written here rather than by zarr-python, so that creating a mosaic does not load it, and adding a band
is one atomic replacement of the root's; tests compare each one with what zarr-python writes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from downloader.mosaic.storage.store import Store

ROOT: Final = "zarr.json"
"""The key of a node's metadata, below the node's path."""


def array_document(
    shape: Sequence[int],
    chunk: Sequence[int],
    kind: str,
    fill: object,
    dimensions: Sequence[str],
    codecs: Sequence[Mapping[str, object]],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the `zarr.json` of an array (Zarr v3, core specification); `fill` is a number of the type `kind` or a text."""
    return {
        "shape": list(shape),
        "data_type": kind,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _fill_json(fill),
        "codecs": list(codecs),
        "attributes": dict(attributes),
        "dimension_names": list(dimensions),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def group_document(attributes: Mapping[str, Any], members: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the `zarr.json` of a group with the metadata of all below it inlined, as zarr-python consolidates."""
    return {
        "attributes": dict(attributes),
        "zarr_format": 3,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": dict(members)},
        "node_type": "group",
    }


def sharding(chunk: Sequence[int], codecs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the codec of shards whose chunks are of this shape."""
    configuration = {
        "chunk_shape": list(chunk),
        "codecs": list(codecs),
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {"name": "sharding_indexed", "configuration": configuration}


def dump(document: Mapping[str, Any]) -> bytes:
    """Return a metadata document as bytes."""
    return json.dumps(document, indent=1, allow_nan=False).encode()


def read_document(store: Store, key: str) -> dict[str, Any] | None:
    """Return a JSON object of the store; None where it is missing or damaged."""
    try:
        document = json.loads(bytes(store.get(key)))
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def attributes_of(node: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the attributes of an array or group; none where they are missing or damaged."""
    found = (node or {}).get("attributes")
    return dict(found) if isinstance(found, dict) else {}


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


def _fill_json(fill: object) -> object:
    number = fill.item() if isinstance(fill, np.generic) else fill
    if not isinstance(number, float) or math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
