"""Who watches a run: a tally, a bar for terminals, plain lines for everything else, a recorder for the report."""

from downloader.progress.displays import BarProgress, LineProgress, terminal_progress
from downloader.progress.herald import Herald
from downloader.progress.jsonlines import JsonFormatter, JsonProgress, json_line
from downloader.progress.line import TerminalLine, terminal_line
from downloader.progress.pulse import Heartbeat, Pulse, read_pulse
from downloader.progress.record import Record
from downloader.progress.recorder import Recorder
from downloader.progress.streams import forgiving, open_null
from downloader.progress.tally import Fanout, Silent, Tally, announcement, summary

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
]
