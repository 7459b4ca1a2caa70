"""The rules of `mask: clouds` by collection, with the source of each rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

CLOUD_PROPERTIES: Final = ("CLOUDY_PIXEL_PERCENTAGE", "CLOUD_COVER", "CLOUD_COVERAGE")
"""Properties that say how much of an image is cloud, in percent."""


Rules = tuple[dict[str, Any], ...]
"""Rules in the form of the job file's `source.mask`."""


def _modis_state(band: str, of: str | None = None) -> Rules:
    """Return the rules for a MODIS state band: clear or assumed clear, no shadow, no or small cirrus, no internal cloud flag."""
    where = {"band": band} if of is None else {"band": band, "of": of}
    return (
        {**where, "field": [0, 2], "values": [0, 3], "is": "good"},
        {**where, "bits": [2, 10]},
        {**where, "field": [8, 2], "values": [0, 1], "is": "good"},
    )


# The source of each is the collection's page in https://developers.google.com/earth-engine/datasets/catalog, unless a comment
# names another.
CLOUD_MASKS: Final[Mapping[str, Rules]] = {
    # GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED: thresholds of 0.50 to 0.65 work well.
    r"COPERNICUS/S2(?:_SR)?_HARMONIZED": (
        {"band": "cs_cdf", "of": "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "below": 0.6},
    ),
    # https://developers.google.com/earth-engine/guides/landsat: fill, dilated cloud, cirrus, cloud, shadow; saturation.
    r"LANDSAT/L(?:T04|T05|E07|C08|C09)/C02/T[12](?:_L2|_TOA|_RT|_RT_TOA)?": (
        {"band": "QA_PIXEL", "bits": [0, 1, 2, 3, 4]},
        {"band": "QA_RADSAT", "values": [0], "is": "good"},
    ),
    # Only fill and cloud are set.
    r"LANDSAT/LM0[1-5]/C02/T[12]": ({"band": "QA_PIXEL", "bits": [0, 3]},),
    r"MODIS/061/M[OY]D09GA": _modis_state("state_1km"),
    r"MODIS/061/M[OY]D09A1": _modis_state("StateQA"),
    r"MODIS/061/M[OY]D09Q1": _modis_state("State"),
    # By the state of MOD09GA and MYD09GA of the same day (inferred).
    r"MODIS/061/MOD09GQ": _modis_state("state_1km", of="MODIS/061/MOD09GA"),
    r"MODIS/061/MYD09GQ": _modis_state("state_1km", of="MODIS/061/MYD09GA"),
    # Confident or probably clear, no shadow, no thin cirrus.
    r"NASA/VIIRS/002/VNP09GA": (
        {"band": "QF1", "field": [2, 2], "values": [0, 1], "is": "good"},
        {"band": "QF2", "bits": [3, 6, 7]},
    ),
    # As MODIS.
    r"NASA/VIIRS/002/VNP09H1": _modis_state("SurfReflect_State_500m"),
    # Cloud, adjacent to cloud or shadow, shadow.
    r"NASA/HLS/HLS[LS]30/v002": ({"band": "Fmask", "bits": [1, 2, 3]},),
}
"""Pattern of collections' ids → rules."""


def cloud_mask(collection: str) -> Rules | None:
    """Return the rules of a collection's cloud mask, or None where none is known to serve."""
    return next((rules for ids, rules in CLOUD_MASKS.items() if re.fullmatch(ids, collection)), None)
