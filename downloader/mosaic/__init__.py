"""The mosaic: one Zarr v3 hierarchy on disk, its ledger, its lock, and the way to read it.

What is imported from here loads neither zarr nor xarray nor pyproj; they come when a mosaic is opened.
"""
