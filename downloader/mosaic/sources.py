"""A mosaic of several sources: a Zarr group whose members are mosaics of their own, one for each source."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from downloader.errors import JobError, RefusedError
from downloader.mosaic.format.documents import ROOT, dump, group_document
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.storage.disk_errors import trying
from downloader.mosaic.storage.location import (
    SOURCES,
    Folder,
    Location,
    MosaicPath,
    errors_of,
    locate,
    source_names,
)
from downloader.mosaic.storage.store import put_all
from downloader.progress.heartbeat import RunStatus, run_at


def part(path: MosaicPath, name: str) -> str:
    """Return the path or URL of a source's own mosaic."""
    return f"{locate(path).name.rstrip('/')}/{name}"


def mosaics(path: MosaicPath) -> dict[str, MosaicPath]:
    """Return name → path of the mosaics at a path: those of its sources, or the one, whose name is empty."""
    return parts(path) or {"": path}


def parts(path: MosaicPath) -> dict[str, MosaicPath]:
    """Return name → path of the mosaics of a mosaic of several sources; empty for everything else."""
    return {name: part(path, name) for name in source_names(locate(path))}


def run_of(path: Path | str) -> RunStatus | None:
    """Return the state of the run that writes a mosaic, of several sources the one under way; None where none is known."""
    own = [Path(one) for one in parts(path).values()] if isinstance(path, Path) else []
    runs = [run_at(one) for one in (path, *own)]
    known = [one for one in runs if one is not None]
    return next((one for one in known if one.is_alive), known[0] if known else None)


def part_of_group(path: MosaicPath, group: str | None) -> tuple[MosaicPath, str | None] | None:
    """Return the mosaic of the source that a group belongs to, and the group's name there; None for a mosaic of one source.

    Args:
        path: the mosaic.
        group: `SOURCE`, or `SOURCE/GROUP` where a source has several.

    Raises:
        JobError: there is no such source, or none is named.
    """
    there = parts(path)
    if not there:
        return None
    name, _, inner = (group or "").partition("/")
    if name not in there:
        told = "name one, or use open_tree" if group is None else f"none is {group!r}"
        raise JobError(f"{path}: has the groups {', '.join(there)}; {told}")
    return there[name], inner or None


def join_parts(path: MosaicPath, names: Iterable[str]) -> None:
    """Write the group that holds the mosaics of sources, with the metadata of all that is there.

    Sources that a mosaic has and a job leaves out stay; those of which it has nothing go.

    Raises:
        RefusedError: something else is there.
        StoppedError: the disk is full or does not work.
    """
    location, wanted = locate(path), tuple(names)
    known = source_names(location)
    for name in () if known else location.entries():
        # A run that was killed at its very start leaves a staged file; a group that was lost is written anew.
        if not name.startswith(f"{ROOT}#") and not (name in wanted and _is_begun(path, name)):
            raise RefusedError(
                f"{location.name}: holds something else than a mosaic of several sources; choose another mosaic.path"
            )
    names = [name for name in dict.fromkeys((*known, *wanted)) if name in wanted or _is_begun(path, name)]
    members: dict[str, dict[str, Any]] = {}
    for name in names:
        child = _document(locate(part(path, name)))
        if child is not None:
            inner = child.pop("consolidated_metadata", {}).get("metadata", {})
            members[name] = group_document(child["attributes"], {})
            members |= {f"{name}/{key}": document for key, document in inner.items()}
    document = dump(group_document({SOURCES: names}, members))
    if location.read(ROOT) == document:
        return
    if isinstance(location, Folder):
        with errors_of(location):
            location.path.mkdir(parents=True, exist_ok=True)
    store = location.store()
    write = partial(put_all, store, [(ROOT, document)])
    trying(store, "the metadata of all sources", len(document), write)


def _is_begun(path: MosaicPath, name: str) -> bool:
    """Return whether there is a mosaic of a source."""
    return read_identity(part(path, name)) is not None


def _document(location: Location) -> dict[str, Any] | None:
    try:
        found = json.loads(location.read(ROOT) or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("attributes"), dict) else None


def member(name: str, group: str) -> str:
    """Return the name of a source's group in the mosaic of all sources; a source without groups gives its own name."""
    return f"{name}/{group}" if name and group else name or group
