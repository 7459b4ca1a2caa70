"""How to open a mosaic: code that runs as it stands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.report.report import Report

__all__ = ["Recipe", "recipes"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A few lines of Python or of a shell."""

    title: str
    code: str


def recipes(report: Report, profile: str, axis: str, array: str) -> list[Recipe]:
    """How to open what a run stored.

    Args:
        report: of the run.
        profile: of the mosaic, `sharded` or `plain`.
        axis: its leading axis.
        array: name of its first band's array.
    """
    several, whole = len(report.groups) > 1, report.tiles_stored == report.tiles
    made = "open_tree" if several else "open_group"
    name = "mosaic" if axis != "sample" else "chips"
    found = []
    if "://" not in report.mosaic:
        opened = "open_datatree" if several else "open_dataset"
        imports = "import rioxarray\nimport xarray" if axis != "sample" else "import xarray"
        title = "With xarray" + (" and rioxarray" if axis != "sample" else "")
        if not whole:
            title += "; what is not stored shows the fill value"
        code = f'{imports}\n\n{name} = xarray.{opened}({report.mosaic!r}, engine="zarr", decode_coords="all")'
        found.append(Recipe(title, code))
    missing = "" if whole else ', missing="mask"'
    title = "With this package" + ("" if whole else "; NaN stands where tiles are not stored")
    found.append(
        Recipe(title, f"from downloader.mosaic import {made}\n\n{name} = {made}({report.mosaic!r}{missing})")
    )
    if array and profile == "plain" and not several and not axis and "://" not in report.mosaic:
        name = f'ZARR:"{report.mosaic}":/{array}'
        found.append(Recipe("With GDAL 3.12 or later", f"gdalinfo {shlex.quote(name)}"))
    if not whole:
        found.append(Recipe("Fetch the rest", "downloader run JOB.yaml    # the same job again"))
    return found
