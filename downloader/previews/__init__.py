"""Quick looks of mosaics: a band in grey or in colours, three as red, green and blue, stretched, as a picture."""

from downloader.previews.colormaps import PALETTES
from downloader.previews.preview import Picture, draw, preview

__all__ = ["PALETTES", "Picture", "draw", "preview"]
