"""Pixels of a request: grids, sampling, encoding."""
