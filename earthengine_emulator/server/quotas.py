"""Adjustable quotas (docs/contract.md §5.2): concurrency per host role and project, a sliding minute, a daily allowance."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from earthengine_emulator.api import errors
from earthengine_emulator.api.settings import Settings


class Quotas:
    """Counts of requests in flight and of recent starts, by project."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._settings = settings
        self.in_flight: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._starts: defaultdict[str, deque[float]] = defaultdict(deque)
        self._compute_s: defaultdict[str, float] = defaultdict(float)

    def reset(self) -> None:
        """Forget past starts and compute time; requests in flight stay counted."""
        self._starts.clear()
        self._compute_s.clear()

    @contextmanager
    def slot(self, role: str, project: str) -> Iterator[None]:
        """Hold a slot for one request until it ends; a refused request takes none.

        Raises:
            ApiError: 429 with the text of E24, E25 or E26.
        """
        settings = self._settings
        allowed = settings.for_project(project)
        daily = settings.compute_s_per_day
        if daily is not None and self._compute_s[project] >= daily:
            raise errors.compute_quota_exceeded("daily", settings.compute_quota_status)
        now = self._clock()
        starts = self._starts[project]
        while starts and starts[0] <= now - settings.quota_window_s:
            starts.popleft()
        if allowed.per_minute and len(starts) >= allowed.per_minute:
            if settings.count_refused:
                starts.append(now)
                starts.popleft()
            raise errors.rate_exceeded(project, allowed.per_minute)
        key = (role, project)
        if allowed.concurrency and self.in_flight[key] >= allowed.concurrency:
            if settings.count_refused:
                starts.append(now)
            raise errors.too_many_requests()
        starts.append(now)
        self.in_flight[key] += 1
        try:
            yield
        finally:
            self.in_flight[key] -= 1
            self._compute_s[project] += settings.compute_s_per_request
