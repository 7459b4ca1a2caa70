"""Values of the field: CRS, pixel grids, images, times, filters. No I/O."""
