"""Any amount of Earth Engine pixels into one georeferenced Zarr mosaic."""

from downloader._version import __version__

__all__ = ["__version__"]
