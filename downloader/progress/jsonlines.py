"""A run's progress for programs: one JSON object a line, with time, level, event and its fields."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, TextIO

from downloader.events import Level, Notice
from downloader.planning import Estimate
from downloader.progress.tally import Regular, announcement, summary
from downloader.progress.terminal import forgiving

__all__ = ["JsonFormatter", "JsonProgress", "json_line"]


def json_line(level: Level, event: str, message: str, **fields: Any) -> str:
    """One object, on one line, in ASCII, so that nothing in it steers a terminal."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(
        {"time": moment, "level": level, "event": event, "message": message, **fields}, default=str
    )


class JsonProgress(Regular):
    """Objects on a stream: the start, progress now and then, and each event."""

    def __init__(self, out: TextIO, every_s: float = 10.0) -> None:
        super().__init__(every_s)
        self._out = forgiving(out)

    def start(self, estimate: Estimate, tiles_done: int) -> None:
        """See `Progress`."""
        super().start(estimate, tiles_done)
        self._say(
            "info", "started", announcement(estimate, tiles_done), stored=tiles_done, **estimate.to_json()
        )

    def notice(self, text: str) -> None:
        """See `Progress`."""
        told = Notice.of(text)
        self._say(told.level, told.event, str(text), **told.fields)

    def _tell(self) -> None:
        tally = self._tally
        self._say(
            "info",
            "progress",
            summary(tally),
            tiles=tally.tiles_now,
            of=tally.tiles_total,
            failed=round(tally.tiles_failed),
            requests=tally.requests,
            wire_bytes=tally.wire_bytes,
            in_flight=tally.in_flight,
            ceiling=tally.ceiling,
            retries=dict(tally.retries),
        )

    def _say(self, level: Level, event: str, message: str, **fields: Any) -> None:
        print(json_line(level, event, message, **fields), file=self._out, flush=True)  # this is the display


class JsonFormatter(logging.Formatter):
    """Records of the package's log, as the same objects."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        level: Level = "error"
        for bound, name in ((logging.DEBUG, "debug"), (logging.INFO, "info"), (logging.WARNING, "warning")):
            if record.levelno <= bound:
                level = name  # type: ignore[assignment]  # one of them
                break
        return json_line(level, "log", record.getMessage(), logger=record.name)
