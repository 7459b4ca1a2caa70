"""Write a NetCDF-4 file of bands of one group: all slices with their times, or one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from downloader.arguments import writing
from downloader.errors import MissingExtraError
from downloader.exports.cog import Compress

if TYPE_CHECKING:
    import xarray


def write_netcdf(
    file: Path,
    name: str,
    dataset: xarray.Dataset,
    compress: Compress,
    watch: Callable[[int, int], None],
) -> None:
    """Write a file, a chunk of Dask's at a time.

    Args:
        file: path of the file.
        name: what messages call it.
        dataset: contents of the file.
        compress: `deflate`, which every reader knows, or `none`.
        watch: called with (steps done, steps in all). May raise to stop.

    Raises:
        MissingExtraError: h5netcdf is not installed.
        JobError: a file that cannot be written.
        StoppedError: the disk is full.
    """
    try:
        import h5netcdf  # noqa: F401  # xarray's engine
        from dask.callbacks import Callback
    except ImportError as error:
        raise MissingExtraError("Writing NetCDF", "netcdf") from error
    encoding = {
        str(band): {"zlib": compress == "deflate", "complevel": 4, "shuffle": True}
        for band, array in dataset.data_vars.items()
        if array.ndim >= 2
    }
    steps = {"done": 0, "total": 0}

    def start(graph: Any) -> None:  # noqa: ANN401  # Dask's
        steps["total"] = len(graph)

    def step(_key: object, _result: object, _graph: object, _state: object, _worker: object) -> None:
        steps["done"] += 1
        watch(min(steps["done"], steps["total"]), max(1, steps["total"]))

    with writing(name, "export again"), Callback(start=start, posttask=step):  # type: ignore[no-untyped-call]  # Dask has no types
        dataset.to_netcdf(file, engine="h5netcdf", format="NETCDF4", encoding=encoding)
