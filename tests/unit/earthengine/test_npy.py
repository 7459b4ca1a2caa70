"""NPY bodies: whatever numpy writes is read back, and nothing else ever becomes pixels."""

import io
import pickle
import struct

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.earthengine.npy import MAX_HEADER_BYTES, NpyError, decode

CODES = ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8")
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)


def body_of(array, *, version=(1, 0)):
    """The body as numpy's own writer makes it."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version, allow_pickle=True)
    return file.getvalue()


def raw(header, data=b"", *, version=(1, 0), length=None):
    """A body with any header at all."""
    text = header.encode("latin-1")
    return (
        b"\x93NUMPY"
        + bytes(version)
        + struct.pack("<H", len(text) if length is None else length)
        + text
        + data
    )


def scene(shape=(3, 4), fields=(("B2", "<u2"), ("B8", "<u2"))):
    pixels = np.zeros(shape, dtype=np.dtype(list(fields)))
    for number, name in enumerate(pixels.dtype.names):
        pixels[name] = (np.arange(shape[0] * shape[1]).reshape(shape) * 7 + number * 1000) % 65_521
    return pixels


@st.composite
def pictures(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    dtype = np.dtype([(name, draw(st.sampled_from(CODES))) for name in names])
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return draw(hnp.arrays(dtype, shape))


def same(left, right):
    """Bit for bit, NaNs included."""
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@given(pictures())
def test_what_numpy_writes_is_read_back(pixels):
    assert same(decode(body_of(pixels), pixels.dtype, pixels.shape), pixels)
    assert same(decode(body_of(pixels), None, pixels.shape), pixels)


@given(pictures(), st.randoms(use_true_random=False))
def test_fields_in_another_order_and_byte_order_come_out_as_asked(pixels, random):
    names = list(pixels.dtype.names)
    random.shuffle(names)
    sent = np.empty(pixels.shape, dtype=[(name, pixels.dtype[name].newbyteorder(">")) for name in names])
    for name in names:
        sent[name] = pixels[name]
    assert same(decode(body_of(sent), pixels.dtype, pixels.shape), pixels)


@settings(max_examples=500)
@given(st.data())
def test_a_changed_body_is_refused_or_holds_data_of_the_type_asked_for(data):
    """A flipped bit among the pixels is no business of this layer; one in the header must never move them."""
    pixels = scene()
    body = bytearray(body_of(pixels))
    start = len(body) - pixels.nbytes
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, start - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(body), pixels.dtype, pixels.shape)
    except NpyError:
        return
    assert found.dtype == pixels.dtype
    swapped = b">u2" in body[:start]
    if not swapped:
        assert same(found, pixels)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise):
    with pytest.raises(NpyError):
        decode(noise, np.dtype([("B2", "<u2")]), (1, 1))


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_any_header_text_is_refused_or_understood(text):
    with pytest.raises(NpyError):
        decode(raw(text), np.dtype([("B2", "<u2")]), (1, 1))


@given(st.integers(0, 10_000))
def test_any_other_length_is_refused(cut):
    body = body_of(scene())
    for wrong in (body[: cut % len(body)], body + b"\0" * (cut + 1)):
        with pytest.raises(NpyError):
            decode(wrong, scene().dtype, (3, 4))


def test_the_pixels_are_a_view_of_the_body():
    body = body_of(scene())
    found = decode(body, scene().dtype, (3, 4))
    assert np.shares_memory(found, np.frombuffer(body, dtype="u1"))


@pytest.mark.parametrize("code", ["u1", "|u1", "<u1", ">u1"])
def test_one_byte_types_may_be_spelt_in_any_way(code):
    header = f"{{'descr': [('Q', '{code}')], 'fortran_order': False, 'shape': (1, 3), }}"
    found = decode(raw(header, b"\x01\x02\xff"), np.dtype([("Q", "u1")]), (1, 3))
    assert found["Q"].tolist() == [[1, 2, 255]]
    assert found.dtype == np.dtype([("Q", "u1")])


def test_headers_beyond_numpys_limit_are_read():
    """1,024 bands: numpy's own `load` refuses the header (docs/contract.md §4.3)."""
    pixels = scene((1, 1), tuple((f"B{k}", "<u2") for k in range(1024)))
    body = body_of(pixels)
    with pytest.raises(ValueError, match="max_header_size"):
        np.load(io.BytesIO(body))
    assert same(decode(body, pixels.dtype, (1, 1)), pixels)


def test_the_longest_header_that_fits_the_length_field_is_read():
    header = "{'descr': [('B', '<u2')], 'fortran_order': False, 'shape': (1, 1), }"
    found = decode(raw(header.ljust(MAX_HEADER_BYTES), b"\x07\x00"), np.dtype([("B", "<u2")]), (1, 1))
    assert found["B"][0, 0] == 7


@pytest.mark.parametrize("code", ["<u2", ">u2"])
def test_a_plain_array_will_do_for_one_band(code):
    plain = np.arange(6, dtype=code).reshape(2, 3)
    found = decode(body_of(plain), np.dtype([("B4", "<u2")]), (2, 3))
    assert found["B4"].tolist() == plain.tolist()


def test_a_plain_array_will_not_do_for_two_bands_or_another_type():
    body = body_of(np.zeros((2, 3), "<u2"))
    for fields in ([("B4", "<u2"), ("B5", "<u2")], [("B4", "<i2")]):
        with pytest.raises(NpyError, match="plain array"):
            decode(body, np.dtype(fields), (2, 3))
    with pytest.raises(NpyError, match="plain array"):
        decode(body, None, (2, 3))


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_column_major_order_of_one_line_is_the_same_data(shape):
    pixels = scene(shape)
    header = f"{{'descr': {pixels.dtype.descr!r}, 'fortran_order': True, 'shape': {shape!r}, }}"
    assert same(decode(raw(header, pixels.tobytes()), pixels.dtype, shape), pixels)


def test_column_major_order_of_a_rectangle_is_refused():
    with pytest.raises(NpyError, match="Fortran"):
        decode(body_of(np.asfortranarray(scene())), scene().dtype, (3, 4))


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_later_versions_are_refused(version):
    with pytest.raises(NpyError, match="version"):
        decode(body_of(scene(), version=version), scene().dtype, (3, 4))


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_objects_are_never_unpickled():
    array = np.empty((1, 1), dtype=object)
    array[0, 0] = None
    pickled = pickle.dumps(_Trap())
    for descr in ("'|O'", "[('B2', '|O')]", "[('B2', 'O8')]"):
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1, 1), }}"
        with pytest.raises(NpyError, match="plain"):
            decode(raw(header, pickled), np.dtype([("B2", "<u2")]), (1, 1))
        with pytest.raises(NpyError):
            decode(raw(header, pickled), None, (1, 1))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': [('B2', '<u2')], 'fortran_order': False}",
        "{'descr': [('B2', '<u2')], 'fortran_order': False, 'shape': (1, 1), 'x': 1}",
        "{'descr': [('B2', '<u2')], 'fortran_order': 0, 'shape': (1, 1)}",
        "{'descr': [('B2', '<u2')], 'fortran_order': False, 'shape': [1, 1]}",
        "{'descr': [('B2', '<u2')], 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': [('B2', '<u2')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('B2', '<u2')], 'fortran_order': False, 'shape': (-1, -1)}",
        "{'descr': [('B2', '<u2', (1,))], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('B2', [('x', '<u2')])], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('B2', '<u1'), ('B2', '<u1')], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('', '<u2')], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('B2', 'V2')], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('B2', '<M8[s]')], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('B2', '<u3')], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('B2', '<i2')], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('B3', '<u2')], 'fortran_order': False, 'shape': (1, 1)}",
        "{'descr': [('B2', '<u1'), ('B3', '<u1')], 'fortran_order': False, 'shape': (1, 1)}",
        "__import__('os').getcwd()",
        "(" * 5000 + ")" * 5000,
        "-" * 60_000 + "1",
        "9" * 60_000,
        "'\\q'",
        "[1if 1else 2]",
        "\0",
        "",
    ],
)  # fmt: skip
def test_odd_headers_are_refused_in_few_words(header):
    with pytest.raises(NpyError) as caught:
        decode(raw(header, b"\0\0"), np.dtype([("B2", "<u2")]), (1, 1))
    assert len(str(caught.value)) < 200


def test_a_length_beyond_the_body_is_refused():
    with pytest.raises(NpyError, match="header"):
        decode(raw("{}", length=60_000), np.dtype([("B2", "<u2")]), (1, 1))


def test_a_canary_learns_the_fields_and_types():
    sent = np.zeros((1, 1), dtype=[("a", ">i4"), ("b", "u1"), ("c", "<f8")])
    assert decode(body_of(sent), None, (1, 1)).dtype == np.dtype([("a", "<i4"), ("b", "u1"), ("c", "<f8")])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, "u1").data])
def test_any_buffer_is_a_body(kind):
    assert same(decode(kind(body_of(scene())), scene().dtype, (3, 4)), scene())
