"""Every switch of an emulator, checked; set by flags, by a file, or at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, cast

from . import faultspec

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
    """What each request takes of it."""
    restricted: bool = False
    """Send `parallelism_restricted=true` to every project, not only to `p-restricted`."""
    token_life_s: float = 3_599
    fill: str = "zero"
    """What masked pixels of signed and float bands hold in NPY: `zero`; `min`, the least finite value of the type;
    `missing`, the band's own missing value or 0; `-inf`, which is the least value for integers; `nan`, 0 for them."""
    header_padding: int = 64
    """NPY headers end at a multiple of this: 64, or 16 as older writers do."""
    pixel_content_type: str = "application/octet-stream"
    over_large_page: str = "clamp"
    """A page size above the cap is clamped, or `refuse`d."""
    short_pages: bool = False
    """Pages hold fewer entries than asked, the first none at all."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    """Active faults; see `faultspec.py`."""
    seed: int = 0
    """Of faults that strike at random."""

    def for_project(self, project: str) -> ProjectQuota:
        """The quotas that hold for one project."""
        own = self.quota_projects.get(project)
        if own is None:
            return ProjectQuota(self.quota_concurrency, self.quota_per_minute)
        return ProjectQuota(
            own.get("concurrency", self.quota_concurrency), own.get("per_minute", self.quota_per_minute)
        )

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """A copy with some switches changed.

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
        """Take over all switches of another, in place: the parts of a running emulator share one object."""
        for f in fields(self):
            setattr(self, f.name, getattr(other, f.name))


STRICT: Final[Mapping[str, Any]] = {
    "auth": "required",
    "fill": "-inf",
    "header_padding": 16,
    "over_large_page": "refuse",
    "short_pages": True,
    "pixel_content_type": "application/octet-stream; charset=binary",
}
"""The harsher reading of everything that the contract marks as inferred."""

_CHOICES: Final[Mapping[str, Sequence[Any]]] = {
    "auth": ("required", "optional"),
    "fill": FILLS,
    "header_padding": (16, 64),
    "over_large_page": ("clamp", "refuse"),
}


def _check(name: str, value: object, default: object) -> None:
    """Whether a switch may have a value, judged by its choices or by the type of its default."""
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise SettingsError(f"{name} must be one of {', '.join(map(str, _CHOICES[name]))}, not {value!r}")
    elif name == "compute_s_per_day":
        if value is not None and not _is_number(value):
            raise SettingsError(f"{name} must be a number or null, not {value!r}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise SettingsError(f"{name} must be true or false, not {value!r}")
    elif isinstance(default, (int, float)):
        if not _is_number(value) or cast("float", value) < 0:
            raise SettingsError(f"{name} must be a number of at least 0, not {value!r}")
    elif not isinstance(value, type(default)):
        raise SettingsError(f"{name} must be a {type(default).__name__}, not {value!r}")
    elif name == "faults":
        _check_faults(cast("list[dict[str, Any]]", value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_faults(given: Sequence[Mapping[str, Any]]) -> None:
    for fault in given:
        try:
            faultspec.parse(fault)
        except (ValueError, TypeError, AttributeError) as error:
            raise SettingsError(f"faults: {error}") from error
