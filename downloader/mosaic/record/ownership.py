"""Recognise mosaics of this package by their marker, or by its copy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import lru_cache
from typing import Final, TypeVar

from downloader.errors import RefusedError
from downloader.mosaic.format.documents import ROOT
from downloader.mosaic.format.hierarchy import STATEMENT, ensure_hierarchy
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.overviews.levels import OVERVIEWS
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.identity_json import (
    identity_from_document,
    is_copy,
    read_copy,
    statement_of,
)
from downloader.mosaic.record.paths import JOB, LEDGER, MARKER, OVERVIEWS_RECORD, OWN
from downloader.mosaic.storage.location import Location, MosaicPath, locate, source_names
from downloader.mosaic.storage.store import Store, put_changed

T = TypeVar("T")

_AT_HAND: Final = 4 * 2**20
"""Bytes of a marker up to which what it says is kept: some 15,000 images, which take a second to read and 50 MB."""


def read_identity(path: MosaicPath) -> Identity | None:
    """Return the identity of the mosaic at `path`, from its marker or, where that was lost, its copy; None for no mosaic.

    Raises:
        RefusedError: it was made by another version of the format, it is not ours or damaged, or cannot be read.
    """
    location = locate(path)
    marker, attributes = location.read(MARKER), None
    if marker is None or not _is_document(marker):
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            attributes = json.loads(location.read(ROOT) or b"")["attributes"]
    stated = attributes.get(STATEMENT) if isinstance(attributes, dict) else None
    try:
        if is_copy(stated):
            marker = read_copy(stated, location.read)
        return None if marker is None else _identity(marker)
    except RefusedError as error:
        raise RefusedError(f"{location.name}: {error}") from error


def has_marker(path: MosaicPath) -> bool:
    """Return whether there is a readable marker, of whatever version."""
    marker = locate(path).read(MARKER)
    return marker is not None and _is_document(marker)


def _last_kept(read: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Cache the result for the last marker, unless that is large: a process would hold it to its end."""
    cached = lru_cache(maxsize=1)(read)
    return lambda data: (cached if len(data) <= _AT_HAND else read)(data)


@_last_kept
def _identity(data: bytes) -> Identity:
    """Parse a marker."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            f"{MARKER} cannot be read ({error}); move the folder away and start again"
        ) from error
    return identity_from_document(document if isinstance(document, dict) else {})


@_last_kept
def _is_document(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


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
    attributes, copy = statement_of(identity)
    put_changed(store, [copy])
    root = ensure_hierarchy(store, identity.layouts, attributes, broken)
    if root is not None:
        # Also those that a run left which was killed here.
        copies = [key for key, _ in store.list(copy[0].rpartition("/")[0]) if is_copy(key)]
        store.delete(key for key in (*copies, root.get(STATEMENT)) if is_copy(key) and key != copy[0])


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
        for name in (
            *layout.arrays,
            *(array.name for array in layout.beside),
            "x",
            "y",
            "spatial_ref",
            "coverage",
        ):
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
