"""A running emulator, and a plain HTTP client that knows the contract's shorthands."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from unittest import mock

import httpx
import numpy as np
import pytest

from earthengine_emulator import EmulatorProcess, arguments
from earthengine_emulator.__main__ import main
from tests.oracle import QUICKSTART

PROJECT = "p-test-1"
QUICKSTART_GRID = {
    "affineTransform": {"scaleX": 10, "scaleY": -10, "translateX": 499980, "translateY": 4200000},
    "dimensions": {"width": 256, "height": 256},
}


def grid(column=0, row=0, width=256, height=256, scale=10, **more):
    """A grid on Sentinel-2's 10 m lattice, offset in pixels of `scale` metres."""
    affine = {
        "scaleX": scale,
        "scaleY": -scale,
        "translateX": 499980 + scale * column,
        "translateY": 4200000 - scale * row,
    }
    return {"affineTransform": affine, "dimensions": {"width": width, "height": height}, **more}


def ends(flags: Sequence[str]) -> int:
    """Run an emulator's `main` in this process with flags that it must refuse; its exit status."""
    with mock.patch("earthengine_emulator.__main__.serve", side_effect=AssertionError("it would serve")):
        return main(list(flags))


def lattice_of(asset, band):
    """Grid members of a band as the catalogue gives them: affine with zeros filled in, width, height, CRS members."""
    found = next(b for b in asset["bands"] if b["id"] == band)["grid"]
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    affine = {name: found["affineTransform"].get(name, 0) for name in names}
    crs = {key: found[key] for key in ("crsCode", "crsWkt") if key in found}
    return affine, found["dimensions"]["width"], found["dimensions"]["height"], crs


def window_of(asset, band, column, row, width, height):
    """A request grid that lies on a band's own lattice."""
    affine, _, _, crs = lattice_of(asset, band)
    moved = dict(affine)
    moved["translateX"] += affine["scaleX"] * column + affine["shearX"] * row
    moved["translateY"] += affine["shearY"] * column + affine["scaleY"] * row
    return {"affineTransform": moved, "dimensions": {"width": width, "height": height}, **crs}


def load(content):
    """An NPY body as numpy's own reader sees it."""
    return np.load(io.BytesIO(content), allow_pickle=False, max_header_size=65_535)


class Api:
    """The emulator as a test sees it: plain requests with a good token, and its control API."""

    def __init__(self, emulator, token="tok", project=PROJECT, base=None):
        self.emulator = emulator
        self.client = httpx.Client(base_url=base or emulator.url, timeout=60, trust_env=False)
        self.headers = {"Authorization": f"Bearer {token}", "X-Goog-User-Project": project}

    def get(self, path, **headers):
        """GET a path; a header given as None is left out."""
        return self.client.get(path, headers=self._headers(headers))

    def post(self, path, body, **headers):
        """POST bytes, or an object as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers=self._headers(headers))

    def pixels(self, name=QUICKSTART, *, version="v1", headers=None, **body):
        """The answer of getPixels, NPY unless the body says otherwise."""
        return self.post(f"/{version}/{name}:getPixels", {"fileFormat": "NPY", **body}, **(headers or {}))

    def npy(self, name=QUICKSTART, **body):
        """The array of a getPixels that must succeed."""
        answer = self.pixels(name, **body)
        assert answer.status_code == 200, answer.text
        return load(answer.content)

    def _headers(self, changes):
        merged = {**self.headers, **{k.replace("_", "-"): v for k, v in changes.items()}}
        return {k: v for k, v in merged.items() if v is not None}


def error_of(answer, code, status):
    """The error of an answer, after its shape has been checked (docs/contract.md §6.1)."""
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (code, status)
    return error


def detail(error, kind="ErrorInfo"):
    """The one detail of a kind."""
    (found,) = [d for d in error["details"] if d["@type"].endswith(f"google.rpc.{kind}")]
    return found


@pytest.fixture(scope="session")
def emulator():
    """An emulator with its default switches, but no quota per minute: a test run is no bulk download.

    The table says what the defaults do, whatever the environment asks for; `test_strict.py` has the other readings.
    """
    with EmulatorProcess(arguments(tokens={"tok": PROJECT}, quota_per_minute=0, strict=False)) as process:
        yield process


@pytest.fixture
def api(emulator):
    """A client of the shared emulator, whose switches are put back afterwards."""
    made = Api(emulator)
    yield made
    emulator.control("reset", {})
    made.client.close()
