"""The API's methods on a catalogue: one call per method, knowing nothing of sockets."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from earthengine_emulator.api import discovery, errors, limits, schema
from earthengine_emulator.api.record import Record
from earthengine_emulator.api.replies import Reply, document
from earthengine_emulator.api.routing import Route
from earthengine_emulator.api.settings import Settings
from earthengine_emulator.catalogue.catalogue import Catalogue, check_readable
from earthengine_emulator.catalogue.listing import Listing
from earthengine_emulator.catalogue.model import Asset, Image
from earthengine_emulator.compute import algorithms, functions, to_json
from earthengine_emulator.compute.computed import Computation
from earthengine_emulator.compute.expression import Expression
from earthengine_emulator.pixels import encode, pixels, pyramid, sampling
from earthengine_emulator.server import projects
from earthengine_emulator.server.auth import Authority

PIXEL_FORMATS_REFUSED: Final = (
    "TF_RECORD_IMAGE",
    "ZIPPED_GEO_TIFF",
    "ZIPPED_GEO_TIFF_PER_BAND",
    "MULTI_BAND_IMAGE_TILE",
)
THUMBNAIL_LIFE_S: Final = 4 * 3600.0
_GRAPHS_KEPT: Final = 16
THUMBNAILS_KEPT: Final = 10_000


class Service:
    """The methods of the API, for requests that are already admitted."""

    def __init__(self, catalogue: Catalogue, settings: Settings, authority: Authority) -> None:
        self.catalogue = catalogue
        self.settings = settings
        self.authority = authority
        self.pyramids = pyramid.Pyramids()
        self._library = functions.library(catalogue, self.pyramids)
        self._evaluated = lru_cache(maxsize=_GRAPHS_KEPT)(self._evaluate)
        self._thumbnails: dict[str, tuple[float, dict[str, Any]]] = {}
        self.listing = Listing(catalogue, settings)

    def call(self, route: Route, query: Mapping[str, str], body: bytes, record: Record) -> Reply:
        """Return the answer of a method.

        Args:
            route: method and resource.
            query: query parameters; of the common ones of docs/contract.md §1.2 none matters.
            body: request body as it came.
            record: where what is asked for is noted.

        Raises:
            ApiError: for everything that is no success.
        """
        if route.method == "assets.get":
            return document(self.asset(route.resource).document())
        if route.method == "assets.getPixels":
            return self.get_pixels(route.resource, body, record)
        if route.method == "discovery":
            return document(discovery.document(query.get("version") or "v1"))
        if route.method == "projects.getConfig":
            state = projects.registration_state(route.project or "")
            return document({"name": route.resource, "registrationState": state})
        if route.method == "algorithms.list":
            return document(algorithms.document())
        if route.method == "assets.listAssets":
            return self.listing.assets(route.resource, query)
        if route.method == "assets.listImages":
            return self.listing.images(route.resource, query)
        if route.method == "image.computePixels":
            return self.compute_pixels(body, record)
        if route.method == "value.compute":
            asked = schema.check(parse(body), schema.COMPUTE_VALUE)
            return document(
                {
                    "result": to_json.value(
                        self.evaluate(asked.get("expression")), self.settings.limit_elements
                    )
                }
            )
        if route.method == "thumbnails.create":
            return self.create_thumbnail(route.project or "", body)
        if route.method == "thumbnails.getPixels":
            return self.thumbnail_pixels(route.resource, record)
        raise errors.method_not_found(route.resource)

    def asset(self, name: str) -> Asset:
        """Return the asset of that name, if it may be seen (E17, E21)."""
        check_readable(name)
        asset = self.catalogue.get(name)
        if asset is None:
            raise errors.asset_not_found(name)
        return asset

    def get_pixels(self, name: str, body: bytes, record: Record) -> Reply:
        """Return the pixels of an asset: assets.getPixels."""
        asked = schema.check(parse(body), schema.GET_PIXELS)
        asset = self.asset(name)
        if not isinstance(asset, Image):
            raise errors.invalid_argument(f"Asset '{name}' is not an Image.")
        request = pixels.resolve(asset, asked, self.settings)
        record.bands = tuple(asset.bands[b].id for b in request.bands)
        record.size = (request.grid.width, request.grid.height)
        return self.encode(request, record)

    def evaluate(self, expression: object) -> object:
        """Evaluate an expression; the last few are kept, as the requests of a job ask for the same again and again."""
        return self._evaluated(json.dumps(expression))

    def _evaluate(self, text: str) -> object:
        return Expression(json.loads(text), self._library, self.settings.limit_depth).value()

    def switched(self) -> None:
        """Forget what was evaluated: switches or assets changed."""
        self._evaluated.cache_clear()
        self.listing.forget()

    def compute_pixels(self, body: bytes, record: Record) -> Reply:
        """Return the pixels of an expression: image.computePixels."""
        asked = schema.check(parse(body), schema.COMPUTE_PIXELS)
        return self._pixels_of(asked, record)

    def _pixels_of(self, asked: Mapping[str, Any], record: Record) -> Reply:
        """Return the pixels of the expression in a checked body."""
        image = self.evaluate(asked.get("expression"))
        if not isinstance(image, Image):
            raise errors.invalid_argument("Expression must evaluate to an image.")
        fixed = image.source.grid if isinstance(image.source, Computation) else None
        if fixed is not None and not asked.get("grid"):
            members = dict(zip(schema.AFFINE, fixed.affine, strict=True))
            size = {"width": fixed.width, "height": fixed.height}
            code = "crsCode" if fixed.crs_is_code else "crsWkt"
            asked = {**asked, "grid": {"affineTransform": members, "dimensions": size, code: fixed.crs}}
        request = pixels.resolve(image, asked, self.settings)
        record.bands = tuple(image.bands[b].id for b in request.bands)
        record.size = (request.grid.width, request.grid.height)
        if record.method == "image.computePixels":
            limits.check_computed(self.settings, *record.size, len(request.bands))
        return self.encode(request, record)

    def create_thumbnail(self, project: str, body: bytes) -> Reply:
        """Create a name that gives pixels to whoever has it, for some hours: thumbnails.create."""
        asked = schema.check(parse(body), schema.THUMBNAIL)
        self.evaluate(asked.get("expression"))
        name = f"projects/{project}/thumbnails/{secrets.token_hex(16)}-{secrets.token_hex(16)}"
        self._thumbnails[name] = (time.monotonic() + THUMBNAIL_LIFE_S, asked)
        while len(self._thumbnails) > THUMBNAILS_KEPT:
            del self._thumbnails[next(iter(self._thumbnails))]
        return document({"name": name})

    def thumbnail_pixels(self, name: str, record: Record) -> Reply:
        """Return the pixels of a thumbnail, by name alone: thumbnails.getPixels."""
        expires, asked = self._thumbnails.get(name, (0.0, {}))
        if expires <= time.monotonic():
            raise errors.ApiError(404, f"Thumbnail '{name}' not found or expired.")
        return self._pixels_of(asked, record)

    @property
    def _mixed(self) -> bool:
        """True: a GeoTIFF may hold bands of several types."""
        return self.settings.mixed_geotiff == "promote"

    def encode(self, request: pixels.PixelRequest, record: Record) -> Reply:
        """Return the pixels of a request in the format it asks for (docs/contract.md §4.5)."""
        offset = sampling.place(request.image, request.bands[0], request.grid).offset
        if offset is not None:
            record.window = (*offset, request.grid.width, request.grid.height)
        if record.method == "thumbnails.getPixels" and request.file_format.startswith("ZIPPED_"):
            per_band = request.file_format.endswith("PER_BAND")
            return encode.zipped(request, self.pyramids, per_band=per_band, mixed=self._mixed)
        if request.file_format in PIXEL_FORMATS_REFUSED:
            raise errors.invalid_argument(f"The file format '{request.file_format}' is not supported here.")
        if request.file_format == "NPY":
            settings = self.settings
            if record.method == "image.computePixels" and settings.computed_fill != "same":
                settings = replace(settings, fill=settings.computed_fill)
            stream = pixels.NpyStream(request, self.pyramids, settings)
            return Reply(200, stream, self.settings.pixel_content_type)
        if request.file_format == "GEO_TIFF":
            return encode.geotiff(request, self.pyramids, mixed=self._mixed)
        return encode.picture(request, self.pyramids)


def parse(body: bytes) -> dict[str, Any]:
    """Return a request body as a JSON object, whatever its content type says (docs/contract.md §2.1)."""
    try:
        parsed = json.loads(body or b"{}")
    except ValueError as error:
        raise errors.malformed_json(str(error)) from None
    if not isinstance(parsed, dict):
        raise errors.malformed_json("Root element must be a message.")
    return parsed
