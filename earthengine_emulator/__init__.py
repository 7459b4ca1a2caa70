"""An embedded emulator of the Google Earth Engine REST API.

It shares no code with the rest of this package: what a client believes about the service is not what checks it.
`Emulator` starts one; `python -m earthengine_emulator` serves one; `docs/emulator.md` describes it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earthengine_emulator.launch import Emulator, EmulatorProcess, LaunchError, arguments

__all__ = ["Emulator", "EmulatorProcess", "LaunchError", "arguments"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has that name
    """Return the names above, imported when they are first used: the pytest plugin is loaded by every pytest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".launch", __name__), name)
