"""Jobs under random mixes of faults, kills and broken disks, each replayable from its number: `scripts/chaos`.

A job draws its grid, bands, shards, profile and limits, its faults, and what ends each of its runs. After every run
what the ledger calls stored must be there, bit for bit; when the last run is done, all of it.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import downloader
from earthengine_emulator import EmulatorProcess, arguments
from tests import harness
from tests.chaos.kit import Lab
from tests.oracle import oracle_window

PUBLIC = "projects/earthengine-public/assets/"
TILE = 256

SCENES: dict[str, tuple[str, list[list[str]], int, int]] = {
    "utm": (harness.ASSET, [["B2", "B3"], ["B4"], ["B2", "B3", "B4", "B8"]], 10980, 10980),
    "resolutions": (harness.ASSET, [["B2", "B5", "B1"], ["B8", "B11"]], 10980, 10980),
    "degrees": ("EMULATOR/DEGREES", [["elevation", "canopy"]], 3001, 2003),
    "polar": ("EMULATOR/POLAR", [["velocity", "flags"], ["velocity"]], 3041, 2501),
    "antarctic": ("EMULATOR/ANTARCTIC", [["ice", "thickness"]], 6001, 5003),
    "sinusoidal": ("EMULATOR/SINUSOIDAL", [["sur_refl_b01", "QA"]], 2400, 2400),
    "sheared": ("EMULATOR/SHEARED", [["a", "b"]], 1201, 901),
    "south up": ("EMULATOR/SOUTH_UP", [["a", "b"]], 1025, 769),
    "types": (
        "EMULATOR/TYPES",
        [["u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8"], ["i4", "f8"]],
        1300,
        1111,
    ),
    "masked": ("EMULATOR/MASKED", [["u2", "i2", "f4"]], 1300, 1111),
}
"""Name → asset, choices of bands, width and height in pixels of the finest."""

SMALL = {"above_pixels": 1}
"""Leaves the canaries alone, whose answers decide what the whole job is."""

PASSING: list[dict[str, Any]] = [
    *(
        {"fault": name}
        for name in ("concurrency-429", "rate-429", "rate-403", "internal-500", "unavailable-503")
    ),
    *({"fault": name} for name in ("aggregations-429", "memory-capacity-503")),
    {"fault": "memory-capacity-503", "status": 400},
    *({"fault": name} for name in ("html-502", "html-503", "deadline-504", "html-504", "redirect")),
    *({"fault": f"reset-{place}"} for place in ("before-headers", "in-headers", "after-headers", "in-body")),
    *({"fault": name} for name in ("short-body", "cut-chunked", "json-200", "html-200", "empty-200")),
    *(
        {"fault": f"npy-{kind}", **SMALL}
        for kind in ("truncated", "trailing", "magic", "huge-header", "shape")
    ),
    *(
        {"fault": f"npy-{kind}", **SMALL}
        for kind in ("header-garbage", "transposed", "fields-missing", "plain")
    ),
    *({"fault": f"npy-{kind}", **SMALL} for kind in ("fields-extra", "fields-order", "dtype", "fortran")),
    *({"fault": f"npy-{kind}", **SMALL} for kind in ("big-endian", "version")),
    {"fault": "concurrency-429", "retry_after": 1},
    {"fault": "unavailable-503", "retry_after_date": 1},
    {"fault": "gzip-bomb", "megabytes": 8},
    {"fault": "oversized", "megabytes": 8},
]
"""Strike each request with some probability; retries get over them."""

RATES = {"rate-429": {"times": 3}, "rate-403": {"times": 3}}
"""A rate that a service bears is no matter of chance: refused for ever, a client rightly slows down for ever."""

WHOLE: list[dict[str, Any]] = [{"fault": name} for name in ("restricted", "gzip", "chunked", "close-after")]
"""Answers that are good all the same."""

TOO_MUCH: list[dict[str, Any]] = [
    {"fault": name, "above_pixels": pixels}
    for name in (
        *("too-large-400", "memory-400", "timeout-400", "deadline-504", "memory-capacity-503"),
        *("output-too-large-400", "reprojection-too-large-400", "reproject-exceeds-400"),
    )
    for pixels in (TILE * TILE, 2 * TILE * TILE)
]
"""Strike every request above a size."""

RARE: list[dict[str, Any]] = [
    {"fault": "stall-before-headers"},
    {"fault": "stall-after-headers"},
    {"fault": "stall-in-body"},
    {"fault": "hang", "on": "pixels"},
    {"fault": "drip", "seconds_per_byte": 0.02},
    {"fault": "refuse", "seconds": 1.0},
    {"fault": "expire-tokens"},
    {"fault": "unauthenticated-401"},
    {"fault": "internal-500", "on": "token"},
    {"fault": "token-garbage"},
    {"fault": "token-empty"},
    {"fault": "stall-before-headers", "on": "token"},
    {"fault": "unavailable-503", "on": "asset"},
    {"fault": "reset-in-body", "on": "asset"},
]
"""Strike once or twice a job."""

REFUSALS = ("expire-tokens", "unauthenticated-401")

ENDING: list[tuple[dict[str, Any], set[int]]] = [
    ({"fault": "daily-429", **SMALL}, {4}),
    ({"fault": "monthly-429", "status": 400, **SMALL}, {4}),
    *(({"fault": f"{name}-403", **SMALL}, {6}) for name in ("sdk-project", "quota-project", "not-signed-up")),
    ({"fault": "no-bands-400", **SMALL}, {2}),
    ({"fault": "load-not-found-400", **SMALL}, {2}),
    ({"fault": "bad-request-400", **SMALL}, {3}),
    ({"fault": "service-disabled-403", **SMALL}, {6}),
    ({"fault": "unregistered-403", **SMALL}, {6}),
    ({"fault": "user-project-denied-403", **SMALL}, {6}),
    ({"fault": "html-403", "retry_after": 1, **SMALL}, {6}),
    ({"fault": "permission-403", **SMALL}, {6}),
    ({"fault": "not-found-404", **SMALL}, {2}),
    ({"fault": "token-signature", "skip": 1}, {6}),
    ({"fault": "token-clock", "skip": 1}, {6}),
]
"""End a run, or a tile, once; and the exit statuses that this allows."""

OWN: list[list[str]] = [
    [],
    [],
    ["--disk", "slow=0.02"],
    ["--disk", "eio=5"],
    ["--block", "2@1.5"],
    ["--clock", "4000@2"],
]
"""Faults of disk, loop and clock that a run gets over."""

DYING = ("put", "stage", "flush", "line", "torn")

harness.PATIENCE_S = 300.0  # a large job with two requests at a time and many retries is slow, and no hang


class StormError(AssertionError):
    """Something that must hold does not."""


@dataclass
class Tally:
    """What happened, over all jobs."""

    jobs: int = 0
    runs: int = 0
    kills: int = 0
    other_ends: Counter[int] = field(default_factory=Counter)
    """Exit status → runs that ended so, kills and completed ones left out."""
    faults: Counter[str] = field(default_factory=Counter)
    own_faults: Counter[str] = field(default_factory=Counter)
    """Of disk, loop, clock and process, by flag."""
    requests: int = 0
    tiles: int = 0
    pixels: int = 0
    duplicates: int = 0
    allowed: int = 0

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)

    def text(self) -> str:
        """The figures, all of which have been shown to be right."""
        kinds = ", ".join(f"{name} {n:,}" for name, n in sorted(self.faults.items()))
        own = ", ".join(f"{name} {n:,}" for name, n in sorted(self.own_faults.items()))
        ends = ", ".join(f"{status}: {n}" for status, n in sorted(self.other_ends.items()))
        return "\n".join(
            (
                f"jobs            {self.jobs:,}, in {self.runs:,} runs",
                f"kills           {self.kills:,}",
                f"other ends      {ends or 'none'} (exit status: runs)",
                f"requests        {self.requests:,}, of which {self.faults.total():,} met a fault",
                f"faults by kind  {kinds}",
                f"own faults      {own or 'none'}",
                f"duplicates      {self.duplicates:,} tiles of a band; {self.allowed:,} are allowed",
                f"compared        {self.tiles:,} tiles of a band, {self.pixels:,} pixels",
                "wrong pixels    0",
                "lost tiles      0",
            )
        )


class StormyJob:
    """One job, from its dice."""

    def __init__(self, seed: int, number: int, emulator: EmulatorProcess, folder: Path) -> None:
        self.dice = random.Random(f"{seed}:{number}")
        self.tally = Tally(jobs=1)
        self._emulator = emulator
        emulator.control("reset", {})
        self._lab = Lab(folder, emulator)
        self._stored: set[tuple[str, str, int, int]] = set()
        """(group, band, tile row, tile column) that a ledger has called stored."""
        self._interruptions = 0
        self._pickled = folder / "unpickled"
        self._describe()

    def _describe(self) -> None:
        """Draw what the job is, and what it will meet."""
        dice = self.dice
        self.kind = dice.choice(sorted(SCENES))
        asset, choices, width, height = SCENES[self.kind]
        bands = dice.choice(choices)
        # Shards hold more than one tile from 16 × 16 tiles on: those are topped up, and their requests can be split.
        large = width > 5000 and dice.random() < 0.5
        bands = bands[:2] if large else bands
        wide = min(width, dice.randint(3900, 4500) if large else dice.randint(900, 2600))
        high = min(height, dice.randint(3900, 4300) if large else dice.randint(900, 2000))
        column, row = dice.randint(0, width - wide), dice.randint(0, height - high)
        self.concurrency = dice.choice((2, 4, 8, 16))
        self._image = asset if asset.startswith("projects/") else PUBLIC + asset
        self.values = {
            "bands": bands,
            "asset": asset,
            "region": harness.window(column, row, wide, high),
            "request": {"tiles": dice.choice((2, 4, "auto") if large else (1, 2, "auto")), "timeout": "2s"},
            "limits": {
                "concurrency": self.concurrency,
                "give_up_after": "20s",
                "memory": "512MiB",
                "requests_per_second": dice.choice((30, 90)),
            },
            "mosaic": {
                "profile": dice.choice(("sharded", "sharded", "plain")),
                "compressor": dice.choice(("lz4", "zstd", "none")),
                "durability": dice.choice(("full", "full", "scratch")),
                "checkpoint": dice.choice(("1s", "30s")),
            },
        }
        self._lab.job(**self.values)
        self.faults = self._draw_faults()
        plan = downloader.plan(str(self._lab.job_file)).plan
        self._groups = {group.name: group for group in plan.groups}
        self.latency_ms = dice.choice((20, 60, 150))

    def _draw_faults(self) -> list[dict[str, Any]]:
        dice = self.dice
        faults: list[dict[str, Any]] = []
        self._allowed_ends = {0, -signal.SIGKILL}
        if dice.random() < 0.5:
            ending, statuses = dice.choice(ENDING)
            faults.append(
                {"skip": dice.randint(2, 20), **ending, "times": 1 if ending["fault"] != "html-403" else 30}
            )
            self._allowed_ends |= statuses
        rare = [
            {**fault, "skip": dice.randint(0, 25), "times": dice.randint(1, 2)}
            for fault in dice.sample(RARE, 2)
        ]
        faults += rare
        if sum(fault["times"] for fault in rare if fault["fault"] in REFUSALS) > 1:
            self._allowed_ends.add(6)  # when both strike one request, a fresh token was refused (row 11)
        if dice.random() < 0.6:
            faults.append({**dice.choice(TOO_MUCH), "times": 40})
        if dice.random() < 0.2:
            faults.append({"fault": "npy-object", "path": str(self._pickled), "times": 3, **SMALL})
        faults += [
            {**fault, "probability": dice.uniform(0.02, 0.06), **RATES.get(fault["fault"], {})}
            for fault in dice.sample(PASSING, 6)
        ]
        faults += [{**fault, "probability": 0.05} for fault in dice.sample(WHOLE, 1)]
        return faults

    def run(self) -> None:
        """The whole job. Raises StormError, or an AssertionError that says what does not hold."""
        dice, lab = self.dice, self._lab
        lab.faults(
            *self.faults, latency_ms=self.latency_ms, seed=dice.randint(0, 2**31), quota_concurrency=40
        )
        for _ in range(dice.randint(6, 14)):
            if self._one_run() == 0:
                break
        self._settle()

    def _settle(self) -> None:
        """Without faults: it completes, and is right."""
        lab = self._lab
        self.tally.faults.update(lab.fault_counts())
        lab.faults(latency_ms=0)
        last = lab.run()
        self.tally.runs += 1
        if last.report["tiles_failed"] or last.report["tiles_missing"]:
            raise StormError(f"complete, but not: {last}")
        stored = self._check()
        whole = {
            (name, band.id, r, c)
            for name, group in self._groups.items()
            for band in group.bands
            for r in range(group.tiling.tile_rows)
            for c in range(group.tiling.tile_columns)
        }
        if stored != whole:
            raise StormError(f"{len(whole - stored)} tiles are lost, {sorted(whole - stored)[:5]}")
        self.tally.tiles += len(whole)
        if self._pickled.exists():
            raise StormError("an answer was unpickled")
        if left := harness.leftovers(lab.mosaic):
            raise StormError(f"left over: {left}")
        self._count_duplicates()
        self.tally.requests += sum(
            n for method, n in self._emulator.control("state")["requests"].items() if method != "unknown"
        )

    def _one_run(self) -> int:
        """A run that dies, is stopped, meets its faults' end, or completes; its exit status."""
        dice, lab = self.dice, self._lab
        own = list(dice.choice(OWN))
        end = dice.choices(("ledger", "time", "die", "term", "none"), (45, 20, 15, 10, 10))[0]
        if end == "die":
            own += ["--die", f"{dice.choice(DYING)}={dice.randint(1, 12)}"]
        for flag, value in zip(own[::2], own[1::2], strict=True):
            kind = value.partition("=")[0] if "=" in value else ""
            self.tally.own_faults[f"{flag.removeprefix('--')} {kind}".strip()] += 1
        process = lab.start(wrapped=["--patience", "2", *own])
        before = harness.ledger_lines(lab.mosaic)
        lines = dice.randint(1, 8)
        wait_s, moment = dice.uniform(0.2, 3.0), dice.uniform(0, 0.1)
        if end in ("ledger", "term"):
            harness.wait_until(lambda: harness.ledger_lines(lab.mosaic) >= before + lines, process)
            time.sleep(moment)
        elif end == "time":
            until = time.monotonic() + wait_s
            while time.monotonic() < until and process.poll() is None:
                time.sleep(0.02)
        if end in ("ledger", "time", "term") and process.poll() is None:
            process.send_signal(signal.SIGTERM if end == "term" else signal.SIGKILL)
        ended = lab.end(process)
        self.tally.runs += 1
        if ended.status not in self._allowed_ends | ({143} if end == "term" else set()):
            raise StormError(f"ended with {ended.status}, which nothing explains:\n{ended}")
        if ended.status == 0 and "complete:" not in ended.out:
            raise StormError(
                f"ended with 0 and is not complete (wanted end: {end}, own faults: {own}):\n{ended}"
            )
        if ended.status == -signal.SIGKILL:
            self.tally.kills += 1
        elif ended.status:
            self.tally.other_ends[ended.status] += 1
        self._interruptions += ended.status != 0
        missing = self._stored - self._check()
        if missing:
            raise StormError(f"{len(missing)} tiles that were stored are lost: {sorted(missing)[:5]}")
        return ended.status

    def _check(self) -> set[tuple[str, str, int, int]]:
        """Compare all that the ledger calls stored with the oracle; which tiles these are."""
        stored = self._ledger()
        if stored:
            arrays = harness.band_arrays(self._lab.mosaic)
            for name, group in self._groups.items():
                for band in group.bands:
                    tiles = [(r, c) for g, b, r, c in stored if (g, b) == (name, band.id)]
                    if tiles:
                        self._compare(arrays[f"{name}/{band.id}" if name else band.id], group, band.id, tiles)
        self._stored |= stored
        return stored

    def _compare(self, array: Any, group: Any, band: str, tiles: list[tuple[int, int]]) -> None:
        w = group.window
        wanted = oracle_window(self._image, band, w.column, w.row, w.width, w.height)
        found = array[:]
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise StormError(f"{band}: {found.dtype} {found.shape} is not {wanted.dtype} {wanted.shape}")
        bits = f"u{found.dtype.itemsize}"
        wrong = np.ascontiguousarray(found).view(bits) != np.ascontiguousarray(wanted).view(bits)
        for r, c in tiles:
            part = wrong[TILE * r : TILE * (r + 1), TILE * c : TILE * (c + 1)]
            if part.any():
                raise StormError(
                    f"{part.sum():,} wrong pixels in band {band}, tile {r}/{c}, which the ledger calls stored"
                )
            self.tally.pixels += part.size

    def _ledger(self) -> set[tuple[str, str, int, int]]:
        """What the ledger's files say, read as docs/mosaic.md describes them: later lines over earlier ones."""
        shards: dict[tuple[str, tuple[int, ...], str], int] = {}
        folder = self._lab.mosaic / ".downloader" / "ledger"
        for file in sorted(folder.glob("*")) if folder.exists() else ():
            whole, _, _ = file.read_bytes().rpartition(b"\n")
            for line in whole.split(b"\n"):
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                for band, (stored, _, *chunks) in entry.get("bands", {}).items():
                    key = (entry["group"], tuple(entry["shard"]), band)
                    if chunks:  # `plain`: the line tells of these tiles alone
                        for slot, length, _ in chunks:
                            bit = 1 << slot
                            shards[key] = shards.get(key, 0) & ~bit | (bit if length else 0)
                    else:
                        shards[key] = int(stored, 16)
        tiles = set()
        for (name, shard, band), mask in shards.items():
            tiling = self._groups[name].tiling
            for slot in range(mask.bit_length()):
                if mask >> slot & 1:
                    _, r, c = tiling.tile_at(shard, slot)
                    tiles.add((name, band, r, c))
        return tiles

    def _count_duplicates(self) -> None:
        """Tiles served whole more than once, against the bound for each interruption."""
        origins = {
            band.id: (group.window.column, group.window.row)
            for group in self._groups.values()
            for band in group.bands
        }
        served: Counter[tuple[str, int, int]] = Counter()
        for record in harness.getpixels(self._emulator):
            if record["complete"] and record["status"] == 200 and not record["fault"]:
                column, row, width, height = record["window"]
                for band in record["bands"]:
                    left, top = origins[band]
                    for r in range((row - top) // TILE, -(-(row - top + height) // TILE)):
                        for c in range((column - left) // TILE, -(-(column - left + width) // TILE)):
                            served[band, r, c] += 1
        duplicates = sum(times - 1 for times in served.values())
        bounds = []
        for group in self._groups.values():
            per_shard = max(1, group.count_requests() // group.tiling.shards)
            shards = math.ceil(self.concurrency / per_shard) + 1
            bounds.append(shards * min(group.tiling.slots, group.tiling.tiles) * len(group.bands))
        allowed = self._interruptions * max(bounds)
        self.tally.duplicates += duplicates
        self.tally.allowed += allowed
        if duplicates > allowed:
            raise StormError(
                f"{duplicates} tiles were fetched twice, {self._interruptions} interruptions may cost {allowed}"
            )

    def __str__(self) -> str:
        own = {k: v for k, v in self.values.items() if k != "region"}
        return f"{self.kind}: {json.dumps(own)}; faults {json.dumps(self.faults)}"


def run_job(seed: int, number: int) -> tuple[Tally, str | None]:
    """Job `number` of a seed, with an emulator and a folder of its own.

    Returns:
        What happened; and what went wrong, with where to look, or None.
    """
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    job: StormyJob | None = None
    try:
        with EmulatorProcess(arguments(quota_per_minute=0)) as emulator:
            job = StormyJob(seed, number, emulator, folder)
            job.run()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told with the job's number
        return job.tally if job else Tally(), f"{error}\n\n{job}\nleft in {folder}"
    shutil.rmtree(folder)
    return job.tally, None
