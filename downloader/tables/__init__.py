"""Statistics of places: a table of what a mosaic holds in polygons, at points, or in its own samples."""
