"""Code that opens a mosaic, ready to run."""

from __future__ import annotations

import shlex

from downloader.report.run_result import RunResult


def opening_line(report: RunResult) -> str:
    """Return one line of Python that opens the mosaic."""
    is_tree = len(report.groups) > 1
    if "://" in report.mosaic:
        return f"downloader.{'open_tree' if is_tree else 'open'}({report.mosaic!r})"
    opener = "open_datatree" if is_tree else "open_dataset"
    return f'xarray.{opener}({report.mosaic!r}, engine="zarr", decode_coords="all", mask_and_scale=False)'


def recipes(report: RunResult, profile: str, axis: str, array: str) -> list[tuple[str, str]]:
    """Return several ways to open what a run stored: (title, a few lines of Python or of a shell).

    Args:
        report: result of the run.
        profile: profile of the mosaic, `sharded` or `plain`.
        axis: leading axis of the mosaic; empty if it has none.
        array: name of the first band's array.
    """
    several, is_whole, is_folder = (
        len(report.groups) > 1,
        report.tiles_stored == report.tiles,
        "://" not in report.mosaic,
    )
    name, imports, tools = "mosaic", "import rioxarray\nimport xarray", "xarray and rioxarray"
    if axis == "sample":
        name, imports, tools = "chips", "import xarray", "xarray"
    found = []
    if is_folder:
        title = f"With {tools}{'' if is_whole else '; missing tiles hold the fill value'}"
        found.append((title, f"{imports}\n\n{name} = {opening_line(report)}"))
    title = f"With this package{'' if is_whole else '; missing tiles are NaN'}"
    call = f"{'open_tree' if several else 'open'}({report.mosaic!r}"
    missing = "" if is_whole else ', fetch=False, missing="mask"'
    found.append((title, f"import downloader\n\n{name} = downloader.{call}{missing})"))
    if array and profile == "plain" and not several and not axis and is_folder:
        path = f'ZARR:"{report.mosaic}":/{array}'
        found.append(("With GDAL 3.12 or later", f"gdalinfo {shlex.quote(path)}"))
    if not is_whole:
        found.append(("Download the rest", "downloader run JOB.yaml    # the same job again"))
    return found
