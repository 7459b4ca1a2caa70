"""Halving a request that the service finds too much: to one slice, along the longer side to one tile, then fewer bands."""

from __future__ import annotations

from dataclasses import replace

from downloader.planning.group import Group
from downloader.planning.requests import Request, TileBlock


def halves(group: Group, request: Request) -> tuple[Request, ...]:
    """Return the two halves of a request; empty where one tile and one band are left."""
    b = request.block
    if b.slices > 1:
        half = b.slices // 2
        sliced = (replace(b, slices=half), replace(b, slice=b.slice + half, slices=b.slices - half))
        return tuple(group.request(request.shard, part, request.bands) for part in sliced)
    if b.tiles > 1:
        if b.columns >= b.rows:
            half = b.columns // 2
            parts = (
                TileBlock(b.slice, b.row, b.column, b.rows, half),
                TileBlock(b.slice, b.row, b.column + half, b.rows, b.columns - half),
            )
        else:
            half = b.rows // 2
            parts = (
                TileBlock(b.slice, b.row, b.column, half, b.columns),
                TileBlock(b.slice, b.row + half, b.column, b.rows - half, b.columns),
            )
        return tuple(group.request(request.shard, part, request.bands) for part in parts)
    if len(request.bands) > 1:
        half = len(request.bands) // 2
        return tuple(
            group.request(request.shard, b, run) for run in (request.bands[:half], request.bands[half:])
        )
    return ()


def weight(group: Group, request: Request) -> int:
    """Return the bytes of pixels that a request brings."""
    itemsize = sum(group.bands[band].dtype.itemsize for band in request.bands)
    return request.window.pixels * itemsize * request.block.slices
