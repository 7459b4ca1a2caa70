"""Many images in one answer: their bands behind one another, under short names of our own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from downloader.model.expression import add_bands, document_of, image_load, select


def pinned_expression(asset: str, update_time: str) -> str:
    """Return canonical JSON of an image as it was at an update time; an empty time leaves it open."""
    return document_of(image_load(asset, update_time), "source")


def stacked_expression(images: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> str:
    """Return JSON of an image that has the bands of all images, in their order.

    Args:
        images: (serialised expression, bands that it has and are wanted, their names in the stack) of each; no two names
            are the same. Bands keep their own projections: the request's grid pulls each.
    """
    values: dict[str, Any] = {}
    parts = []
    for number, (expression, own, names) in enumerate(images):
        document = json.loads(expression)
        for name, node in document["values"].items():
            values[f"{number}.{name}"] = _referring(node, number)
        parts.append(select({"valueReference": f"{number}.{document['result']}"}, own, names))
    values["result"] = add_bands(parts)
    return json.dumps({"result": "result", "values": values}, separators=(",", ":"))


def _referring(node: Any, number: int) -> Any:  # noqa: ANN401  # JSON
    """Return a node whose references are those of one of the images."""
    if isinstance(node, Mapping):
        return {
            key: f"{number}.{value}" if key == "valueReference" and isinstance(value, str) else
            value if key == "constantValue" else _referring(value, number)
            for key, value in node.items()
        }  # fmt: skip
    return [_referring(item, number) for item in node] if isinstance(node, list) else node
