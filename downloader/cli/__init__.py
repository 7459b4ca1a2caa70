"""Command line: each command builds a job, calls the library, shows the result and picks an exit status."""

from downloader.cli.main import main

__all__ = ["main"]
