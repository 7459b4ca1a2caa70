"""The discovery document, from which clients build themselves (docs/contract.md §8)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from earthengine_emulator.api.errors import ApiError
from earthengine_emulator.api.routing import VERSIONS


@cache
def document(version: str) -> dict[str, Any]:
    """Return the document of a version: that of v1 with the prefix of its paths replaced.

    Raises:
        ApiError: 404 for a version that there is not.
    """
    if version not in VERSIONS:
        raise ApiError(
            404, f"Discovery document not found for API service: earthengine.googleapis.com {version}"
        )
    text = files(__package__).joinpath("discovery.json").read_text()
    if version != "v1":
        text = text.replace('"v1/', f'"{version}/')
    parsed: dict[str, Any] = json.loads(text)
    return parsed
