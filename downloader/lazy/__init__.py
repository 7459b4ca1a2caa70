"""Datasets of mosaics that are not there yet: reading pixels fetches the tiles that hold them."""
