"""Recognise mosaics of this package: by their marker, or by the statement in their Zarr attributes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from typing import Final

from downloader.errors import RefusedError
from downloader.mosaic.format.hierarchy import ROOT, ensure_hierarchy
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.overviews.levels import OVERVIEWS
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.identity_json import identity_from_bytes, identity_from_root, statement_of
from downloader.mosaic.record.paths import JOB, LEDGER, MARKER, OVERVIEWS_RECORD, OWN
from downloader.mosaic.storage.location import Location, MosaicPath, locate, source_names
from downloader.mosaic.storage.store import Store

_AT_HAND: Final = 4 * 2**20
"""Bytes of a marker up to which what it says is kept: some 35,000 images, which take a second to read."""


def read_identity(path: MosaicPath) -> Identity | None:
    """Return what the mosaic at `path` is: from its marker, or where that was lost from its attributes; None for no mosaic.

    Raises:
        RefusedError: it was made by another version of the format, it is not ours or damaged, or cannot be read.
    """
    location = locate(path)
    data = location.read(MARKER)
    known = _marked(data, location.name)
    if known is not None:
        return known
    try:
        attributes = json.loads(location.read(ROOT) or b"")["attributes"]
    except (ValueError, KeyError, TypeError, RecursionError):
        attributes = None
    stated = None
    if isinstance(attributes, dict):
        stated = identity_from_root(attributes, location.name, location.read)
    if stated is None and data is not None:
        return identity_from_bytes(data, location.name)  # refuses, and says why
    return stated


def read_marker(path: MosaicPath) -> Identity | None:
    """Return what the marker says; None where there is none, or none that is JSON.

    Raises:
        RefusedError: it is of another version of the format, not ours, or damaged.
    """
    location = locate(path)
    return _marked(location.read(MARKER), location.name)


_at_hand: tuple[bytes, Identity] | None = None
"""The marker that was read last, and what it says."""


def _marked(data: bytes | None, where: str) -> Identity | None:
    """Return the identity of a marker; that of the mosaic looked at last is at hand, unless its image list is very long."""
    global _at_hand  # noqa: PLW0603  # one for the process; whichever thread writes it last, it is whole
    last = _at_hand
    if last is not None and last[0] == data:
        return last[1]
    try:
        if data is None or not isinstance(json.loads(data), dict):
            return None
    except (ValueError, RecursionError):
        return None
    identity = identity_from_bytes(data, where)
    if len(data) <= _AT_HAND:
        _at_hand = data, identity
    return identity


def refuse_foreign(location: Location) -> None:
    """Raise RefusedError where the location holds something that no run of this package has made."""
    path = location.name
    names = location.entries()
    if not names:
        return
    own = location.entries(OWN) if OWN in names else frozenset()
    if MARKER.rpartition("/")[2] in own:
        return
    # A run that was killed at its very start leaves its lock, and perhaps a staged file.
    ours = re.compile(r"lock|lease|(job\.yaml|mosaic\.json)(#\d+)?")
    if names == {OWN} and all(map(ours.fullmatch, own)):
        return
    if read_identity(path) is not None:
        return
    if sources := source_names(location):
        raise RefusedError(
            f"{path}: holds the sources {', '.join(sources)}; write sources in the job, or choose another mosaic.path"
        )
    if names & {"zarr.json", ".zgroup", ".zarray", ".zmetadata"}:
        raise RefusedError(
            f"{path}: is a Zarr store that this downloader did not make; choose another mosaic.path"
        )
    raise RefusedError(
        f"{path}: holds files that this downloader did not make ({min(names)!r} for one);"
        " choose another mosaic.path, or an empty folder"
    )


def write_hierarchy(store: Store, identity: Identity, broken: Collection[str] = ()) -> None:
    """Write the Zarr metadata that is missing or grew, and state at its root what the mosaic is. Raises OSError.

    Args:
        store: the mosaic's objects.
        identity: what the mosaic is.
        broken: keys of `zarr.json`s that exist and are to be written anew.
    """
    statement = statement_of(identity)
    if statement.copy is not None:
        key, data = statement.copy
        if not any(key == there and size == len(data) for there, size in store.list(key.rpartition("/")[0])):
            store.put(key, [data])
            store.flush([key])
    if ensure_hierarchy(store, identity.layouts, statement.attributes, broken) and statement.copy is not None:
        key, _ = statement.copy
        folder, _, own = key.rpartition("/")
        earlier = (there for there, _ in store.list(folder) if there.startswith(f"{folder}/mosaic-"))
        store.delete([there for there in earlier if not there.endswith(own)])


def delete_mosaic(store: Store, identity: Identity, check: Callable[[], None]) -> None:
    """Delete what the identity names, and no more: first what readers look for, last the marker itself.

    Args:
        store: the mosaic's objects.
        identity: what the mosaic is.
        check: called before each step; raises LockedError where the mosaic is another run's by now.
    """
    groups: tuple[GroupLayout, ...] = identity.layouts
    store.delete(["zarr.json", *(f"{layout.prefix}zarr.json" for layout in groups)])
    for layout in groups:
        for name in (*layout.arrays, *layout.beside, "x", "y", "spatial_ref", "coverage"):
            check()
            store.delete_folder(f"{layout.prefix}{name}")
        if layout.group.name:
            store.delete_empty(layout.group.name)
    check()
    if any(key == OVERVIEWS_RECORD for key, _ in store.list(OWN)):
        store.delete_folder(OVERVIEWS)
    check()
    store.delete_folder(LEDGER)
    store.delete([f"{OWN}/zarr.json", OVERVIEWS_RECORD, JOB, MARKER])
