"""The faults that can be switched on: names, requests they strike, how often, and parameters."""

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
    "computed": ("image.computePixels", "value.compute", "thumbnails.getPixels"),
    "token": ("token",),
}
"""Words for `on` besides method names and `any`."""


@dataclass(frozen=True, slots=True)
class Known:
    """Description of a fault."""

    about: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters with their defaults."""
    on: str = "pixels"
    """Requests it strikes by default."""


_HTTP: Final = {"status": None, "message": None, "retry_after": None, "retry_after_date": None}
_FRACTION: Final = {"fraction": 0.5}

FAULTS: Final[Mapping[str, Known]] = {
    # Errors of docs/contract.md §6.2.
    "concurrency-429": Known("too many requests at once (E24)", _HTTP),
    "rate-429": Known("too many requests in a minute (E25)", _HTTP),
    "daily-429": Known("the custom quota of compute time a day is used up (E26)", _HTTP),
    "monthly-429": Known("the custom quota of compute time a month is used up (E26)", _HTTP),
    "aggregations-429": Known("too many aggregations at once (E36)", _HTTP),
    "rate-403": Known("403 with the reason rateLimitExceeded in the old errors array (E19)", _HTTP),
    "internal-500": Known("an internal error, JSON (E27)", _HTTP),
    "unavailable-503": Known("currently unavailable, JSON (E28)", _HTTP),
    "memory-capacity-503": Known("memory capacity exceeded (E35)", _HTTP),
    "html-502": Known("a front end's HTML page (E28)", _HTTP),
    "html-503": Known("a front end's HTML page (E28)", _HTTP),
    "deadline-504": Known("deadline exceeded, JSON (E29)", _HTTP),
    "html-504": Known("a front end's HTML page (E29)", _HTTP),
    "too-large-400": Known("the request is too large, by a lower limit (E1)", {**_HTTP, "limit": 1_000_000}),
    "memory-400": Known("user memory limit exceeded (E3)", _HTTP),
    "timeout-400": Known("computation timed out (E4)", _HTTP),
    "output-too-large-400": Known("the computed values take too much memory (E32)", _HTTP),
    "reprojection-too-large-400": Known("a reprojection needs too many pixels (E33)", _HTTP),
    "reproject-exceeds-400": Known("Image.reproject asks for more than 2^31 pixels (E34)", _HTTP),
    "no-bands-400": Known("a band is selected of an image without bands (E37)", _HTTP),
    "load-not-found-400": Known("Image.load does not find the image, in the older words (E38)", _HTTP),
    "bad-request-400": Known("any other 400 (E11)", _HTTP),
    "unauthenticated-401": Known("a good token is refused (E12)", _HTTP),
    "expire-tokens": Known("all tokens given so far expire with this request"),
    "service-disabled-403": Known("the API is not enabled in the project (E14)", _HTTP),
    "sdk-project-403": Known("the API is not enabled in a project of Google's own (E41)", _HTTP),
    "quota-project-403": Known("a person's credentials need a quota project (E40)", _HTTP),
    "user-project-denied-403": Known("the caller may not use the project (E15)", _HTTP),
    "unregistered-403": Known("the project is not registered (E16)", _HTTP),
    "not-signed-up-403": Known("neither caller nor project is registered (E39)", _HTTP),
    "html-403": Known("an HTML page of the front end that blocks abuse (E20)", _HTTP),
    "permission-403": Known("the asset may not be read (E17)", _HTTP),
    "not-found-404": Known("the asset does not exist (E21)", _HTTP),
    "restricted": Known("a good answer with parallelism_restricted=true"),
    "redirect": Known("302 to another place", {"location": "http://127.0.0.2:9/elsewhere"}),
    # The token endpoint.
    "token-garbage": Known("200 with a page in place of JSON", on="token"),
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
    "hang": Known(
        "silence, then a 500, as wrong versions of an input cause", {"seconds": 3600.0}, on="computed"
    ),
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
    "npy-header-garbage": Known("a header that is not a dict"),
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
    """Number of requests it strikes at most; None for no limit."""
    skip: int = 0
    """Number of matching requests that are left alone first."""
    every: int = 1
    """Strike every n-th matching request after those."""
    probability: float = 1.0
    """Probability of striking each of those, by the seed."""
    above_pixels: int | None = None
    """Only requests for more pixels (width × height) than this."""
    above_bands: int | None = None
    """Only requests for more bands than this."""
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
        """Return whether a request is one that this fault may strike."""
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
    """Return a fault from its JSON: the fields of `Spec`, and the fault's own parameters beside them.

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
