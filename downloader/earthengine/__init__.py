"""The Earth Engine client: names, credentials, transport, the error table, catalogue and pixels.

    names ─┐
    messages ─ answers ─┐
    pace ─ transport ───┼─ client ─┬─ catalogue
    token_http ─ credentials ─ auth ┘ └─ pixels ─ canary

Only `transport` knows an HTTP library and only `credentials` a Google one; both import it inside functions, so
importing this package is cheap.
"""

from downloader.earthengine.auth import AuthSettings, TokenSource
from downloader.earthengine.canary import Settled, settle
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.client import EarthEngine
from downloader.earthengine.names import asset_id, asset_name
from downloader.earthengine.pixels import RestPixelSource

__all__ = [
    "AuthSettings",
    "EarthEngine",
    "EarthEngineCatalogue",
    "RestPixelSource",
    "Settled",
    "TokenSource",
    "asset_id",
    "asset_name",
    "settle",
]
