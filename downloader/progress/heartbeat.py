"""The state of a run for other processes: a small file in the mosaic, written anew about once a second.

A run goes on where the file cannot be written, and the ledger alone says what is stored. The file is renamed into place,
so that a reader finds it whole or not at all. A run that was killed leaves it; its reader sees that the process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from downloader.events import Ended, Event, Flow, Notice, Started
from downloader.model.time import rfc3339
from downloader.progress.tally import Figures, Tally, Timer
from downloader.text import duration

HEARTBEAT: Final = ".downloader/heartbeat.json"
"""Key of the file in a mosaic on a disk."""

_EVERY_S: Final = 1.0

_FRESH_S: Final = 120.0
"""On another machine, whose processes cannot be seen, a run counts as under way when it was heard of so lately."""

_SILENT_S: Final = 1800.0
"""After so long a silence the process of that number is taken for another one."""

_CREATE: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)
"""A pipe in the file's place is an error, and no wait for its reader."""

_MAX_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus(Figures):
    """State of a run when it last wrote its heartbeat."""

    pid: int
    host: str
    started: str
    """RFC 3339, UTC."""
    heard: float
    """When this was written, in seconds since 1970."""
    seconds: float
    """Since the run's start."""
    notice: str = ""
    """The last line that the run had to say."""

    @property
    def age_s(self) -> float:
        """Seconds since the run last wrote."""
        return max(0.0, time.time() - self.heard)

    @property
    def is_alive(self) -> bool:
        """Whether the run is under way, as far as can be seen."""
        # On Windows signal 0 is no question: it ends the process.
        if self.host != socket.gethostname() or os.name == "nt":
            return self.age_s < _FRESH_S
        if self.age_s > _SILENT_S:
            return False
        try:
            os.kill(self.pid, 0)
        except PermissionError:
            return True
        except (ProcessLookupError, OverflowError, ValueError):
            return False
        return True

    def __str__(self) -> str:
        if not self.is_alive:
            return (
                f"The last run (process {self.pid} on {self.host}) was killed about {duration(self.age_s)} ago. "
                "Run the job again to continue."
            )
        lines = [f"run: process {self.pid} on {self.host}, since {self.started}", f"  {self.line}"]
        if self.notice:
            lines.append(f"  last: {self.notice}")
        return "\n".join(lines)

    @property
    def line(self) -> str:
        """One line on how the run is doing, which begins with what matters most."""
        late = [f"no news for {duration(self.age_s)}"] if self.age_s > 10 else []
        return ", ".join([*late, *self.words()])

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return asdict(self) | {"age_s": round(self.age_s, 3), "alive": self.is_alive}


class Heartbeat:
    """A `Progress` that writes the state of its run into a file, and removes the file when the run ends."""

    def __init__(self, file: Path) -> None:
        """Write nothing before the run starts.

        Args:
            file: where to write; the file's folder exists.
        """
        self._file = file
        self._tally = Tally()
        self._timer = Timer(_EVERY_S)
        self._started = datetime.now(UTC)
        self._notice = ""

    def __call__(self, event: Event) -> None:
        """Take up an event."""
        self._tally(event)
        match event:
            case Started():
                self._started = datetime.now(UTC)
                self._timer.restart()
                self._write()
                return
            case Ended():
                with contextlib.suppress(OSError):
                    self._file.unlink(missing_ok=True)
                return
            case Flow():
                return
            case Notice():
                self._notice = event.text[:500]
        if self._tally.tiles_total and self._timer.is_due():
            self._write()

    def _write(self) -> None:
        # A name that the store sweeps, should the process end between the two calls.
        staged = self._file.with_name(f"{self._file.name}#0")
        data = json.dumps(asdict(self._status())).encode()
        try:
            descriptor = os.open(staged, _CREATE, 0o644)
            with os.fdopen(descriptor, "wb") as out:
                out.write(data)
            staged.replace(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                staged.unlink(missing_ok=True)

    def _status(self) -> RunStatus:
        return RunStatus(
            pid=os.getpid(),
            host=socket.gethostname(),
            started=rfc3339(self._started, "seconds"),
            heard=time.time(),
            seconds=round(self._tally.seconds, 3),
            notice=self._notice,
            **asdict(self._tally.figures()),
        )


def read_heartbeat(file: Path) -> RunStatus | None:
    """Return the state of a run from its file; None where there is none that can be read."""
    try:
        # A pipe in its place would keep the reader waiting.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as content:
            document = json.loads(content.read(_MAX_BYTES) or b"")
        status = RunStatus(**{one.name: document[one.name] for one in fields(RunStatus)})
        (
            float(status.heard),
            int(status.pid),
            status.host + status.line + status.notice,
        )  # must be of these kinds
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return status


def run_at(place: Path | str) -> RunStatus | None:
    """Return the state of the run that writes the mosaic at a folder; None for a bucket, where no run leaves the file."""
    return read_heartbeat(place / HEARTBEAT) if isinstance(place, Path) else None
