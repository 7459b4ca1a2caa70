"""Reading NPY bodies: zero-copy, never unpickled, every byte of the header checked (contract §4.3).

numpy's own `load` is not used: it refuses headers beyond 10,000 characters (some 600 bands), copies, and would
have to be told not to unpickle. Here a body either is exactly the pixels asked for, or `NpyError`.
"""

from __future__ import annotations

import ast
import re
import struct
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

__all__ = ["MAX_HEADER_BYTES", "NpyError", "decode"]

MAX_HEADER_BYTES: Final = 65_535
"""What the two-byte length field of version 1.0 can say; 1,024 bands with short names take 17,398."""

_MAGIC: Final = b"\x93NUMPY"
_PREFIX: Final = len(_MAGIC) + 4
"""Magic, two bytes of version, two bytes of header length."""

_TYPE: Final = re.compile(r"[<>][biuf][0-9]{1,2}|\|?[biu]1")
"""Plain numbers of a stated byte order, if they have one. `O` would be a pickle, `=` the order of an unknown machine."""


class NpyError(ValueError):
    """The body is not the pixels asked for; the message is a short reason."""


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[np.generic]
    fortran: bool
    shape: tuple[int, ...]


def decode(body: Buffer, expected: np.dtype[np.void] | None, shape: tuple[int, int]) -> NDArray[np.void]:
    """The pixels in `body`.

    Other spellings of the same data are accepted: `u1`, `|u1` and `<u1`; big-endian numbers (swapped); the asked
    fields in another order (put right by name); column-major order of a single row or column; a plain array
    where one band was asked for. Everything else is refused: any other type, missing or extra fields, a wrong
    shape, too short or too long a body.

    Args:
        body: the answer, from the magic on.
        expected: packed structured type in little-endian order; None takes the answer's own fields and types
            (made little-endian), as a canary needs.
        shape: (height, width).

    Returns:
        A structured (height, width) array of exactly `expected`; a view of `body` wherever no byte has to move.

    Raises:
        NpyError: with a short reason.
    """
    view = memoryview(body).cast("B")
    if bytes(view[: len(_MAGIC)]) != _MAGIC:
        raise NpyError("no NPY magic")
    if len(view) < _PREFIX:
        raise NpyError("cut within the NPY prefix")
    if view[6] != 1:
        raise NpyError(f"NPY version {view[6]}.{view[7]}, only 1.x is sent")
    start = _PREFIX + struct.unpack_from("<H", view, 8)[0]
    if start > len(view):
        raise NpyError("cut within the NPY header")
    header = _parse(bytes(view[_PREFIX:start]))
    if header.shape != shape:
        raise NpyError(f"shape {header.shape}, wanted {shape}")
    data = view[start:]
    wanted_bytes = shape[0] * shape[1] * header.dtype.itemsize
    if len(data) != wanted_bytes:
        raise NpyError(f"{len(data)} bytes of pixels, the header promises {wanted_bytes}")
    if header.fortran and min(shape) > 1:
        raise NpyError("Fortran order")
    pixels = np.frombuffer(data, dtype=header.dtype).reshape(shape)
    return _as_expected(pixels, _own_type(header.dtype) if expected is None else expected)


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
    """The answer's own fields, little-endian and packed."""
    if dtype.names is None:
        raise NpyError(f"a plain array of {dtype.str}, wanted fields")
    return np.dtype([(name, dtype[name].newbyteorder("<")) for name in dtype.names])


@lru_cache(maxsize=64)
def _parse(header: bytes) -> _Header:
    """What a header says. Cached: a job sees few distinct ones, and a long one costs milliseconds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd literals make the compiler warn; they are refused below
            document = ast.literal_eval(header.decode("latin-1").strip())
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise NpyError("unreadable NPY header") from error
    if not isinstance(document, dict) or set(document) != {"descr", "fortran_order", "shape"}:
        raise NpyError("NPY header without exactly descr, fortran_order and shape")
    fortran, shape = document["fortran_order"], document["shape"]
    if not isinstance(fortran, bool):
        raise NpyError("fortran_order is no truth value")
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise NpyError("shape is no tuple of lengths")
    return _Header(_dtype(document["descr"]), fortran, shape)


def _dtype(descr: object) -> np.dtype[np.generic]:
    try:
        if isinstance(descr, str):
            return np.dtype(_plain(descr))
        if isinstance(descr, list) and descr:
            return np.dtype([(name, _plain(code)) for name, code in map(_pair, descr)])
    except (TypeError, ValueError) as error:
        raise NpyError(f"descr numpy refuses: {str(error)[:80]}") from error
    raise NpyError("descr is no list of fields")


def _pair(field: object) -> tuple[str, str]:
    match field:
        case (str(name), str(code)) if name:
            return name, code
    raise NpyError("descr holds more than names and plain types")


def _plain(code: str) -> str:
    if not _TYPE.fullmatch(code):
        raise NpyError(f"type {code[:20]!r} is no plain number")
    return code


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f", … ({len(names)})" if len(names) > 4 else "")
