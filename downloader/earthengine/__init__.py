"""The Earth Engine client: names, credentials, transport, the error table, catalogue and pixels.

The HTTP library is imported when the first client is entered, google-auth when credentials are found.
"""

from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.auth.tokens import TokenSource
from downloader.earthengine.band_types import answered_types
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.client import Access, EarthEngine
from downloader.earthengine.names import asset_name
from downloader.earthengine.pixels import RestPixelSource

__all__ = [
    "Access",
    "AuthSettings",
    "EarthEngine",
    "EarthEngineCatalogue",
    "RestPixelSource",
    "TokenSource",
    "answered_types",
    "asset_name",
]
