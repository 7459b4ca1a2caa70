"""Export a mosaic as Cloud-Optimised GeoTIFF."""
