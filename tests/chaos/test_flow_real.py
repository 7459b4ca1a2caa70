"""Flow control once for real: a quota that changes 40 → 10 → 0 → 40 in mid-job (`docs/flow.md` has the virtual ones).

Prints its figures; `-s` shows them.
"""

from __future__ import annotations

import signal
import time

import pytest

from tests import harness
from tests.oracle import QUICKSTART, oracle_window

SIDE = 42 * 256
REFUSES_ALL = {"fault": "concurrency-429"}
"""A quota of nothing; `quota_concurrency: 0` would mean none."""


class Watch:
    """What the emulator sees, sampled."""

    def __init__(self, lab):
        self._lab = lab
        self.levels = []
        """(seconds, requests in flight)."""
        self.began = time.monotonic()

    def until(self, seconds, stop=lambda level: False):
        """Sample for so long, or until a level is met; the seconds it took."""
        start = time.monotonic()
        while (now := time.monotonic()) - start < seconds:
            level = self._lab.emulator.control("state")["in_flight"]
            self.levels.append((now - self.began, level))
            if stop(level):
                break
            time.sleep(0.05)
        return time.monotonic() - start

    def mean(self, start, end):
        """Mean level between two moments."""
        seen = [level for at, level in self.levels if start <= at < end]
        return sum(seen) / len(seen)

    @property
    def now(self):
        return time.monotonic() - self.began


@pytest.mark.slow
def test_row_1_concurrency_follows_a_changing_quota(lab):
    lab.job(
        bands=["B2"],
        region=harness.window(0, 0, SIDE, SIDE),
        limits={"concurrency": 40, "give_up_after": "60s"},
        mosaic={"durability": "scratch"},
    )
    lab.faults(latency_ms=600, quota_concurrency=40)
    process = lab.start()
    harness.wait_until(lambda: len(harness.getpixels(lab.emulator)) >= 40, process)
    watch = Watch(lab)
    watch.until(5)

    records = [len(harness.getpixels(lab.emulator))]
    lowered = watch.now
    lab.faults(latency_ms=600, quota_concurrency=10)
    watch.until(15)
    records.append(len(harness.getpixels(lab.emulator)))

    closed = watch.now
    lab.faults(REFUSES_ALL, latency_ms=600, quota_concurrency=10)
    watch.until(3)
    records.append(len(harness.getpixels(lab.emulator)))

    lifted = watch.now
    lab.faults(latency_ms=600, quota_concurrency=40)
    regained = watch.until(30, lambda level: level >= 38)
    process.send_signal(signal.SIGTERM)
    run = lab.end(process)

    seen = harness.getpixels(lab.emulator)
    at_ten = seen[records[0] : records[1]]
    adapted = at_ten[100:]
    refused = sum(r["status"] == 429 for r in adapted)
    figures = {
        "in flight at quota 40": round(watch.mean(2, lowered), 1),
        "at 10": round(watch.mean(lowered + 5, closed), 1),
        "at 0": round(watch.mean(closed + 1, lifted), 2),
        "429s while adapting to 10": sum(r["status"] == 429 for r in at_ten[:100]),
        "429s once adapted": f"{refused} of {len(adapted)}",
        "asked while the quota was 0": records[2] - records[1],
        "seconds to the full quota": round(regained, 1),
    }
    print(*(f"{name}: {value}" for name, value in figures.items()), sep="\n")  # noqa: T201  # what -s is for
    assert run.status == 143, run
    assert run.report["tiles_failed"] == 0
    assert max(level for at, level in watch.levels if at < lowered) >= 30
    assert 7 <= watch.mean(lowered + 5, closed) <= 10.5
    assert min(level for at, level in watch.levels if closed < at < lifted) <= 1, "one probe at a time"
    assert len(adapted) >= 80
    assert refused <= max(1, 0.01 * len(adapted))
    assert records[2] - records[1] <= 40, "those that were on their way, then one at a time"
    assert regained < 30
    rows = SIDE // 8
    found = harness.band_arrays(lab.mosaic)["B2"][:rows]
    stored = found != 0
    wanted = oracle_window(QUICKSTART, "B2", 0, 0, SIDE, rows)
    assert stored.any()
    assert (found[stored] == wanted[stored]).all()
