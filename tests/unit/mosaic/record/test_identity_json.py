"""The image list survives its way through JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.mosaic.record.identity_json import list_from_document, list_to_document
from downloader.planning import ImageList

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
        named, draw(st.sampled_from([None, (5, 2**52)])), {"collection": "C", "group_by": "day"}, ("A",)
    )


@given(lists())
def test_a_list_comes_back_as_it_was(listed) -> None:
    again = list_from_document(json.loads(json.dumps(list_to_document(listed), allow_nan=False)))
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
    document = list_to_document(ImageList(named))
    assert len(document["grids"]) == len(document["band_lists"]) == 1
    assert len(json.dumps(document)) < 60_000
