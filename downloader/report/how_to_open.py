"""Code that opens a mosaic, ready to run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from downloader.report.run_result import RunResult


@dataclass(frozen=True, slots=True)
class OpeningCode:
    """A few lines of Python or of a shell."""

    title: str
    code: str


def opening_line(report: RunResult) -> str:
    """Return one line of Python that opens the mosaic."""
    is_tree = len(report.groups) > 1
    if "://" in report.mosaic:
        return f"downloader.{'open_tree' if is_tree else 'open'}({report.mosaic!r})"
    opener = "open_datatree" if is_tree else "open_dataset"
    return f'xarray.{opener}({report.mosaic!r}, engine="zarr", decode_coords="all", mask_and_scale=False)'


def recipes(report: RunResult, profile: str, axis: str, array: str) -> list[OpeningCode]:
    """Return several ways to open what a run stored.

    Args:
        report: result of the run.
        profile: profile of the mosaic, `sharded` or `plain`.
        axis: leading axis of the mosaic; empty if it has none.
        array: name of the first band's array.
    """
    several, is_whole = len(report.groups) > 1, report.tiles_stored == report.tiles
    opener = "open_tree" if several else "open"
    name = "mosaic" if axis != "sample" else "chips"
    found = []
    if "://" not in report.mosaic:
        imports = "import rioxarray\nimport xarray" if axis != "sample" else "import xarray"
        title = "With xarray" + (" and rioxarray" if axis != "sample" else "")
        title += "" if is_whole else "; missing tiles hold the fill value"
        found.append(OpeningCode(title, f"{imports}\n\n{name} = {opening_line(report)}"))
    title = "With this package" + ("" if is_whole else "; missing tiles are NaN")
    missing = "" if is_whole else ', fetch=False, missing="mask"'
    found.append(
        OpeningCode(title, f"import downloader\n\n{name} = downloader.{opener}({report.mosaic!r}{missing})")
    )
    if array and profile == "plain" and not several and not axis and "://" not in report.mosaic:
        name = f'ZARR:"{report.mosaic}":/{array}'
        found.append(OpeningCode("With GDAL 3.12 or later", f"gdalinfo {shlex.quote(name)}"))
    if not is_whole:
        found.append(OpeningCode("Download the rest", "downloader run JOB.yaml    # the same job again"))
    return found
