"""The layout of a mosaic on disk: Zarr metadata, coordinates, shards, coverage."""
