"""The command line: a thin door. It builds a Job, shows what comes back, and picks an exit status."""

from downloader.cli.main import main

__all__ = ["main"]
