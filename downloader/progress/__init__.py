"""Who watches a run: a tally, a bar for terminals, plain lines for everything else, a recorder for the report."""

from downloader.progress.heartbeat import Heartbeat, Pulse, read_pulse
from downloader.progress.highlights import Herald
from downloader.progress.history import Record
from downloader.progress.jsonlines import JsonFormatter, JsonProgress, json_line
from downloader.progress.recorder import Recorder
from downloader.progress.tally import Fanout, Silent, Tally, announcement, summary
from downloader.progress.terminal import (
    BarProgress,
    LineProgress,
    TerminalLine,
    forgiving,
    open_null,
    terminal_line,
    terminal_progress,
    watching,
)

__all__ = [
    "BarProgress",
    "Fanout",
    "Heartbeat",
    "Herald",
    "JsonFormatter",
    "JsonProgress",
    "LineProgress",
    "Pulse",
    "Record",
    "Recorder",
    "Silent",
    "Tally",
    "TerminalLine",
    "announcement",
    "forgiving",
    "json_line",
    "open_null",
    "read_pulse",
    "summary",
    "terminal_line",
    "terminal_progress",
    "watching",
]
