"""Listeners to the events of a run: a tally, displays, a file for other processes, a recorder for the report."""

from downloader.progress.heartbeat import HEARTBEAT, Heartbeat, RunStatus, read_heartbeat
from downloader.progress.highlights import Highlights
from downloader.progress.history import History
from downloader.progress.jsonlines import JsonFormatter, JsonLines, json_line
from downloader.progress.recorder import Recorder
from downloader.progress.tally import Tally, announcement, fanout, summary
from downloader.progress.terminal import (
    Bar,
    Lines,
    TerminalLine,
    forgiving,
    listener,
    open_null,
    terminal_line,
    terminal_progress,
)

__all__ = [
    "HEARTBEAT",
    "Bar",
    "Heartbeat",
    "Highlights",
    "History",
    "JsonFormatter",
    "JsonLines",
    "Lines",
    "Recorder",
    "RunStatus",
    "Tally",
    "TerminalLine",
    "announcement",
    "fanout",
    "forgiving",
    "json_line",
    "listener",
    "open_null",
    "read_heartbeat",
    "summary",
    "terminal_line",
    "terminal_progress",
]
