"""The mosaic: one Zarr v3 hierarchy on disk, its ledger, its lock, and the way to read it.

What is imported from here loads neither zarr nor xarray nor pyproj; they come when a mosaic is opened.
"""

from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import existing, open_for_writing
from downloader.mosaic.reader import open_group, open_tree
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.record.state import Counts
from downloader.mosaic.status import Status, status
from downloader.mosaic.writer import ZarrMosaic

__all__ = [
    "Counts",
    "MosaicSettings",
    "Status",
    "ZarrMosaic",
    "existing",
    "open_for_writing",
    "open_group",
    "open_tree",
    "read_identity",
    "status",
]
