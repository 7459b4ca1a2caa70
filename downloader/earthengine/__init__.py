"""The Earth Engine client: names, credentials, transport, the error table, catalogue and pixels.

    messages ─ token_http ─ issuers ─ credentials ─ auth ─┐
    pace ─ transport (http) ─ answers ────────────────────┼─ client ─┬─ catalogue ─┬─ listing
    names ────────────────────────────────────────────────┘          │             └─ thumbnail
    shapes ─ query                                                   └─ pixels ─ band_types

Only `http` and `token_http` know an HTTP library, only `issuers` and `credentials` Google's; they are imported with the
first call, so importing this package is cheap.
"""

from downloader.earthengine.auth.tokens import AuthSettings, TokenSource
from downloader.earthengine.band_types import answered_types
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.client import EarthEngine
from downloader.earthengine.names import asset_name
from downloader.earthengine.pixels import RestPixelSource

__all__ = [
    "AuthSettings",
    "EarthEngine",
    "EarthEngineCatalogue",
    "RestPixelSource",
    "TokenSource",
    "answered_types",
    "asset_name",
]
