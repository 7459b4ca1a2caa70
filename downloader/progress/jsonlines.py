"""Progress of a run for programs: one JSON object a line, with time, level, event and its fields."""

from __future__ import annotations

import json
import logging
from typing import Any, TextIO

from downloader.events import Event, Failed, Level, Notice, Retried, Split, Started, Stored
from downloader.model.document import to_document
from downloader.model.time import now
from downloader.progress.tally import Tally, Timer, announcement, summary
from downloader.progress.terminal import forgiving


def json_line(level: str, event: str, message: str, **fields: Any) -> str:
    """One object, on one line, in ASCII, so that nothing in it steers a terminal."""
    moment = now("milliseconds")
    return json.dumps(
        {"time": moment, "level": level, "event": event, "message": message, **fields}, default=str
    )


class JsonLines:
    """A `Progress` that writes objects to a stream: the start, how far the run is now and then, and each notice."""

    def __init__(self, out: TextIO, every_s: float = 10.0) -> None:
        self._out = forgiving(out)
        self._tally = Tally()
        self._timer = Timer(every_s)

    def __call__(self, event: Event) -> None:
        """Write what the event is worth."""
        self._tally(event)
        match event:
            case Started():
                self._timer.restart()
                estimate, done = event.estimate, event.tiles_done
                self._write(
                    "info", "started", announcement(estimate, done), stored=done, **to_document(estimate)
                )
            case Notice():
                self._write(event.level, event.name, event.text, **event.fields)
            case Stored() | Split() | Failed() | Retried() if self._timer.is_due():
                self._write_progress()

    def _write_progress(self) -> None:
        tally = self._tally
        self._write(
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

    def _write(self, level: Level, event: str, message: str, **fields: Any) -> None:
        print(json_line(level, event, message, **fields), file=self._out, flush=True)  # this is the display


class JsonFormatter(logging.Formatter):
    """Records of the package's log, as the same objects."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        levels = ((logging.DEBUG, "debug"), (logging.INFO, "info"), (logging.WARNING, "warning"))
        level = next((name for bound, name in levels if record.levelno <= bound), "error")
        return json_line(level, "log", record.getMessage(), logger=record.name)
