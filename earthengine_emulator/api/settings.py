"""Every switch of an emulator, checked; set by flags, by a file, or at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, cast

from earthengine_emulator.api import faults as known_faults

FILLS: Final = ("zero", "min", "missing", "-inf", "nan")


class SettingsError(ValueError):
    """A switch that does not exist or cannot have that value."""


@dataclass(frozen=True, slots=True)
class ProjectQuota:
    """Quotas of one project; 0 means none."""

    concurrency: int
    """Requests in flight on one host."""
    per_minute: int
    """Requests started within the window, on both hosts together."""


@dataclass(slots=True)
class Settings:
    """The switches; the defaults are those of the contract."""

    auth: str = "required"
    """`required`, or `optional`: missing and unknown tokens are taken for the test project's."""
    latency_ms: float = 0
    """From the arrival of an API request to the first byte of its answer."""
    latency_ms_per_mb: float = 0
    """Added for each 10⁶ bytes of the answer's body."""
    quota_concurrency: int = 40
    quota_per_minute: int = 6_000
    quota_window_s: float = 60
    """Length of the sliding window of `quota_per_minute`."""
    quota_projects: dict[str, dict[str, int]] = field(
        default_factory=lambda: {"p-limited": {"concurrency": 2, "per_minute": 60}}
    )
    """Projects with quotas of their own: `concurrency`, `per_minute`."""
    compute_s_per_day: float | None = None
    """Daily compute allowance of every project, in EECU-seconds; None is unlimited."""
    compute_s_per_request: float = 0
    """EECU-seconds that each request uses."""
    compute_quota_status: int = 429
    """The status of E26: 400, 403 or 429."""
    restricted: bool = False
    """Send `parallelism_restricted=true` to every project, not only to `p-restricted`."""
    token_life_s: float = 3_599
    fill: str = "zero"
    """Value of masked pixels of signed and float bands in NPY: `zero`; `min`, the least finite value of the type;
    `missing`, the band's own missing value or 0; `-inf`, which is the least value for integers; `nan`, 0 for them."""
    computed_fill: str = "same"
    """The same of what is computed: as `fill`, or another of its values."""
    header_padding: int = 64
    """NPY headers end at a multiple of this: 64, or 16 as older writers do."""
    pixel_content_type: str = "application/octet-stream"
    over_large_page: str = "clamp"
    """A page size above the cap is clamped, or `refuse`d."""
    short_pages: bool = False
    """Pages hold fewer entries than asked, the first none at all."""
    equal_times: str = "ascending"
    """Order of a collection's entries that start at the same time, by id: `ascending` or `descending`."""
    missing_format: str = "auto"
    """A request without a file format is one for `auto`, which is AUTO_JPEG_PNG, or is `refuse`d."""
    partial_grid: str = "fill"
    """A grid of which a part is missing is `fill`ed as the contract infers, or `refuse`d; one that is wholly absent, and
    a region with dimensions, are documented."""
    mixed_geotiff: str = "promote"
    """Bands of several types in one GeoTIFF are `promote`d to a common type, or `refuse`d."""
    deleted_project_status: int = 404
    """The status of E22: 400, 403 or 404."""
    count_refused: bool = False
    """True: requests that a quota refuses count against the quota per minute."""
    retry_after_s: float | None = None
    """Seconds named in a Retry-After header of every 429; None sends none."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers of every answer."""
    limit_pixel_bytes: int = 48 * 2**20
    """Width × height × sum over bands of (bytes of the type + 1 mask byte)."""
    limit_computed_bytes: int = 80 * 2**20
    """Width × height × bands × 8 bytes of a computePixels request."""
    limit_side: int = 32_768
    """Columns, and rows, of a request."""
    limit_bands: int = 1_024
    """Bands of a request."""
    limit_payload_bytes: int = 10 * 2**20
    """Length of a request body."""
    limit_page_full: int = 1_000
    """Entries per page with view FULL."""
    limit_page_basic: int = 10_000
    """Entries per page with view BASIC."""
    limit_elements: int = 5_000
    """Elements of a collection that value.compute writes out."""
    limit_depth: int = 100
    """Nesting of an expression."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    """Active faults; see `api/faults.py`."""
    seed: int = 0
    """Of faults that strike at random."""

    def for_project(self, project: str) -> ProjectQuota:
        """Return the quotas that hold for one project."""
        own = self.quota_projects.get(project)
        if own is None:
            return ProjectQuota(self.quota_concurrency, self.quota_per_minute)
        return ProjectQuota(
            own.get("concurrency", self.quota_concurrency), own.get("per_minute", self.quota_per_minute)
        )

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """Return a copy with some switches changed.

        Raises:
            SettingsError: naming the switch, and what it takes.
        """
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise SettingsError(f"unknown switch '{name}'; there are: {', '.join(sorted(known))}")
            _check(name, value, known[name])
        return replace(self, **changes)

    def assign(self, other: Settings) -> None:
        """Copy all switches of another in place: the parts of a running emulator share one object."""
        for f in fields(self):
            setattr(self, f.name, getattr(other, f.name))


STRICT: Final[Mapping[str, Any]] = {
    "auth": "required",
    "fill": "-inf",
    "header_padding": 16,
    "over_large_page": "refuse",
    "short_pages": True,
    "equal_times": "descending",
    "missing_format": "refuse",
    "partial_grid": "refuse",
    "mixed_geotiff": "refuse",
    "deleted_project_status": 403,
    "compute_quota_status": 400,
    "count_refused": True,
    "pixel_content_type": "application/octet-stream; charset=binary",
}
"""The harsher reading of everything that the contract marks as inferred."""

_CHOICES: Final[Mapping[str, Sequence[Any]]] = {
    "auth": ("required", "optional"),
    "fill": FILLS,
    "computed_fill": ("same", *FILLS),
    "header_padding": (16, 64),
    "over_large_page": ("clamp", "refuse"),
    "equal_times": ("ascending", "descending"),
    "missing_format": ("auto", "refuse"),
    "partial_grid": ("fill", "refuse"),
    "mixed_geotiff": ("promote", "refuse"),
    "deleted_project_status": (400, 403, 404),
    "compute_quota_status": (400, 403, 429),
}


_NUMBER_OR_NONE: Final = ("compute_s_per_day", "retry_after_s")
_REAL: Final = ("latency_ms", "latency_ms_per_mb", "quota_window_s", "compute_s_per_request", "token_life_s")
"""Numbers that need not be whole, whatever their defaults look like."""


def _check(name: str, value: object, default: object) -> None:
    """Refuse a value that a switch cannot have, by its choices or by the type of its default."""
    if name in _CHOICES:
        good, takes = value in _CHOICES[name], f"one of {', '.join(map(str, _CHOICES[name]))}"
    elif name in _NUMBER_OR_NONE:
        good, takes = value is None or _is_number(value), "a number or null"
    elif isinstance(default, bool):
        good, takes = isinstance(value, bool), "true or false"
    elif isinstance(default, (int, float)):
        whole = isinstance(default, int) and name not in _REAL
        good = _is_number(value) and cast("float", value) >= 0 and (not whole or isinstance(value, int))
        takes = f"a {'whole ' if whole else ''}number of at least 0"
    elif name == "headers":
        good = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        takes = "an object of texts"
    else:
        good, takes = isinstance(value, type(default)), f"a {type(default).__name__}"
    if not good:
        raise SettingsError(f"{name} must be {takes}, not {value!r}")
    if name == "faults":
        _check_faults(cast("list[dict[str, Any]]", value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_faults(given: Sequence[Mapping[str, Any]]) -> None:
    for fault in given:
        try:
            known_faults.parse(fault)
        except (ValueError, TypeError, AttributeError) as error:
            raise SettingsError(f"faults: {error}") from error
