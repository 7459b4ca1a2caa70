"""The inputs of every search for a job's images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from downloader.job import Job
from downloader.model.image import Image
from downloader.planning import Existing, ImageList
from downloader.planning.inputs import JobFiles
from downloader.planning.samples import Points, SampleList
from downloader.protocols import Catalogue


@dataclass(frozen=True, slots=True)
class Search:
    """A job whose images are looked for, the service that is asked, and the mosaic that may be there."""

    job: Job
    catalogue: Catalogue
    files: JobFiles = field(default_factory=JobFiles)
    """Contents of the files that the job names."""
    existing: Existing | None = None
    """What the mosaic that is there has settled; None where there is none."""
    accept: Collection[str] = ()
    """What may differ from it: `new-images` that arrived late."""

    @property
    def points(self) -> Points:
        """Points or fields of a job of samples."""
        assert self.files.points is not None  # noqa: S101  # the job has samples
        return self.files.points

    @property
    def frozen(self) -> ImageList | None:
        """The mosaic's list of images; None where there is none."""
        return None if self.existing is None else self.existing.images

    @property
    def frozen_samples(self) -> SampleList | None:
        """The mosaic's samples; None where there are none."""
        return None if self.existing is None else self.existing.samples

    @property
    def sample_images(self) -> dict[str, Image]:
        """Images that the mosaic's samples are cut from, by full name."""
        listed = self.frozen if self.frozen_samples is not None else None
        return {} if listed is None else {image.name: image for image in listed.images}
