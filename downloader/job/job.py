"""The job as the user asks for it, validated and frozen. It knows nothing of machines or of secrets' contents."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import model_validator

from downloader.errors import JobError
from downloader.job.location import parse_place
from downloader.job.sections.executor import ExecutorSection
from downloader.job.sections.file_section import FileSection, document_of
from downloader.job.sections.grid import Grid
from downloader.job.sections.mosaic import MosaicSection
from downloader.job.sections.region import Region
from downloader.job.sections.service import Auth, Limits, RequestSettings, Service
from downloader.job.sections.source import OF_LISTING, OF_MANY, Source

_ARTICLES = {"images": "several", "collection": "a collection", "expression": "an expression"}


class Job(FileSection):
    """A download job: one image asset, a region of it, and the mosaic they become.

    Build one from YAML (`Job.parse`), from a mapping of the same shape (`Job.from_dict`), or from the section
    models. Equal jobs compare equal, however they were written.
    """

    source: Source
    region: Region = Region.model_construct()
    grid: Grid = Grid.model_construct()
    mosaic: MosaicSection
    service: Service = Service.model_construct()
    auth: Auth = Auth.model_construct()
    request: RequestSettings = RequestSettings.model_construct()
    limits: Limits = Limits.model_construct()
    executor: ExecutorSection = ExecutorSection.model_construct()

    @model_validator(mode="after")
    def _a_region_for_many(self) -> Self:
        if self.source.kind == "asset":
            return self
        if self.region.window is not None:
            raise JobError(
                f"counts in the pixels of one image, and source names {_ARTICLES[self.source.kind]}; give "
                "region.bbox or region.geometry",
                key="region.window",
            )
        if self.region.bbox is None and self.region.samples is None and not self.region.is_shaped:
            raise JobError(
                f"is needed with source.{self.source.kind}; give region.bbox or region.geometry", key="region"
            )
        return self

    @model_validator(mode="after")
    def _grid_of_source(self) -> Self:
        if self.grid.zones is not None and (self.source.kind == "asset" or self.region.samples is not None):
            samples = self.region.samples is not None
            raise JobError(
                f"goes with many images on one region; {'each sample has' if samples else 'one image has'} a grid of its own, "
                "so leave it out",
                key="grid.zones",
            )
        if self.source.kind == "expression" and self.grid.resampling != "nearest":
            raise JobError(
                "an expression says itself how it is resampled, by ee.Image.resample(); leave this out",
                key="grid.resampling",
            )
        return self

    @model_validator(mode="after")
    def _samples(self) -> Self:
        if self.region.samples is None:
            if self.source.pick == "nearest":
                raise JobError(
                    "is to the date of a point or field, and region has none; add region.points or region.fields, or leave pick out",
                    key="source.pick",
                )
            return self
        key = self.region.samples_key
        is_one = self.source.every == "all" or self.source.expression is not None
        allowed = {"pick", "months", "season", *(("every", "reduce") if is_one else ())}
        given = self.source.model_fields_set - allowed
        stray: list[str] = [name for name in (*OF_MANY, *OF_LISTING) if name in given]
        if stray:
            raise JobError(
                f"means nothing with {key}, whose images stand one by one; leave it out, or make one image of all "
                "with every: all and reduce",
                key=f"source.{stray[0]}",
            )
        if is_one and self.source.pick is not None:
            raise JobError(
                f"is of the images of points and fields, and {'every: all' if self.source.every == 'all' else 'an expression'} "
                "makes one image; leave it out",
                key="source.pick",
            )
        window = next((k for k in ("before", "after") if getattr(self.region.samples, k) is not None), None)
        if window is not None and not self.has_steps:
            raise JobError(
                "goes with a collection or images of which all of a point's are taken; leave it out"
                + (", or leave out pick" if self.source.pick == "nearest" else ""),
                key=f"{key}.{window}",
            )
        if self.source.collection is not None and self.source.start is None and window is None and not is_one:
            raise JobError(
                f"is needed with {key}, whose images are found by their times; write a date such as 2017-04-01, "
                f"or {key}.before and after for a column of dates",
                key="source.start",
            )
        if self.mosaic.overviews:
            raise JobError(f"samples have none; leave it out with {key}", key="mosaic.overviews")
        return self

    @property
    def has_steps(self) -> bool:
        """True if all images of each point or field are taken, so that arrays are (sample, step, y, x)."""
        source = self.source
        is_one = source.asset is not None or source.expression is not None or source.every == "all"
        return self.region.samples is not None and not is_one and source.pick != "nearest"

    @property
    def is_local(self) -> bool:
        """True if this process alone asks the service."""
        return self.executor.is_local

    @property
    def mosaic_path(self) -> Path | str:
        """The mosaic's folder; as text where it lies in a bucket."""
        url = parse_place(self.mosaic.path)
        return self.resolve(self.mosaic.path) if url is None else str(url)

    def placed(self, path: str) -> Self:
        """Return the same job with another `mosaic.path`, from the current folder, and paths that hold in any folder."""
        place = path if parse_place(path) is not None else os.path.abspath(path)  # noqa: PTH100  # keeps links
        document = self.document or document_of(self.model_dump(mode="json", exclude_unset=True))
        mosaic = {**document.values["mosaic"], "path": place}
        placed = replace(document, values={**document.values, "mosaic": mosaic})
        return self.of_document(placed, self._base.absolute())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(self._meaning())

    def _meaning(self) -> str:
        """Return the job's values as text, whichever way they were written: a nodata of NaN does not equal itself."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)
