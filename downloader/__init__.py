"""Any amount of Earth Engine pixels into one georeferenced Zarr mosaic.

    import downloader

    report = downloader.download("job.yaml")
    pixels = report.open()

The names in `__init__.pyi` are the public surface; everything else may change without notice. They are imported when
they are first used, so that `import downloader` costs nothing and the emulator can live beside the client without it.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import Any

from downloader._version import __version__ as __version__

# The stub has each public name in a line of its own: type checkers, editors and this module read the one list.
with open(f"{os.path.splitext(__file__)[0]}.pyi", encoding="utf-8") as stub:  # noqa: PTH122,PTH123  # 4 ms sooner
    _HOMES = {name: home for home, name in re.findall(r"^from (\S+) import (\w+)", stub.read(), re.MULTILINE)}
__all__ = list(_HOMES)


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
    return sorted(calls - {"__version__"} | {"DownloadError", "Job", "Report", "Session"})
