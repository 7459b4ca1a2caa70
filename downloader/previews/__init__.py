"""Previews of mosaics: a band in grey or in colours, or three as red, green and blue, stretched, as a PNG."""

from downloader.previews.colormaps import PALETTES
from downloader.previews.preview import Look, Preview, draw, preview

__all__ = ["PALETTES", "Look", "Preview", "draw", "preview"]
