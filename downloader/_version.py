"""The version, in the one place that the build reads."""

from __future__ import annotations

from typing import Final

__version__ = "0.1.0"


_LIBRARIES: Final = (
    "numpy", "zarr", "numcodecs", "pyproj", "shapely", "aiohttp", "httpx", "google-auth", "obstore", "xarray",
    "rioxarray", "dask", "distributed", "rasterio", "exactextract", "pyarrow", "pyogrio",
)  # fmt: skip
"""Those that touch pixels, places or the wire; of the optional ones what is installed is told."""


def versions() -> dict[str, str]:
    """Name → version, this package first."""
    # Some 30 ms, which a command that names no versions need not take.
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"earthengine-downloader": __version__, "python": platform.python_version()}
    found["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
