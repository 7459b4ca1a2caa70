"""What `mask: clouds` means for each collection, with the source of each rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

CLOUD_PROPERTIES: Final = ("CLOUDY_PIXEL_PERCENTAGE", "CLOUD_COVER", "CLOUD_COVERAGE")
"""Properties that say how much of an image is cloud, in percent."""


@dataclass(frozen=True, slots=True)
class CloudMask:
    """Rules of one family of collections, in the form of the job file's `source.mask`."""

    collections: str
    """Pattern of the collections' ids."""
    rules: tuple[dict[str, Any], ...]
    source: str


_CLOUD_SCORE: Final = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
_CATALOG: Final = "https://developers.google.com/earth-engine/datasets/catalog"


def _modis_state(band: str, of: str | None = None) -> tuple[dict[str, Any], ...]:
    """Return the rules for a MODIS state band: clear or assumed clear, no shadow, no or small cirrus, no internal cloud flag."""
    where = {"band": band} if of is None else {"band": band, "of": of}
    return (
        {**where, "field": [0, 2], "values": [0, 3], "is": "good"},
        {**where, "bits": [2, 10]},
        {**where, "field": [8, 2], "values": [0, 1], "is": "good"},
    )


CLOUD_MASKS: Final = (
    CloudMask(
        r"COPERNICUS/S2(?:_SR)?_HARMONIZED",
        ({"band": "cs_cdf", "of": _CLOUD_SCORE, "below": 0.6},),
        f"{_CATALOG}/GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED: thresholds of 0.50 to 0.65 work well",
    ),
    CloudMask(
        r"LANDSAT/L(?:T04|T05|E07|C08|C09)/C02/T[12](?:_L2|_TOA|_RT|_RT_TOA)?",
        ({"band": "QA_PIXEL", "bits": [0, 1, 2, 3, 4]}, {"band": "QA_RADSAT", "values": [0], "is": "good"}),
        "https://developers.google.com/earth-engine/guides/landsat: fill, dilated cloud, cirrus, cloud, shadow; saturation",
    ),
    CloudMask(
        r"LANDSAT/LM0[1-5]/C02/T[12]",
        ({"band": "QA_PIXEL", "bits": [0, 3]},),
        f"{_CATALOG}/LANDSAT_LM05_C02_T1: only fill and cloud are set",
    ),
    CloudMask(
        r"MODIS/061/M[OY]D09GA",
        _modis_state("state_1km"),
        f"{_CATALOG}/MODIS_061_MOD09GA: clear or assumed clear, no shadow, no or small cirrus, internal cloud flag",
    ),
    CloudMask(r"MODIS/061/M[OY]D09A1", _modis_state("StateQA"), f"{_CATALOG}/MODIS_061_MOD09A1"),
    CloudMask(r"MODIS/061/M[OY]D09Q1", _modis_state("State"), f"{_CATALOG}/MODIS_061_MOD09Q1"),
    CloudMask(
        r"MODIS/061/MOD09GQ",
        _modis_state("state_1km", of="MODIS/061/MOD09GA"),
        f"{_CATALOG}/MODIS_061_MOD09GQ: by the state of MOD09GA of the same day (inferred)",
    ),
    CloudMask(
        r"MODIS/061/MYD09GQ",
        _modis_state("state_1km", of="MODIS/061/MYD09GA"),
        f"{_CATALOG}/MODIS_061_MYD09GQ: by the state of MYD09GA of the same day (inferred)",
    ),
    CloudMask(
        r"NASA/VIIRS/002/VNP09GA",
        (
            {"band": "QF1", "field": [2, 2], "values": [0, 1], "is": "good"},
            {"band": "QF2", "bits": [3, 6, 7]},
        ),
        f"{_CATALOG}/NASA_VIIRS_002_VNP09GA: confident or probably clear, no shadow, no thin cirrus",
    ),
    CloudMask(
        r"NASA/VIIRS/002/VNP09H1",
        _modis_state("SurfReflect_State_500m"),
        f"{_CATALOG}/NASA_VIIRS_002_VNP09H1, as MODIS",
    ),
    CloudMask(
        r"NASA/HLS/HLS[LS]30/v002",
        ({"band": "Fmask", "bits": [1, 2, 3]},),
        f"{_CATALOG}/NASA_HLS_HLSL30_v002: cloud, adjacent to cloud or shadow, shadow",
    ),
)


def cloud_mask(collection: str) -> CloudMask | None:
    """Return the cloud mask of a collection, or None where none is known to serve."""
    return next((mask for mask in CLOUD_MASKS if re.fullmatch(mask.collections, collection)), None)
