"""Read the catalogue: images and collections as planning needs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from downloader.earthengine.documents import ImageReader, as_list, as_mapping, computed_band, parse_image
from downloader.earthengine.elements import list_elements
from downloader.earthengine.listing import Listing
from downloader.earthengine.names import NO_PROJECT, asset_name
from downloader.earthengine.pixels import RestPixelSource
from downloader.earthengine.query import Query
from downloader.errors import Action, DownloadError, JobError, TileError
from downloader.model.image import Image
from downloader.text import cut

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from downloader.earthengine.client import EarthEngine
    from downloader.model.image_query import ImageQuery
    from downloader.planning import PixelRequest


class EarthEngineCatalogue:
    """The catalogue of the service."""

    def __init__(self, client: EarthEngine) -> None:
        self._client = client

    async def document(self, asset: str) -> dict[str, Any]:
        """Return the service's own document of an asset, given by id or name, unchanged.

        Raises:
            JobError: there is no asset of this name.
            AuthenticationError: it may not be read.
            StoppedError: the service did not answer for too long.
        """
        return await self._client.call("GET", asset_name(asset), subject=asset)

    async def image(self, asset: str, bands: Collection[str] | None = None) -> Image:
        """Return the image of this id or name.

        Args:
            asset: id or name.
            bands: those that must be usable; a band outside them with a grid that pixels cannot be cut from is
                left out. None wants all.

        Raises:
            JobError: it is no image, or one of the bands cannot be used.
            AuthenticationError: it may not be read.
            StoppedError: the service did not answer for too long.
        """
        document = await self.document(asset)
        return parse_image(document, asset_name(asset), bands)

    async def images(self, query: ImageQuery) -> list[Image]:
        """See `Catalogue.images`."""
        asked = Query.of(query)
        if query.expression:
            return await list_elements(self._client, asked, query.keep)
        reader = ImageReader(query.bands, query.keep, query.footprints)
        return await Listing(self._client).select(asked, reader.read)

    async def computed(self, expression: str, name: str) -> Image | None:
        """See `Catalogue.computed`."""
        path = f"projects/{self._client.project or NO_PROJECT}/value:compute"
        answer = await self._client.call(
            "POST", path, body={"expression": json.loads(expression)}, subject=name
        )
        result = answer.get("result")
        document, elements = as_mapping(result), as_list(as_mapping(result).get("features"))
        kind = document.get("type")
        # A join of image collections is called one of features.
        if kind == "ImageCollection" or (
            elements and all(as_mapping(one).get("type") == "Image" for one in elements)
        ):
            return None
        if kind != "Image":
            raise JobError(
                f"computes {cut(kind or type(result).__name__)}, and only an ee.Image or ee.ImageCollection has pixels; give what "
                "its serialize() returns",
                key="source.expression",
            )
        bands = tuple(map(computed_band, as_list(document.get("bands"))))
        if not bands:
            raise JobError("computes an image without bands", key="source.expression")
        return Image(name, name, bands, properties=dict(as_mapping(document.get("properties"))))

    async def pixels(self, request: PixelRequest, subject: str) -> NDArray[np.void]:
        """See `Catalogue.pixels`."""
        source = RestPixelSource(self._client)
        try:
            return await self._client.persist(lambda: source.fetch(request), subject)
        except DownloadError as error:
            if isinstance(error.__cause__, TileError) and error.__cause__.problem.action is Action.SPLIT:
                raise error.__cause__ from error
            raise
