"""Overviews: coarser levels of a mosaic, how they are built, and which of them are stale."""
