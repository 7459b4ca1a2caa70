"""Who watches a run: a tally that counts, a bar for terminals, plain lines for everything else."""

from downloader.progress.displays import BarProgress, LineProgress, terminal_progress
from downloader.progress.streams import forgiving, open_null
from downloader.progress.tally import Fanout, Silent, Tally, announcement, summary

__all__ = [
    "BarProgress",
    "Fanout",
    "LineProgress",
    "Silent",
    "Tally",
    "announcement",
    "forgiving",
    "open_null",
    "summary",
    "terminal_progress",
]
