"""An embedded emulator of the Google Earth Engine REST API.

It shares no code with the rest of this package: what a client believes about the service is not what checks it.
`EmulatorProcess` starts one; `python -m downloader.emulator` serves one; `docs/emulator.md` describes it.
"""

from .launch import EmulatorProcess, LaunchError, arguments

__all__ = ["EmulatorProcess", "LaunchError", "arguments"]
