"""Lines for programs: one JSON object each, with time, level, event and its fields."""

from __future__ import annotations

import json
import logging
from typing import Any

from downloader.model.time import now


def json_line(level: str, event: str, message: str, **fields: Any) -> str:
    """Return one object, on one line, in ASCII, so that nothing in it steers a terminal."""
    moment = now("milliseconds")
    return json.dumps(
        {"time": moment, "level": level, "event": event, "message": message, **fields}, default=str
    )


class JsonFormatter(logging.Formatter):
    """Records of the package's log, as the same objects."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        levels = ((logging.DEBUG, "debug"), (logging.INFO, "info"), (logging.WARNING, "warning"))
        level = next((name for bound, name in levels if record.levelno <= bound), "error")
        return json_line(level, "log", record.getMessage(), logger=record.name)
