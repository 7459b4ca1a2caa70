"""Coarser levels of a mosaic: which there are, how they are built, which are stale."""
