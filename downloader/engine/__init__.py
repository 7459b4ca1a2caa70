"""One run: connect, resolve, plan, open the mosaic, fetch, report."""
