"""What a fault is: its name, whom it strikes, how often, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Final

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pixels": ("assets.getPixels", "image.computePixels", "thumbnails.getPixels"),
    "asset": ("assets.get",),
    "list": ("assets.listAssets", "assets.listImages"),
    "value": ("value.compute",),
    "token": ("token",),
}
"""Words for `on` besides method names and `any`."""


@dataclass(frozen=True, slots=True)
class Known:
    """A fault that there is."""

    about: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters it takes, with their defaults."""
    on: str = "pixels"
    """Whom it strikes if nothing is said."""


_HTTP: Final = {"message": None, "retry_after": None, "retry_after_date": None}
_FRACTION: Final = {"fraction": 0.5}

FAULTS: Final[Mapping[str, Known]] = {
    # Answers of the service, by the table of contract §6.2.
    "concurrency-429": Known("E24", _HTTP),
    "rate-429": Known("E25", _HTTP),
    "daily-429": Known("E26", _HTTP),
    "rate-403": Known("E19: 403 with the reason rateLimitExceeded in the old errors array", _HTTP),
    "internal-500": Known("E27, JSON", _HTTP),
    "unavailable-503": Known("E28, JSON", _HTTP),
    "html-502": Known("a front end's HTML page", _HTTP),
    "html-503": Known("a front end's HTML page", _HTTP),
    "deadline-504": Known("E29, JSON", _HTTP),
    "html-504": Known("a front end's HTML page", _HTTP),
    "too-large-400": Known("E1, as if the limit were lower", {**_HTTP, "limit": 1_000_000}),
    "memory-400": Known("E3", _HTTP),
    "timeout-400": Known("E4", _HTTP),
    "bad-request-400": Known("E11 with any message", _HTTP),
    "unauthenticated-401": Known("E12 for a token that is good", _HTTP),
    "expire-tokens": Known("every token given so far is too old from this request on"),
    "service-disabled-403": Known("E14", _HTTP),
    "user-project-denied-403": Known("E15", _HTTP),
    "unregistered-403": Known("E16", _HTTP),
    "html-403": Known("E20: an HTML page of an abuse front end", _HTTP),
    "permission-403": Known("E17 for the asset", _HTTP),
    "not-found-404": Known("E21 for the asset", _HTTP),
    "restricted": Known("a good answer with parallelism_restricted=true"),
    "redirect": Known("302 to another place", {"location": "http://127.0.0.2:9/elsewhere"}),
    # The token endpoint.
    "token-garbage": Known("200 with a page that is no JSON", on="token"),
    "token-empty": Known("200 with {}", on="token"),
    "token-signature": Known("400 invalid_grant: Invalid JWT Signature.", on="token"),
    "token-clock": Known("400 invalid_grant: iat and exp are out of the reasonable", on="token"),
    # Listings.
    "empty-page": Known("a page without entries, but with a token", on="list"),
    "many-pages": Known("one entry to a page", on="list"),
    "repeated-token": Known("the page token that was sent comes back", on="list"),
    "missing-field": Known("entries lack a field", {"field": "updateTime"}, on="list"),
    # Transport.
    "refuse": Known("connections are cut and refused for a while", {"seconds": 1.0}),
    "reset-before-headers": Known("the connection is reset in place of an answer"),
    "reset-in-headers": Known("… in the middle of the headers"),
    "reset-after-headers": Known("… when the headers are sent"),
    "reset-in-body": Known("… in the middle of the body", _FRACTION),
    "short-body": Known("the connection is closed before Content-Length is reached", _FRACTION),
    "cut-chunked": Known("a chunked body ends without its last chunk", _FRACTION),
    "stall-before-headers": Known("silence, then the answer", {"seconds": 3600.0}),
    "stall-after-headers": Known("headers, silence, then the body", {"seconds": 3600.0}),
    "stall-in-body": Known("half of the body, silence, then the rest", {"seconds": 3600.0, **_FRACTION}),
    "drip": Known("the body, one byte at a time", {"seconds_per_byte": 1.0}),
    "close-after": Known("a good answer, then the connection is closed unannounced", {"seconds": 0.0}),
    "chunked": Known("a good answer in chunks, without a length"),
    "gzip": Known("a good answer, compressed whether or not that was accepted"),
    "gzip-bomb": Known("a small body that inflates without end", {"megabytes": 512}),
    "oversized": Known("far more bytes than a good answer has", {"megabytes": 64}),
    # Payload of a 200.
    "json-200": Known("a JSON error under 200"),
    "html-200": Known("an HTML page under 200"),
    "empty-200": Known("nothing under 200"),
    "npy-truncated": Known("pixels are missing at the end, the length says so", _FRACTION),
    "npy-trailing": Known("bytes follow the pixels", {"bytes": 64}),
    "npy-magic": Known("the magic is damaged"),
    "npy-version": Known("the same array in format version 2.0 or 3.0", {"major": 2}),
    "npy-huge-header": Known("a header of 65,535 bytes, nearly all of it spaces"),
    "npy-header-garbage": Known("a header that is no dict"),
    "npy-shape": Known("one row too few, the header says so"),
    "npy-transposed": Known("height and width exchanged in the header"),
    "npy-fields-missing": Known("the last band is not there"),
    "npy-fields-extra": Known("one band too many"),
    "npy-fields-order": Known("the bands in reverse, header and pixels alike"),
    "npy-dtype": Known("every band twice as wide, header and pixels alike"),
    "npy-fortran": Known("the same array, columns first"),
    "npy-big-endian": Known("the same array, most significant byte first"),
    "npy-plain": Known("no structure: one plain array of the first band"),
    "npy-object": Known(
        "an array of objects: a pickle that makes the folder `path` when it is loaded", {"path": None}
    ),
}


class FaultError(ValueError):
    """A fault that cannot be switched on; the message says why."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One active fault."""

    fault: str
    """Key of FAULTS."""
    on: str = ""
    """`any`, a key of KINDS, or a method; empty: what the fault itself strikes."""
    times: int | None = None
    """Strikes at most so often; None is no bound."""
    skip: int = 0
    """Leaves the first so many matching requests alone."""
    every: int = 1
    """Then strikes each so-manieth of them."""
    probability: float = 1.0
    """And of those each with this probability, by the seed."""
    above_pixels: int | None = None
    """Only requests for more than so many pixels (width × height)."""
    above_bands: int | None = None
    """Only requests for more than so many bands."""
    asset: str = "*"
    """Only resources of this name; `*` and `?` stand for any characters."""
    band: str | None = None
    """Only requests that ask for this band."""
    covers: tuple[int, int] | None = None
    """Only windows that hold this native pixel (column, row)."""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def matches(
        self,
        method: str,
        resource: str,
        bands: tuple[str, ...] | None,
        size: tuple[int, int] | None,
        window: tuple[int, int, int, int] | None,
    ) -> bool:
        """Whether a request is one that this fault may strike."""
        on = self.on or FAULTS[self.fault].on
        if on != "any" and method != on and method not in KINDS.get(on, ()):
            return False
        if not fnmatchcase(resource, self.asset):
            return False
        if self.above_pixels is not None and (size is None or size[0] * size[1] <= self.above_pixels):
            return False
        if self.above_bands is not None and (bands is None or len(bands) <= self.above_bands):
            return False
        if self.band is not None and self.band not in (bands or ()):
            return False
        return self.covers is None or _holds(window, self.covers)


def _holds(window: tuple[int, int, int, int] | None, pixel: tuple[int, int]) -> bool:
    if window is None:
        return False
    column, row, width, height = window
    return column <= pixel[0] < column + width and row <= pixel[1] < row + height


def parse(given: Mapping[str, Any]) -> Spec:
    """A fault from its JSON: the fields of `Spec`, and the fault's own parameters beside them.

    Raises:
        FaultError: naming what is unknown or missing.
    """
    name = str(given.get("fault"))
    if name not in FAULTS:
        raise FaultError(f"unknown fault {name!r}; there are: {', '.join(FAULTS)}")
    common = {f.name for f in fields(Spec)} - {"parameters"}
    parameters = dict(FAULTS[name].parameters)
    for key in given:
        if key not in common and key not in parameters:
            known = ", ".join(sorted(common | set(parameters)))
            raise FaultError(f"fault {name} has no '{key}'; it has: {known}")
    parameters.update({k: v for k, v in given.items() if k not in common})
    own = {k: v for k, v in given.items() if k in common}
    if "covers" in own:
        column, row = own["covers"]
        own["covers"] = (int(column), int(row))
    return Spec(**own, parameters=parameters)
