"""Metadata of a raster file: from a JSON file next to it, its tags, and its name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

POLICIES: Final = ("MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN")
TIMES: Final = ("startTime", "endTime")
_KNOWN: Final = (*TIMES, "properties", "pyramidingPolicy", "bands")
_STAMP: Final = re.compile(
    r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?:[T_ ]?(\d{2})[:-]?(\d{2})[:-]?(\d{2})(?:\.\d+)?Z?)?(?!\d)"
)
_NO_PROPERTY: Final = re.compile(r"^(AREA_OR_POINT|TIFFTAG_.*|OVR_RESAMPLING_ALG)$")


class SidecarError(Exception):
    """A sidecar that cannot be followed; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Times, properties, and how the pyramids of bands are made."""

    start_time: str | None = None
    end_time: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    policy: str | None = None
    """Of all bands that have none of their own."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """By band."""
    text: bytes = b""
    """The file as it is, for the identity of the data."""

    def policy_of(self, band: str, otherwise: str) -> str:
        """Return the policy of one band."""
        return self.policies.get(band) or self.policy or otherwise

    def over(self, below: Sidecar) -> Sidecar:
        """Return this sidecar, completed by another; properties are not inherited."""
        return replace(
            self,
            policy=self.policy or below.policy,
            policies={**below.policies, **self.policies},
            text=self.text + below.text,
        )


def read(path: Path) -> Sidecar:
    """Return the sidecar of that name; an empty one where there is none.

    Raises:
        SidecarError: it is not JSON, has unknown keys, or a policy or time that is none.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Sidecar()
    try:
        document = json.loads(text)
        if not isinstance(document, dict):
            raise TypeError("it must hold one JSON object")
        unknown = set(document) - set(_KNOWN)
        if unknown:
            raise ValueError(f"unknown key '{min(unknown)}'; there are: {', '.join(_KNOWN)}")
        bands = {band: _policy(one["pyramidingPolicy"]) for band, one in document.get("bands", {}).items()}
        start, end = (None if document.get(name) is None else _time(document[name]) for name in TIMES)
        policy = document.get("pyramidingPolicy")
        policy = None if policy is None else _policy(policy)
        return Sidecar(start, end, dict(document.get("properties", {})), policy, bands, text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SidecarError(f"{path}: {error}") from error


def _policy(given: object) -> str:
    if str(given).upper() not in POLICIES:
        raise ValueError(f"pyramidingPolicy must be one of {', '.join(POLICIES)}, not {given!r}")
    return str(given).upper()


def _time(given: object) -> str:
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return written(datetime.fromtimestamp(given / 1000, UTC))
    parsed = datetime.fromisoformat(str(given))
    return written(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


def written(when: datetime) -> str:
    """Return a time as the API writes it."""
    text = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.removesuffix("000000").rstrip(".") + "Z"


def told_by_file(name: str, tags: Mapping[str, str]) -> Sidecar:
    """Return the metadata in a raster's tags, or else in its name; properties that look like numbers are numbers.

    The start is the tag `startTime`, `system:time_start` or TIFFTAG_DATETIME, or the first date in the name
    (`20170430`, `2017-04-30`, `20170430T190351`).
    """
    properties: dict[str, Any] = {key: _value(v) for key, v in tags.items() if not _NO_PROPERTY.match(key)}
    start = properties.pop("startTime", None) or properties.get("system:time_start")
    end = properties.pop("endTime", None) or properties.get("system:time_end")
    try:
        if start is not None:
            return Sidecar(_time(start), None if end is None else _time(end), properties)
    except ValueError:
        pass
    found = _STAMP.search(tags.get("TIFFTAG_DATETIME", "").replace(":", "-", 2)) or _STAMP.search(name)
    if found is not None:
        try:
            when = datetime(*(int(part or 0) for part in found.groups()), tzinfo=UTC)  # type: ignore[arg-type,misc]
            return Sidecar(written(when), None, properties)
        except ValueError:
            pass
    return Sidecar(None, None, properties)


def _value(text: str) -> str | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
