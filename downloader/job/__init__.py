"""The job file: models of its sections, its YAML, and the frozen Job they make."""

from downloader.job.job import Job

__all__ = ["Job"]
