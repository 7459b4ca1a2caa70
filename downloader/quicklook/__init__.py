"""Quick looks of mosaics: a band in grey or in colours, three as red, green and blue, stretched, as a picture."""

from downloader.quicklook.drawing import Picture, draw, preview
from downloader.quicklook.palettes import PALETTES

__all__ = ["PALETTES", "Picture", "draw", "preview"]
