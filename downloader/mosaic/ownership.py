"""Whose folder a path is: what was made here is known by its marker, or by the statement in its Zarr attributes."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Final

from downloader.errors import RefusedError
from downloader.mosaic.hierarchy import OWN, ROOT
from downloader.mosaic.identity import MARKER, Identity
from downloader.mosaic.layout import GroupLayout
from downloader.mosaic.ledger import LEDGER
from downloader.mosaic.store import Store

__all__ = ["JOB", "delete_mosaic", "read_identity", "read_marker", "refuse_strangers"]

JOB: Final = ".downloader/job.yaml"
"""The job as it was written by whoever created or extended the mosaic."""


def read_identity(path: str | Path) -> Identity | None:
    """What the mosaic at `path` is, from its marker, or where that was lost from its attributes; None for no mosaic.

    Raises:
        RefusedError: the mosaic was made by a newer version, or its marker is none of ours or damaged beyond help.
    """
    known = read_marker(path)
    if known is not None:
        return known
    try:
        root = json.loads((Path(path) / ROOT).read_bytes())
        attributes = root["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        attributes = None
    stated = Identity.from_root(attributes, str(path)) if isinstance(attributes, dict) else None
    marker = Path(path) / MARKER
    if stated is None and marker.is_file():
        return Identity.from_bytes(marker.read_bytes(), str(path))  # refuses, and says why
    return stated


def read_marker(path: str | Path) -> Identity | None:
    """What the marker says; None where there is none, or none that is JSON.

    Raises:
        RefusedError: it can be read, and is of a newer version or not ours.
    """
    try:
        data = (Path(path) / MARKER).read_bytes()
        readable = isinstance(json.loads(data), dict)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return Identity.from_bytes(data, str(path)) if readable else None


def refuse_strangers(path: Path) -> None:
    """Raise RefusedError where `path` is something that no run of ours has made."""
    if not path.exists():
        if path.is_symlink():
            raise RefusedError(f"{path}: is a link to nowhere; choose another mosaic.path")
        return
    if not path.is_dir():
        raise RefusedError(f"{path}: exists and is no folder; choose another mosaic.path")
    if (path / MARKER).is_file():
        return
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return
    if names == {OWN}:
        # A run that was killed at its very start leaves its lock, and perhaps a staged file.
        ours = re.compile(r"lock|(job\.yaml|mosaic\.json)(#\d+)?")
        if all(ours.fullmatch(entry.name) for entry in (path / OWN).iterdir()):
            return
    if read_identity(path) is not None:
        return
    if names & {"zarr.json", ".zgroup", ".zarray", ".zmetadata"}:
        raise RefusedError(
            f"{path}: is a Zarr store that this downloader did not make; choose another mosaic.path"
        )
    raise RefusedError(
        f"{path}: holds files that this downloader did not make ({min(names)!r} for one);"
        " choose another mosaic.path, or an empty folder"
    )


def delete_mosaic(path: Path, store: Store, identity: Identity) -> None:
    """Delete what the identity says is ours, and no more: first what readers look for, last the marker itself."""
    groups: tuple[GroupLayout, ...] = identity.layouts
    store.delete(["zarr.json", *(f"{layout.prefix}zarr.json" for layout in groups)])
    for layout in groups:
        along = (array.name for array in layout.along)
        for name in (*layout.arrays, *along, "x", "y", "spatial_ref", "coverage"):
            store.delete_folder(f"{layout.prefix}{name}")
        if layout.group.name:
            with contextlib.suppress(OSError):
                (path / layout.group.name).rmdir()
    store.delete_folder(LEDGER)
    store.delete([f"{OWN}/zarr.json", f"{OWN}/coordinates", JOB, MARKER])
