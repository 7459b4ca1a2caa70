"""Arguments of the library's calls that run a job on the caller's own event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from downloader.engine.context import RunOptions
from downloader.engine.run import run
from downloader.engine.run_sources import run_sources
from downloader.engine.stop import Stop
from downloader.job import Job
from downloader.job.keywords import JobKeywords
from downloader.job.load import JobLike, as_jobs
from downloader.job.sources import Sources
from downloader.progress.terminal import listener
from downloader.protocols import Progress

if TYPE_CHECKING:
    import os

    from google.auth.credentials import Credentials

    from downloader.events import Event
    from downloader.report.report import Report


class RunKeywords(JobKeywords, total=False):
    """Keywords of a call that runs a job: options of the run, as of `downloader.download`, and keys of the job file."""

    credentials: Credentials | None
    progress: bool
    on_event: Callable[[Event], object] | None
    overwrite: bool
    accept: Collection[str]


@dataclass(frozen=True, slots=True)
class RunCall:
    """A job to run, with its listeners and options."""

    job: Job | Sources
    progress: Progress
    stop: Stop
    options: RunOptions

    @classmethod
    def of(
        cls, job: JobLike, path: str | os.PathLike[str] | None, stop: Stop | None, keywords: RunKeywords
    ) -> Self:
        """Return the call that these arguments describe.

        Raises:
            JobError: naming the argument, its value and the fix.
        """
        own = RunKeywords.__annotations__.keys() - JobKeywords.__annotations__.keys()
        settled = as_jobs(job, path, **{name: value for name, value in keywords.items() if name not in own})
        options: Any = {
            name: keywords.get(name) for name in ("credentials", "overwrite", "accept") if name in keywords
        }
        told = listener(keywords.get("progress", False), keywords.get("on_event"))
        return cls(settled, told, stop or Stop(), RunOptions(**options))

    def run(self, **further: Any) -> Coroutine[Any, Any, Report]:  # fields of `RunOptions`
        """Run the job, or those of all its sources; see `run`."""
        options = replace(self.options, **further)
        if isinstance(self.job, Sources):
            return run_sources(self.job, self.progress, self.stop, lambda _: options)
        return run(self.job, self.progress, self.stop, options)
