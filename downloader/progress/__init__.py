"""Who watches a run: a tally, a bar for terminals, plain lines for everything else, a recorder for the report."""

from downloader.progress.displays import BarProgress, LineProgress, terminal_progress
from downloader.progress.record import Record
from downloader.progress.recorder import Recorder
from downloader.progress.streams import forgiving, open_null
from downloader.progress.tally import Fanout, Silent, Tally, announcement, summary

__all__ = [
    "BarProgress",
    "Fanout",
    "LineProgress",
    "Record",
    "Recorder",
    "Silent",
    "Tally",
    "announcement",
    "forgiving",
    "open_null",
    "summary",
    "terminal_progress",
]
