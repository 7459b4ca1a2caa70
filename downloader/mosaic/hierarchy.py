"""Creating and extending the Zarr hierarchy on a store, so that a reader may open it at any moment."""

from __future__ import annotations

import json
from typing import Any, Final

from downloader.mosaic.layout import GroupLayout, dump, group_document
from downloader.mosaic.store import Store

__all__ = ["OWN", "ensure_hierarchy"]

ROOT: Final = "zarr.json"

OWN: Final = ".downloader"
"""The folder for what is not pixels: identity, job, ledger, lock."""


def ensure_hierarchy(store: Store, layouts: tuple[GroupLayout, ...], attributes: dict[str, Any]) -> bool:
    """Write the metadata that is not there yet; the root's, which makes all visible, last.

    Returns whether anything was written. What is there stays as it is, so a reader's own attributes survive; a run
    that was killed in between is finished by the next.
    """
    groups = {
        layout.group.name: {f"{layout.prefix}{name}": document for name, document in layout.documents()}
        for layout in layouts
    }
    there = _members(store, ROOT)
    expected = {path for members in groups.values() for path in members}
    if there is not None and expected <= there.keys():
        return False
    written: list[str] = []

    def put(key: str, document: dict[str, Any]) -> None:
        store.put(key, [dump(document)])
        written.append(key)

    # `coordinates` of the group makes `coverage` a coordinate: no data variable beside the bands.
    here = {**attributes, "coordinates": "coverage"}
    inlined: dict[str, dict[str, Any]] = {}
    for name, planned in groups.items():
        members = {path: (there or {}).get(path, document) for path, document in planned.items()}
        for path, document in members.items():
            if there is None or path not in there:
                put(f"{path}/{ROOT}", document)
        if name:
            local = {path.removeprefix(f"{name}/"): document for path, document in members.items()}
            put(f"{name}/{ROOT}", group_document(here, local))
            inlined[name] = group_document(here, {})
        inlined.update(members)
    # To a reader that lists folders instead of asking the root, zarr-python warns of each that is no group.
    put(f"{OWN}/{ROOT}", group_document({}, {}))
    store.flush(written)
    single = list(groups) == [""]
    store.put(ROOT, [dump(group_document(here if single else attributes, inlined))])
    store.flush([ROOT])
    return True


def _members(store: Store, key: str) -> dict[str, dict[str, Any]] | None:
    try:
        document = json.loads(bytes(store.get(key)))
        members: dict[str, dict[str, Any]] = document["consolidated_metadata"]["metadata"]
        return {path: member for path, member in members.items() if member["node_type"] == "array"}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
