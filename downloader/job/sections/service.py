"""Sections `service`, `auth`, `request` and `limits` of the job file. None of them changes a pixel."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, field_validator, model_validator

from downloader.job.sections.base import Section, checked
from downloader.job.units import Duration, Size


class Emulator(Section):
    """Assets that the embedded emulator serves if `service.endpoint` is `emulator`."""

    rasters: dict[str, str] = Field(default_factory=dict)
    """Asset id → raster file, relative to the job file."""
    folders: dict[str, str] = Field(default_factory=dict)
    """Asset id of a collection → folder of GeoTIFFs, relative to the job file; each file is an image named after it."""
    latency: Duration = 0.0
    """Seconds before each answer."""
    latency_per_mb: Duration = 0.0
    """Seconds for each 10⁶ bytes of answer."""


_ENDPOINTS = ("auto", "standard", "high-volume", "emulator")
_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")
_TAG = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


class Service(Section):
    """The service, and the project that is billed."""

    endpoint: str = "auto"
    """auto (high-volume for getPixels), standard, high-volume, emulator, or a URL."""
    project: str | None = None
    """Cloud project that is billed; else environment, key file, saved credentials."""
    workload_tag: str | None = None
    """Label for the bill: 1 to 63 of a-z, 0-9, - and _."""
    emulator: Emulator = Emulator.model_construct()
    """Assets of the emulator that `endpoint: emulator` starts."""

    @field_validator("endpoint")
    @classmethod
    def _address(cls, endpoint: str) -> str:
        if endpoint in _ENDPOINTS or _URL.fullmatch(endpoint):
            return endpoint
        if "@" in endpoint:
            raise ValueError("an address must hold no user or password; see auth")
        raise ValueError(f"write {', '.join(_ENDPOINTS)}, or an address such as http://localhost:8080")

    @field_validator("workload_tag")
    @classmethod
    def _label(cls, tag: str | None) -> str | None:
        if tag is not None and not _TAG.fullmatch(tag):
            raise ValueError(
                "write 1 to 63 of a-z, 0-9, - and _, beginning and ending with a letter or digit"
            )
        return tag


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METHODS = (
    "key_file", "application_default", "earthengine", "access_token_env", "access_token_command", "none",
)  # fmt: skip


class Auth(Section):
    """Credentials. Left out: environment, application-default, the official client's token."""

    key_file: str | None = None
    """Service-account key file, relative to the job file."""
    application_default: bool = False
    """The credentials that `gcloud auth application-default login` saved, or the machine's own."""
    earthengine: bool = False
    """The token that the official client saved."""
    access_token_env: Annotated[str | None, Field(repr=False)] = None
    """Name of an environment variable that holds an access token."""
    access_token_command: Annotated[
        tuple[str, ...] | None,
        checked(
            lambda value: isinstance(value, (list, tuple)),
            "write the command as a list of words, such as [gcloud, auth, print-access-token]",
        ),
    ] = Field(default=None, min_length=1, repr=False)
    """Command that prints an access token, as a list of words; no shell is asked."""
    none: bool = False
    """No credentials, which an emulator may allow."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in {"application_default", "earthengine", "none"}:
            raise ValueError("write application_default, earthengine or none, or keys under it: key_file, …")
        return {value: True}

    @field_validator("access_token_env")
    @classmethod
    def _variable(cls, name: str | None) -> str | None:
        if name is not None and not _NAME.fullmatch(name):
            raise ValueError("write the name of an environment variable, never the token itself")
        return name

    @model_validator(mode="after")
    def _one_kind(self) -> Auth:
        given = [name for name in _METHODS if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        return self

    @property
    def kind(self) -> str:
        """Name of the method; `chain` where none is given."""
        return next((name for name in _METHODS if getattr(self, name)), "chain")


def _tiles(value: Any) -> Any:
    text = str(value).strip()
    if isinstance(value, (int, str)) and (
        text == "auto" or (text.isascii() and text.isdigit() and 0 < int(text) < 10**6)
    ):
        return "auto" if text == "auto" else int(text)
    raise ValueError("write auto, or a number from 1 on")


_Count = Annotated[Annotated[int, Field(ge=1)] | Literal["auto"], BeforeValidator(_tiles)]


class RequestSettings(Section):
    """Size of requests and time to wait for an answer."""

    tiles: _Count = "auto"
    """Tiles of 256² pixels in one request, at most; auto packs what limits, latency and memory make worthwhile."""
    depth: _Count = "auto"
    """Slices of a time series that come in one computed request, at most, where a chunk holds several; 1 reads each by
    itself. How images are read is settled by the first run of a mosaic."""
    timeout: Annotated[Duration, Field(gt=0)] = 90.0
    """To the first byte of an answer."""

    @property
    def depth_count(self) -> int | None:
        """`depth` as a number; None for auto."""
        return None if self.depth == "auto" else self.depth

    @property
    def tile_count(self) -> int | None:
        """`tiles` as a number; None for auto."""
        return None if self.tiles == "auto" else self.tiles


def _enough(memory: int) -> int:
    if memory < 2**27:
        raise ValueError("give at least 128MiB")
    return memory


class Limits(Section):
    """Limits of a run."""

    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Requests in flight, at most."""
    requests_per_second: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 90.0
    """Requests started each second, at most."""
    memory: Annotated[Size, AfterValidator(_enough)] = 2**30
    """Resident memory of the process, at most; not under 128 MiB."""
    retries: Annotated[int, Field(ge=0, le=100)] = 8
    """Further attempts at one request."""
    give_up_after: Annotated[Duration, Field(gt=0)] = 900.0
    """The run stops, resumable, when nothing succeeded for so long."""
    max_bytes: Size | None = None
    """The run stops, resumable, before it has fetched more."""
    max_requests: PositiveInt | None = None
    """The run stops, resumable, after so many requests."""
    max_time: Duration | None = None
    """The run stops, resumable, after so long."""
    max_eecu: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The run stops, resumable, before the upper end of the estimate of what it computed passes so many EECU-hours."""
