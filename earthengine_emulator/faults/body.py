"""Damage to the contents of a good answer: bodies that are not what was asked for (docs/faults.md, payload rows)."""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from earthengine_emulator.api.replies import Page, Reply

Parameters = Mapping[str, Any]
Damage = Callable[[Reply, Parameters], Reply]
Change = Callable[[dict[str, Any], Page, Parameters], dict[str, Any]]


def _pages(change: Change) -> Damage:
    """Return a damage to pages of listings, made of a change to their document."""

    def damage(reply: Reply, parameters: Parameters) -> Reply:
        if reply.page is None or not isinstance(reply.body, bytes):
            return reply
        return replace(
            reply, body=json.dumps(change(json.loads(reply.body), reply.page, parameters)).encode()
        )

    return damage


def _empty_page(_body: dict[str, Any], page: Page, _parameters: Parameters) -> dict[str, Any]:
    return {"nextPageToken": page.here}


def _many_pages(body: dict[str, Any], page: Page, _parameters: Parameters) -> dict[str, Any]:
    if page.key not in body:
        return body  # an empty page has its own token: the one behind an entry would skip that entry
    one = {page.key: body[page.key][:1]}
    return {**one, "nextPageToken": page.after_one} if page.after_one else one


def _repeated_token(body: dict[str, Any], page: Page, _parameters: Parameters) -> dict[str, Any]:
    return {**body, "nextPageToken": page.asked or page.here}


def _missing_field(body: dict[str, Any], page: Page, parameters: Parameters) -> dict[str, Any]:
    for entry in body.get(page.key, []):
        entry.pop(parameters["field"], None)
    return body


PAGE_DAMAGES: Final[Mapping[str, Damage]] = {
    "empty-page": _pages(_empty_page),
    "many-pages": _pages(_many_pages),
    "repeated-token": _pages(_repeated_token),
    "missing-field": _pages(_missing_field),
}


def whole(reply: Reply) -> bytes:
    """Return the body of a reply in one piece."""
    return (
        reply.body if isinstance(reply.body, bytes) else b"".join(bytes(slab) for slab in reply.body.slabs())
    )


def _with(reply: Reply, body: bytes, **headers: str) -> Reply:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(reply.status, body, reply.content_type, {**reply.headers, **more})


def _array(reply: Reply) -> np.ndarray[Any, Any]:
    loaded: np.ndarray[Any, Any] = np.load(
        io.BytesIO(whole(reply)), allow_pickle=False, max_header_size=65_535
    )
    return loaded


def _npy(reply: Reply, array: np.ndarray[Any, Any], version: tuple[int, int] = (1, 0)) -> Reply:
    """Return a reply that holds another array, written by numpy's own writer."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version, allow_pickle=True)
    return _with(reply, file.getvalue())


def _start(body: bytes) -> int:
    """Return the offset of the first pixel in an NPY body."""
    return 10 + int.from_bytes(body[8:10], "little")


def _truncated(reply: Reply, parameters: Parameters) -> Reply:
    body = whole(reply)
    start = _start(body)
    return _with(reply, body[: start + int((len(body) - start) * parameters["fraction"])])


def _trailing(reply: Reply, parameters: Parameters) -> Reply:
    return _with(reply, whole(reply) + bytes(range(256)) * (int(parameters["bytes"]) // 256 + 1))


def _magic(reply: Reply, _parameters: Parameters) -> Reply:
    return _with(reply, b"\x93NUMPX" + whole(reply)[6:])


def _version(reply: Reply, parameters: Parameters) -> Reply:
    """Return the array in format version 2.0 or 3.0, whose length takes four bytes."""
    return _npy(reply, _array(reply), (int(parameters["major"]), 0))


def _header(body: bytes, text: bytes) -> bytes:
    return body[:8] + len(text).to_bytes(2, "little") + text + body[_start(body) :]


def _huge_header(reply: Reply, _parameters: Parameters) -> Reply:
    body = whole(reply)
    text = body[10 : _start(body)].rstrip()
    return _with(reply, _header(body, text.ljust(65_534) + b"\n"))


def _header_garbage(reply: Reply, _parameters: Parameters) -> Reply:
    body = whole(reply)
    return _with(reply, _header(body, b"__import__('os').getcwd()".ljust(_start(body) - 11) + b"\n"))


def _shape(reply: Reply, _parameters: Parameters) -> Reply:
    return _npy(reply, _array(reply)[:-1])


def _transposed(reply: Reply, _parameters: Parameters) -> Reply:
    array = _array(reply)
    return _npy(reply, array.reshape(array.shape[::-1]))


def _structured(array: np.ndarray[Any, Any], columns: list[tuple[str, str, str]]) -> np.ndarray[Any, Any]:
    """Return an array of (new name, dtype, old name) columns."""
    result = np.empty(array.shape, [(name, dtype) for name, dtype, _ in columns])
    for name, _, old in columns:
        result[name] = array[old]
    return result


def _columns(array: np.ndarray[Any, Any]) -> list[tuple[str, str, str]]:
    names = array.dtype.names or ()
    return [(name, array.dtype[name].str, name) for name in names]


def _fields_missing(reply: Reply, _parameters: Parameters) -> Reply:
    array = _array(reply)
    columns = _columns(array)
    if len(columns) == 1:
        return _npy(reply, _structured(array, [("other", columns[0][1], columns[0][2])]))
    return _npy(reply, _structured(array, columns[:-1]))


def _fields_extra(reply: Reply, _parameters: Parameters) -> Reply:
    array = _array(reply)
    columns = _columns(array)
    return _npy(reply, _structured(array, [*columns, ("extra", *columns[0][1:])]))


def _fields_order(reply: Reply, _parameters: Parameters) -> Reply:
    array = _array(reply)
    return _npy(reply, _structured(array, _columns(array)[::-1]))


_WIDER: Final = {
    "u1": "<u2",
    "i1": "<i2",
    "u2": "<u4",
    "i2": "<i4",
    "u4": "<f8",
    "i4": "<f8",
    "f4": "<f8",
    "f8": "<f4",
}


def _dtype(reply: Reply, _parameters: Parameters) -> Reply:
    array = _array(reply)
    return _npy(reply, _structured(array, [(n, _WIDER[dtype[1:]], old) for n, dtype, old in _columns(array)]))


def _fortran(reply: Reply, _parameters: Parameters) -> Reply:
    """Return the array with columns first; the header says so even where numpy would see no difference."""
    body, array = whole(reply), _array(reply)
    text = body[10 : _start(body)].replace(b"'fortran_order': False", b"'fortran_order': True ")
    return _with(reply, body[:10] + text + array.tobytes(order="F"))


def _big_endian(reply: Reply, _parameters: Parameters) -> Reply:
    array = _array(reply)
    return _npy(reply, array.astype(array.dtype.newbyteorder(">")))


def _plain(reply: Reply, _parameters: Parameters) -> Reply:
    array = _array(reply)
    return _npy(reply, array[(array.dtype.names or ("",))[0]].copy())


class _Marker:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._path,)


def _object(reply: Reply, parameters: Parameters) -> Reply:
    """Return an object array of the right shape, whose first element is a marker if a path is given."""
    shape = _array(reply).shape
    array = np.zeros(shape, object)
    if parameters["path"] is not None:
        array[0, 0] = _Marker(str(parameters["path"]))
    return _npy(reply, array)


def _gzip(reply: Reply, _parameters: Parameters) -> Reply:
    return _with(reply, gzip.compress(whole(reply), 1), Content_Encoding="gzip")


def _gzip_bomb(reply: Reply, parameters: Parameters) -> Reply:
    """Return the good body's start, then zeros that compress a thousandfold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(whole(reply))]
    zeros = bytes(1 << 20)
    parts += [packer.compress(zeros) for _ in range(int(parameters["megabytes"]))]
    return _with(reply, b"".join([*parts, packer.flush()]), Content_Encoding="gzip")


def _oversized(reply: Reply, parameters: Parameters) -> Reply:
    return _with(reply, whole(reply) + bytes(int(parameters["megabytes"]) << 20))


DAMAGES: Final[Mapping[str, Damage]] = {
    "npy-truncated": _truncated,
    "npy-trailing": _trailing,
    "npy-magic": _magic,
    "npy-version": _version,
    "npy-huge-header": _huge_header,
    "npy-header-garbage": _header_garbage,
    "npy-shape": _shape,
    "npy-transposed": _transposed,
    "npy-fields-missing": _fields_missing,
    "npy-fields-extra": _fields_extra,
    "npy-fields-order": _fields_order,
    "npy-dtype": _dtype,
    "npy-fortran": _fortran,
    "npy-big-endian": _big_endian,
    "npy-plain": _plain,
    "npy-object": _object,
    "gzip": _gzip,
    "gzip-bomb": _gzip_bomb,
    "oversized": _oversized,
    **PAGE_DAMAGES,
}
