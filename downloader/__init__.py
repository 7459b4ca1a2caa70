"""Any amount of Earth Engine pixels into one georeferenced Zarr mosaic.

    import downloader

    report = downloader.download("job.yaml")
    pixels = report.open()

The names below are the public surface; everything else may change without notice. They are imported when they are
first used, so that `import downloader` costs nothing and the emulator can live beside the client without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from downloader._version import __version__

if TYPE_CHECKING:
    from downloader.api import adownload, doctor, download, plan, run_status, status, verify
    from downloader.diagnosis import Diagnosis
    from downloader.engine.explore import images, inspect, thumbnail
    from downloader.engine.session import Session
    from downloader.engine.stop import Stop
    from downloader.engine.stream import Outcomes, outcomes
    from downloader.errors import (
        AuthenticationError,
        DownloadError,
        DriftError,
        IncompleteError,
        InterruptedRunError,
        JobError,
        LockedError,
        RefusedError,
        StoppedError,
        exit_status,
    )
    from downloader.events import (
        Ended,
        Event,
        Failed,
        Flow,
        Notice,
        Outcome,
        Phase,
        Retried,
        Split,
        Started,
        Stored,
    )
    from downloader.exports.export import Exported, export
    from downloader.exports.stac import stac
    from downloader.job import Job
    from downloader.job.schema import job_schema
    from downloader.job.template import JobTemplate, init
    from downloader.lazy.open import open, open_tree  # noqa: A004
    from downloader.mosaic.overviews.overviews import Overviews, overviews
    from downloader.planning import Estimate, Plan
    from downloader.previews import preview
    from downloader.report.plan_preview import PlanPreview
    from downloader.report.report import Report
    from downloader.tables.request import Table
    from downloader.tables.table import table

__all__ = [
    "AuthenticationError",
    "Diagnosis",
    "DownloadError",
    "DriftError",
    "Ended",
    "Estimate",
    "Event",
    "Exported",
    "Failed",
    "Flow",
    "IncompleteError",
    "InterruptedRunError",
    "Job",
    "JobError",
    "JobTemplate",
    "LockedError",
    "Notice",
    "Outcome",
    "Outcomes",
    "Overviews",
    "Phase",
    "Plan",
    "PlanPreview",
    "RefusedError",
    "Report",
    "Retried",
    "Session",
    "Split",
    "Started",
    "Stop",
    "StoppedError",
    "Stored",
    "Table",
    "__version__",
    "adownload",
    "doctor",
    "download",
    "exit_status",
    "export",
    "images",
    "init",
    "inspect",
    "job_schema",
    "open",
    "open_tree",
    "outcomes",
    "overviews",
    "plan",
    "preview",
    "run_status",
    "stac",
    "status",
    "table",
    "thumbnail",
    "verify",
]

_MODULES = {
    "downloader.api": ("adownload", "doctor", "download", "plan", "run_status", "status", "verify"),
    "downloader.engine.explore": ("images", "inspect", "thumbnail"),
    "downloader.errors": (
        "AuthenticationError", "DownloadError", "DriftError", "IncompleteError", "InterruptedRunError", "JobError",
        "LockedError", "RefusedError", "StoppedError", "exit_status",
    ),
    "downloader.diagnosis": ("Diagnosis",),
    "downloader.exports.export": ("Exported", "export"),
    "downloader.exports.stac": ("stac",),
    "downloader.job.template": ("JobTemplate", "init"),
    "downloader.job": ("Job",),
    "downloader.job.schema": ("job_schema",),
    "downloader.lazy.open": ("open", "open_tree"),
    "downloader.mosaic.overviews.overviews": ("Overviews", "overviews"),
    "downloader.events": (
        "Ended", "Event", "Failed", "Flow", "Notice", "Outcome", "Phase", "Retried", "Split", "Started", "Stored",
    ),
    "downloader.planning": ("Estimate", "Plan"),
    "downloader.previews": ("preview",),
    "downloader.report.plan_preview": ("PlanPreview",),
    "downloader.report.report": ("Report",),
    "downloader.tables.request": ("Table",),
    "downloader.tables.table": ("table",),
    "downloader.engine.session": ("Session",),
    "downloader.engine.stop": ("Stop",),
    "downloader.engine.stream": ("Outcomes", "outcomes"),
}  # fmt: skip
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # of any kind
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Kept, so that the next use does not come here again.
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return what people begin with: the calls, and a few types. The other public names are what these take and return."""
    calls = {name for name in __all__ if name.islower()} - {"exit_status", "job_schema", "run_status"}
    return sorted(calls | {"DownloadError", "Job", "Report", "Session"})
