"""Counts of an emulator's requests: by kind, concurrency, starts per second, pixels served twice."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from earthengine_emulator.api.record import Record

KEPT_REQUESTS: Final = 50_000
"""Requests remembered one by one; older ones stay only in the counts."""
_UNKEPT_HEADERS: Final = ("authorization", "host", "content-length")


@dataclass
class Statistics:
    """Counts since the last reset."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """429 answers by kind of method."""
    faults: Counter[str] = field(default_factory=Counter)
    served: Counter[int] = field(default_factory=Counter)
    """Complete successful pixel answers by the hash of asset, bands and window: a long run has millions."""
    pixel_bytes: int = 0
    max_in_flight: Counter[str] = field(default_factory=Counter)
    """Greatest number in flight by host and project; `total` over all."""
    started: float = field(default_factory=time.monotonic)
    records: deque[Record] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    in_flight: int = 0
    _second: deque[float] = field(default_factory=deque)
    max_starts_per_s: int = 0
    """Most API requests that arrived within any one second."""
    last: int = 0
    _headers: dict[tuple[tuple[str, str], ...], dict[str, str]] = field(default_factory=dict)

    def begin(self, method: str, resource: str, host: str, headers: Mapping[str, str]) -> Record:
        """Record the arrival of a request."""
        now = time.monotonic()
        self.last += 1
        record = Record(self.last, now - self.started, method, resource, host, headers=self._kept(headers))
        self.records.append(record)
        self.requests[method] += 1
        self._second.append(now)
        while self._second[0] <= now - 1:
            self._second.popleft()
        self.max_starts_per_s = max(self.max_starts_per_s, len(self._second))
        self.in_flight += 1
        self.max_in_flight["total"] = max(self.max_in_flight["total"], self.in_flight)
        return record

    def _kept(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers worth keeping; a client's requests share one dict, since they hardly differ."""
        items = tuple((k.lower(), v) for k, v in headers.items() if k.lower() not in _UNKEPT_HEADERS)
        if len(self._headers) > 1_000:
            self._headers.clear()
        return self._headers.setdefault(items, dict(items))

    def end(self, record: Record) -> None:
        """Record the end of a request, answered or not."""
        self.in_flight -= 1
        record.ended_s = time.monotonic() - self.started
        if record.status is not None:
            self.statuses[record.status] += 1
        if record.status == 429:
            self.refusals[record.method] += 1
        if record.fault is not None:
            self.faults[record.fault] += 1
        if record.complete and record.status == 200 and record.bands is not None:
            self.pixel_bytes += record.bytes
            if record.window is not None:
                self.served[hash((record.resource, record.bands, record.window))] += 1

    def note_in_flight(self, host: str, project: str, count: int) -> None:
        """Record the number of a project's requests in flight on a host."""
        key = f"{host} {project}"
        self.max_in_flight[key] = max(self.max_in_flight[key], count)

    def document(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        elapsed = time.monotonic() - self.started
        served = self.served.values()
        return {
            "elapsed_s": elapsed,
            "requests": dict(self.requests),
            "statuses": {str(code): n for code, n in sorted(self.statuses.items())},
            "refused_429": dict(self.refusals),
            "faults": dict(self.faults),
            "in_flight": self.in_flight,
            "max_in_flight": dict(self.max_in_flight),
            "max_starts_per_s": self.max_starts_per_s,
            "starts_per_s": sum(self.requests.values()) / elapsed if elapsed > 0 else 0.0,
            "pixels": {
                "served": sum(served),
                "distinct": len(served),
                "repeated": sum(served) - len(served),
                "bytes": self.pixel_bytes,
            },
        }
