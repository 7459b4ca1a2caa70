"""Rows 79 to 86 of tests/contract/acceptance.md: what one request may ask for."""

from __future__ import annotations

import io
import json
import socket

import numpy as np
import pytest

from tests.contract.conftest import error_of, grid, load
from tests.oracle import PUBLIC, QUICKSTART, oracle_window

FOLDER = f"{PUBLIC}EMULATOR/"


def test_row_079_exactly_the_limit(api):
    answer = api.pixels(bandIds=["B2"], grid=grid(width=4096, height=4096))
    assert len(answer.content) == 33_554_560
    np.testing.assert_array_equal(
        load(answer.content)["B2"], oracle_window(QUICKSTART, "B2", 0, 0, 4096, 4096)
    )


def test_row_080_one_row_more(api):
    error = error_of(api.pixels(bandIds=["B2"], grid=grid(width=4096, height=4097)), 400, "INVALID_ARGUMENT")
    assert error["message"] == (
        "Total request size (50343936 bytes) must be less than or equal to 50331648 bytes."
    )


def test_row_081_all_bands(api):
    assert len(api.pixels(grid=grid(width=1003, height=1003)).content) == 34_204_690
    error = error_of(api.pixels(grid=grid(width=1004, height=1004)), 400, "INVALID_ARGUMENT")
    assert "(50400800 bytes)" in error["message"]


def test_row_082_longest_side(api):
    assert len(api.pixels(bandIds=["B2"], grid=grid(width=32768, height=1)).content) == 65_664
    error = error_of(api.pixels(bandIds=["B2"], grid=grid(width=32769, height=1)), 400, "INVALID_ARGUMENT")
    assert error["message"] == "Pixel grid dimensions (32769x1) must be less than or equal to 32768."


def test_row_083_dimensions_go_before_bytes(api):
    answer = api.pixels(bandIds=["B2"], grid=grid(width=40000, height=40000))
    assert error_of(answer, 400, "INVALID_ARGUMENT")["message"].startswith(
        "Pixel grid dimensions (40000x40000)"
    )


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-3, 5), (5, -3)])
def test_row_084_no_pixels(api, width, height):
    error_of(api.pixels(bandIds=["B2"], grid=grid(width=width, height=height)), 400, "INVALID_ARGUMENT")


def test_row_085_payload(api):
    start = json.dumps({"fileFormat": "NPY", "bandIds": ["B2"], "grid": grid(width=1, height=1)}).encode()
    body = start.ljust(10_485_760)
    assert api.post(f"/v1/{QUICKSTART}:getPixels", body).status_code == 200
    error = error_of(api.post(f"/v1/{QUICKSTART}:getPixels", body + b" "), 400, "INVALID_ARGUMENT")
    assert error["message"] == "Request payload size exceeds the limit: 10485760 bytes."


def test_row_085_too_many_bands(api):
    name = f"{FOLDER}BANDS_1025"
    error = error_of(api.pixels(name, grid=grid(width=1, height=1)), 400, "INVALID_ARGUMENT")
    assert "1024" in error["message"]
    names = [f"B{i}" for i in range(1, 1025)]
    assert api.npy(name, bandIds=names, grid=grid(width=1, height=1)).dtype.names == tuple(names)


def test_row_086_header_longer_than_numpy_likes(api):
    name = f"{FOLDER}BANDS_700"
    answer = api.pixels(name, grid=grid(3, 4, 1, 1))
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="max_header_size"):
        np.load(io.BytesIO(answer.content))
    pixels = load(answer.content)
    assert len(pixels.dtype.names) == 700
    assert int.from_bytes(answer.content[8:10], "little") > 10_000
    assert pixels["B699"] == oracle_window(name, "B699", 3, 4, 1, 1)


def test_a_client_that_asks_before_it_sends(api):
    body = json.dumps({"fileFormat": "NPY", "bandIds": ["B2"], "grid": grid(width=1, height=1)}).encode()
    head = (
        f"POST /v1/{QUICKSTART}:getPixels HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer tok\r\n"
        f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(api.emulator.url.rpartition(":")[2])), timeout=10) as raw:
        raw.sendall(head.encode())
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(body)
        assert raw.recv(100).startswith(b"HTTP/1.1 200 OK")
