"""Rows 28 to 32, 58: answers with status 200 that are not, or not quite, the pixels asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tests import harness
from tests.chaos.kit import TILES

PUBLIC = "projects/earthengine-public/assets/"
MASKED = f"{PUBLIC}EMULATOR/MASKED"
KINDS = ("u1", "i2", "u2", "i4", "f4", "f8")


def test_row_28_no_pixels_under_200(lab):
    """Transient where it passes, recorded where it stays."""
    kinds = {"json-200": "JSON under 200", "html-200": "HTML under 200", "empty-200": "bad NPY"}
    lab.job(limits={"retries": 1})
    stays = ({"fault": fault, "covers": [400 + 256 * n, 400]} for n, fault in enumerate(kinds))
    passes = ({"fault": fault, "covers": [400 + 256 * n, 800], "times": 1} for n, fault in enumerate(kinds))
    lab.faults(*stays, *passes)
    run = lab.run(status=3)
    failed = {(tile["row"], tile["column"]): tile["cause"] for tile in run.report["failed"]}
    assert failed == {(0, n): cause for n, cause in enumerate(kinds.values())}
    assert run.retries == dict.fromkeys(kinds.values(), 2)
    assert lab.stored_tiles_are_right() == TILES - len(kinds)


REFUSED = [
    {"fault": "npy-truncated"},
    {"fault": "npy-trailing"},
    {"fault": "npy-magic"},
    {"fault": "npy-header-garbage"},
    {"fault": "npy-shape"},
    {"fault": "npy-fields-missing"},
    {"fault": "npy-fields-extra"},
    {"fault": "npy-dtype"},
    {"fault": "npy-plain"},
]


def test_rows_29_and_30_damaged_and_wrong_arrays_are_refused(lab):
    """Each kind strikes every so often, all in one run: what is not exactly the pixels asked for is asked again."""
    lab.job(2000)
    lab.faults(*({**fault, "skip": 1 + 4 * n, "times": 2} for n, fault in enumerate(REFUSED)))
    run = lab.run()
    lab.right(side=2000)
    assert set(lab.fault_counts()) == {fault["fault"] for fault in REFUSED}
    assert run.retries.total() == sum(lab.fault_counts().values()) == 2 * len(REFUSED)
    assert set(run.retries) == {"bad NPY", "too large"}


def test_row_30_transposed_is_refused_unless_square(lab):
    """Height and width exchanged: only where they differ is it another shape."""
    lab.faults({"fault": "npy-transposed", "covers": [900, 400], "times": 1})
    run = lab.run()
    lab.right()
    assert run.retries["bad NPY"] == 1


@pytest.mark.parametrize(
    ("kinds", "accepted"),
    [
        ([{"fault": "npy-fields-order"}, {"fault": "npy-big-endian"}, {"fault": "npy-huge-header"}], True),
        ([{"fault": "npy-version", "major": m} for m in (2, 3)] + [{"fault": "npy-fortran"}], False),
    ],
    ids=["the same data", "not provably"],
)
def test_rows_29_and_30_other_forms_of_the_same_data(lab, kinds, accepted):
    """Accepted where it provably is the same data, else refused and asked for again: never a wrong pixel."""
    lab.job(1500)
    lab.faults(*({**kind, "skip": 1 + 6 * n, "times": 4} for n, kind in enumerate(kinds)))
    run = lab.run()
    lab.right(side=1500)
    struck = sum(lab.fault_counts().values())
    assert struck == 4 * len(kinds)
    assert run.retries.total() == run.retries["bad NPY"] == (0 if accepted else struck)


def test_row_31_object_arrays_are_never_unpickled(lab):
    lab.job(limits={"retries": 1})
    marker = lab.folder / "unpickled"
    lab.faults({"fault": "npy-object", "covers": [400, 400], "path": str(marker)})
    run = lab.run(status=3)
    assert run.causes() == {"bad NPY"}
    assert not marker.exists()
    assert lab.stored_tiles_are_right() == TILES - 1
    lab.heal()


@pytest.mark.parametrize(("fill", "value"), [("zero", 0), ("min", None), ("nan", np.nan), ("-inf", -np.inf)])
def test_row_32_masked_pixels(lab, fill, value):
    """Whatever the service puts there is stored as it came; the same when a rerun fetches the other half."""
    lab.job(bands=KINDS, asset=MASKED, region=harness.window(0, 0, 1300, 1111), limits={"max_requests": 12})
    lab.faults(fill=fill)
    if fill == "nan":
        lab.run(status=4)
    lab.run("--set", "limits.max_requests=1000")
    fills = {}
    for kind in KINDS:
        dtype = np.dtype(kind)
        if kind.startswith("u"):
            fills[kind] = 0
        elif dtype.kind == "i":
            least = np.iinfo(dtype).min
            fills[kind] = {"zero": 0, "min": least, "nan": 0, "-inf": least}[fill]
        else:
            fills[kind] = np.finfo(dtype).min if value is None else value
    assert harness.compare(lab.mosaic, MASKED, fill=fills) == 1300 * 1111 * len(KINDS)
    assert harness.repeated(lab.emulator) == 0
