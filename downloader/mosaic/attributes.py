"""What the mosaic's groups say of themselves: where the pixels come from, and what is needed to know the mosaic again.

`downloader` of the root holds the identity as JSON text, a form that every format which attributes are copied to can
hold: with it a mosaic that lost its `.downloader` folder is still known, continued and repaired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from downloader.planning import Plan

__all__ = ["EARLIER", "OURS", "STATEMENT", "image_attributes", "merged"]

STATEMENT: Final = "downloader"
"""Attribute of the root: the mosaic's identity as JSON text."""

EARLIER: Final = "earlier_update_times"
"""Attribute: states of the image before `update_time`, of which pixels are stored as well."""

OURS: Final = frozenset({STATEMENT, EARLIER, "update_time", "coordinates"})
"""Attributes that follow the mosaic; all others stay as whoever wrote them last left them."""


def image_attributes(plan: Plan) -> dict[str, Any]:
    """Attributes of a group: where the pixels come from, when they were taken, what else the asset says of itself."""
    image = plan.image
    if plan.listed is not None:
        # What differs from image to image stands along the axis.
        source = plan.listed.facts.get("collection", "")
        return {"Conventions": "CF-1.11", **({"source": source} if source else {})}
    told = {
        "Conventions": "CF-1.11",
        "source": image.name,
        "update_time": image.update_time,
        "start_time": image.start_time,
        "end_time": image.end_time,
    }
    attributes: dict[str, Any] = {name: value for name, value in told.items() if value}
    if image.properties:
        # As text: no format that attributes are copied to, netCDF for one, holds a mapping.
        attributes["properties"] = json.dumps(_plain_json(image.properties), ensure_ascii=False)
    return attributes


def merged(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`wanted` where nothing stands yet, what is there elsewhere; ours as wanted, and gone where not wanted."""
    kept = {name: value for name, value in there.items() if name not in OURS}
    return {**wanted, **kept}


def _plain_json(value: Any) -> Any:  # noqa: ANN401 - JSON of the service
    """What JSON can hold: the service's properties may be numbers that JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(name): _plain_json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_json(member) for member in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
