"""An identity survives its way through JSON, and a damaged one is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import RefusedError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.record.identity_json import identity_from_document, stored_list
from downloader.mosaic.record.packed import pack, unpack
from downloader.planning import ImageList
from downloader.planning.samples import Column, Point, Sample, SampleList
from tests.mosaics import one_group

GRIDS = [
    PixelGrid(Crs("EPSG:32610"), AffineTransform(10.0, 0, 499980.0 + 10 * k, 0, -10.0, 4e6), 100 + k, 90)
    for k in range(3)
]

bands = st.builds(
    Band,
    st.sampled_from(["B2", "B3", "QA"]),
    st.sampled_from([np.dtype("<u2"), np.dtype("|u1"), np.dtype("<f8")]),
    st.sampled_from(GRIDS),
    st.sampled_from(["MEAN", "MODE"]),
    st.sampled_from([(), (-9999.0,), (math.inf, 0.5)]),
)


@st.composite
def lists(draw: st.DrawFn) -> ImageList:
    tails = draw(st.lists(st.text("abc/", min_size=1, max_size=4), unique=True, min_size=1, max_size=6))
    prefix = draw(st.sampled_from(["", "projects/p/assets/"]))
    images = [
        Image(
            prefix + tail,
            draw(st.sampled_from([tail, prefix + tail, "other"])),
            tuple(draw(st.lists(bands, max_size=3))),
            draw(st.sampled_from(["", "2020-01-01T00:00:00.5Z"])),
            draw(st.sampled_from(["", "2017-04-20T18:49:21Z"])),
            properties=draw(st.sampled_from([{}, {"A": 1}, {"A": "x", "B": [1]}])),
        )
        for tail in tails
    ]
    cut = draw(st.integers(1, len(images)))
    named = tuple((f"slice {k}", (image,)) for k, image in enumerate(images[:cut]))
    if images[cut:]:
        named += (("rest", tuple(images[cut:])),)
    return ImageList(
        named, draw(st.sampled_from([None, (5, 2**52)])), {"collection": "C", "every": "day"}, ("A",)
    )


@given(lists())
def test_a_list_comes_back_as_it_was(listed) -> None:
    again = unpack(ImageList, json.loads(json.dumps(pack(stored_list(listed)))))
    kept = tuple(
        (
            label,
            tuple(
                replace(image, properties={k: v for k, v in image.properties.items() if k == "A"})
                for image in members
            ),
        )
        for label, members in listed.named
    )
    assert again == replace(listed, named=kept)
    assert [dict(image.properties) for image in again.images] == [
        dict(image.properties) for _, members in kept for image in members
    ]


def test_what_images_share_stands_once() -> None:
    shared = tuple(Band(name, np.dtype("<u2"), GRIDS[0]) for name in ("B2", "B3"))
    named = tuple((str(k), (Image(f"projects/p/assets/C/{k}", f"C/{k}", shared),)) for k in range(1000))
    document = pack(stored_list(ImageList(named)))
    assert len(document["shared"]) == 1 + 1 + 2  # the CRS, the grid, the bands
    assert len(json.dumps(document)) < 100_000


def test_samples_come_back_as_they_were() -> None:
    point = Point("1", -122.0, 37.1, -122.0, 37.1, "p.csv, line 2", values=(1, 0.1, "a"))
    columns = (Column("n", "int64"), Column("f", "float64"), Column("s", "string"))
    samples = SampleList(
        Crs("EPSG:4326"), columns, (Sample(point, "img"), Sample(replace(point, id="2"), "", "line 3: none"))
    )
    assert unpack(SampleList, json.loads(json.dumps(pack(samples)))) == samples


@pytest.mark.parametrize("damage", range(12))
async def test_a_damaged_document_is_refused_and_no_other_error_is_raised(tmp_path, damage) -> None:
    async with open_for_writing(tmp_path / "m", one_group(), service="earth-engine"):
        pass
    whole = (tmp_path / "m/.downloader/mosaic.json").read_bytes()
    assert identity_from_document(json.loads(whole)).layouts
    wrong = [None, -1, 10**6, "", [], {}, True, 0.5, "x", [[]], [0] * 40, {"a": 1}][damage]
    refused = tried = 0
    for place in places(json.loads(whole)["content"]):
        document = json.loads(whole)
        *above, last = place
        holder = document["content"]
        for step in above:
            holder = holder[step]
        holder[last] = wrong
        tried += 1
        try:
            identity_from_document(document)
        except RefusedError:
            refused += 1
    assert refused > tried / 3


def places(document: object) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every member of a document."""
    members = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for name, member in members:
        yield (name,)
        yield from ((name, *rest) for rest in places(member))
