"""Read NPY bodies (docs/contract.md §4.3): zero-copy, never unpickled.

numpy reads the header, up to any length that version 1.0 can state; a body either is exactly the pixels asked for, or
`NpyError` is raised.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib import format as npy_format

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer


MAX_HEADER_BYTES: Final = 65_535
"""Longest header that the two-byte length field of version 1.0 can state; 1,024 bands with short names take 17,398."""

_PREFIX: Final = npy_format.MAGIC_LEN + 2
"""Magic, two bytes of version, two bytes of header length."""

_PLAIN: Final = re.compile(r"[<>][biuf][0-9]{1,2}|\|[biu]1")
"""Plain numbers, with a byte order where they have several bytes."""


class NpyError(ValueError):
    """The body is not the pixels asked for; the message is a short reason."""


def decode(body: Buffer, expected: np.dtype[np.void] | None, shape: tuple[int, int]) -> NDArray[np.void]:
    """Return the pixels in `body`.

    Other spellings of the same data are accepted: `u1`, `|u1` and `<u1`; big-endian numbers (swapped); the asked
    fields in another order (put right by name); column-major order of a single row or column; a plain array
    where one band was asked for. Everything else is refused: any other type, missing or extra fields, a wrong
    shape, too short or too long a body.

    Args:
        body: the answer, from the magic on.
        expected: packed structured type in little-endian order; None takes the answer's own fields and types
            (made little-endian), to verify band types.
        shape: (height, width).

    Returns:
        A structured (height, width) array of exactly `expected`; a view of `body` wherever no byte has to move.

    Raises:
        NpyError: with a short reason.
    """
    view = memoryview(body).cast("B")
    if bytes(view[: npy_format.MAGIC_LEN - 2]) != npy_format.MAGIC_PREFIX:
        raise NpyError("no NPY magic")
    if len(view) < _PREFIX:
        raise NpyError("cut within the NPY prefix")
    if view[6] != 1:
        raise NpyError(f"NPY version {view[6]}.{view[7]}, only 1.x is sent")
    start = _PREFIX + struct.unpack_from("<H", view, npy_format.MAGIC_LEN)[0]
    if start > len(view):
        raise NpyError("cut within the NPY header")
    answered_shape, is_fortran, dtype = _header(bytes(view[npy_format.MAGIC_LEN : start]))
    if answered_shape != shape:
        raise NpyError(f"shape {answered_shape}, wanted {shape}")
    data = view[start:]
    wanted_bytes = shape[0] * shape[1] * dtype.itemsize
    if len(data) != wanted_bytes:
        raise NpyError(f"{len(data)} bytes of pixels, the header promises {wanted_bytes}")
    if is_fortran and min(shape) > 1:
        raise NpyError("Fortran order")
    pixels = np.frombuffer(data, dtype=dtype).reshape(shape)
    return _as_expected(pixels, _own_type(dtype) if expected is None else expected)


def _as_expected(pixels: NDArray[Any], expected: np.dtype[np.void]) -> NDArray[np.void]:
    if pixels.dtype == expected:
        # Equal types may be spelt differently (`|u1`, `<u1`); the view makes the type the very one asked for.
        return pixels.view(expected)
    names = expected.names or ()
    if pixels.dtype.names is None:
        if len(names) != 1 or pixels.dtype.newbyteorder("<") != expected[0]:
            raise NpyError(f"a plain array of {pixels.dtype.str}, wanted fields {_listed(names)}")
        return pixels.astype(expected[0], copy=False).view(expected)
    answered = pixels.dtype.names
    if set(answered) != set(names):
        raise NpyError(f"fields {_listed(answered)}, wanted {_listed(names)}")
    result = np.empty(pixels.shape, dtype=expected)
    for name in names:
        field = pixels[name]
        if field.dtype.newbyteorder("<") != expected[name]:
            raise NpyError(f"field {name} is {field.dtype.str}, wanted {expected[name].str}")
        result[name] = field
    return result


def _own_type(dtype: np.dtype[Any]) -> np.dtype[np.void]:
    """Return the answer's own fields, little-endian and packed."""
    if dtype.names is None:
        raise NpyError(f"a plain array of {dtype.str}, wanted fields")
    return np.dtype([(name, dtype[name].newbyteorder("<")) for name in dtype.names])


@lru_cache(maxsize=64)
def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type. Cached: a job sees few distinct headers, and a long one costs milliseconds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd literals make the compiler warn; they are refused below
            shape, is_fortran, dtype = npy_format.read_array_header_1_0(
                io.BytesIO(data), max_header_size=MAX_HEADER_BYTES
            )
    except Exception as error:  # numpy parses with tokenize and literal_eval, which raise all sorts
        raise NpyError(f"unreadable NPY header: {str(error)[:80]}") from error
    if any(side < 0 for side in shape):
        raise NpyError("a negative length")
    # Nothing but packed plain numbers: an object type would be a pickle.
    fields = [dtype] if dtype.names is None else [dtype[name] for name in dtype.names]
    if not all(_PLAIN.fullmatch(field.str) for field in fields):
        raise NpyError("a type that is no plain number")
    if sum(field.itemsize for field in fields) != dtype.itemsize:
        raise NpyError("fields that are not packed")
    return shape, is_fortran, dtype


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f", … ({len(names)})" if len(names) > 4 else "")
