"""Requests in parts: halves of one that the service finds too much, and a first part that ends in time."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from downloader.planning.group import Group
from downloader.planning.requests import Request, TileBlock


def halves(group: Group, request: Request) -> tuple[Request, ...]:
    """Return the two halves of a request: to one slice, along the longer side to one tile, then fewer bands.

    Empty where one tile and one band are left.
    """
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


def cut(group: Group, request: Request, most_bytes: float) -> tuple[Request, ...]:
    """Return a request in parts, the first of which brings at most `most_bytes` of pixels, but a tile at least.

    It is the largest strip of tiles that is no more, or of a stack the most slices; the other parts are what remains. The
    request alone is returned where it brings no more.
    """
    most_tiles = most_bytes * request.tiles / weight(group, request)
    blocks = _strips(request.block, most_tiles)
    if len(blocks) == 1:
        return (request,)
    return tuple(group.request(request.shard, block, request.bands) for block in blocks)


def _strips(block: TileBlock, most: float) -> list[TileBlock]:
    """Return a block in parts, the first of at most `most` tiles, but one at least."""
    if block.tiles <= max(1.0, most):
        return [block]
    if block.slices > 1:
        count = min(max(1, int(most / (block.rows * block.columns))), block.slices - 1)
        rest = replace(block, slice=block.slice + count, slices=block.slices - count)
        return [*_strips(replace(block, slices=count), most), rest]
    rows = min(int(most / block.columns), block.rows - 1)
    columns = min(int(most / block.rows), block.columns - 1)
    if rows * block.columns > columns * block.rows or (not columns and block.rows > block.columns):
        rows = max(1, rows)
        rest = replace(block, row=block.row + rows, rows=block.rows - rows)
        return [*_strips(replace(block, rows=rows), most), rest]
    columns = max(1, columns)
    rest = replace(block, column=block.column + columns, columns=block.columns - columns)
    return [*_strips(replace(block, columns=columns), most), rest]


def apart(group: Group, request: Request, slices: Container[int]) -> tuple[Request, ...]:
    """Return a request's parts: each of some of its slices by itself, and the runs of others between them."""
    b, parts, first = request.block, [], request.block.slice
    for number in b.numbers:
        if number in slices:
            parts += [(first, number - first), (number, 1)]
            first = number + 1
    parts.append((first, b.slice + b.slices - first))
    return tuple(
        group.request(request.shard, replace(b, slice=begin, slices=count), request.bands)
        for begin, count in parts
        if count
    )


def weight(group: Group, request: Request) -> int:
    """Return the bytes of pixels that a request brings."""
    itemsize = sum(group.bands[band].dtype.itemsize for band in request.bands)
    return request.window.pixels * itemsize * request.block.slices
