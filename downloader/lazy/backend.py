"""The engine of xarray that opens jobs and mosaics: `xarray.open_dataset(job, engine="earthengine-downloader")`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import xarray
from xarray.backends import BackendEntrypoint

from downloader.lazy.open import open as open_lazily
from downloader.lazy.open import open_tree


class DownloaderBackend(BackendEntrypoint):
    """Jobs and mosaics of this package, read lazily; keywords are those of `downloader.open`."""

    description = "Open Earth Engine jobs and mosaics of earthengine-downloader; reading fetches"
    supports_groups = True
    open_dataset_parameters = (
        "filename_or_obj", "drop_variables", "mask_and_scale", "store", "group", "level", "missing", "fetch", "wait",
        "credentials", "progress",
    )  # fmt: skip

    def guess_can_open(self, filename_or_obj: Any) -> bool:  # noqa: ANN401, ARG002  # as xarray has it
        """Return False: the engine is named by those who want it."""
        return False

    def open_dataset(
        self,
        filename_or_obj: Any,  # noqa: ANN401  # a job in any form
        *,
        drop_variables: str | Iterable[str] | None = None,
        mask_and_scale: bool = True,
        **keywords: Any,
    ) -> xarray.Dataset:
        """Return what `downloader.open` does, without Dask; numbers are decoded, as xarray's own default is."""
        dataset = open_lazily(filename_or_obj, chunks=None, mask_and_scale=mask_and_scale, **keywords)
        return dataset.drop_vars(_names(drop_variables), errors="ignore")

    def open_datatree(
        self,
        filename_or_obj: Any,  # noqa: ANN401
        *,
        drop_variables: str | Iterable[str] | None = None,
        mask_and_scale: bool = True,
        **keywords: Any,
    ) -> xarray.DataTree:
        """Return what `downloader.open_tree` does, in the same way."""
        tree = open_tree(filename_or_obj, chunks=None, mask_and_scale=mask_and_scale, **keywords)
        kept: xarray.DataTree = tree.map_over_datasets(
            lambda one: one.drop_vars(_names(drop_variables), errors="ignore")
        )
        return kept


def _names(names: str | Iterable[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
