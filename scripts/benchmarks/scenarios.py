"""The scenarios: which service, which windows, who takes part, and which ratios are drawn."""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from downloader import open as open_mosaic
from scripts.benchmarks.contender import Result, Task
from scripts.benchmarks.results import FLOOR, Row, Scenario
from scripts.benchmarks.running import (
    SCENE,
    Bench,
    DidNotRunError,
    Truth,
    bench,
    chip_truth,
    rival,
    run,
    scaled,
    stored_chips,
    throw_away,
    with_job,
)
from scripts.benchmarks.schedule import Service, best_schedule
from tests.oracle import PUBLIC, oracle_window

Window = tuple[int, int, int, int]

DAYS = "ECMWF/ERA5/DAILY"
EDOWN = {"collection": "COPERNICUS/S2", "start": "2017-04-30", "end": "2017-04-30"}


@dataclass
class Setting:
    """How this run of the benchmark is made."""

    folder: Path
    quick: bool = False
    alone: bool = False
    """Without rivals."""
    truth: Truth | None = None

    def __post_init__(self) -> None:
        self.truth = Truth(self.folder)

    def window(self, side: int, quick: int) -> Window:
        """A square at the image's first pixel; the whole scene for 10980."""
        return (0, 0, quick, quick) if self.quick else (0, 0, side, side)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _megabytes(task: Task) -> float:
    return task.window[2] * task.window[3] * 2 * len(task.bands) / 1e6


def _row(setting: Setting, name: str, task: Task, result: Result, whole: Window) -> Row:
    """A row of the table; the pixels are compared, and what was stored is thrown away."""
    assert setting.truth is not None
    scale = scaled(task.window, whole)
    row = Row(
        name,
        result.seconds * scale,
        result.cpu_s * 1e3 / _megabytes(task),
        result.peak_mb,
        result.more.get("requests"),
        setting.truth.verdict(result, task),
        scale,
        result.note,
    )
    throw_away(task)
    return row


def _ours(
    setting: Setting, on: Bench, window: Window, times: int = 1, name: str = "downloader", **sections: dict
) -> Row:
    """The downloader, the median of some runs by wall clock."""
    rows = []
    for _ in range(times):
        task, before = with_job(on.task(window), **sections), len(on.calls())
        rows.append(_row(setting, name, task, run("ours", "downloader", task), window))
        rows[-1].slots = on.slots(before)
    if any(row.pixels != "bit-exact" for row in rows):
        raise DidNotRunError(f"the downloader's pixels are wrong: {[row.pixels for row in rows]}")
    middle = sorted(rows, key=lambda row: row.seconds or 0)[len(rows) // 2]
    middle.cpu_ms_per_mb = statistics.median(row.cpu_ms_per_mb or 0 for row in rows)
    _say(f"  {name}: {middle.seconds:.2f} s")
    return middle


def _rival(
    setting: Setting, on: Bench, name: str, own: Window, whole: Window, label: str, **options: object
) -> Row:
    """A rival on its own window, scaled to the whole."""
    task = on.task(own, options=options)
    before = len(on.calls())
    try:
        result = rival(name, task)
    except DidNotRunError as error:
        throw_away(task)
        _say(f"  {label}: did not run: {error}")
        return Row(label, note=str(error))
    made = [call for call in on.calls()[before:] if "ixels" in call["method"] and call["size"] != [1, 1]]
    result.more.setdefault("requests", round(len(made) * scaled(own, whole)))
    row = _row(setting, label, task, result, whole)
    _say(f"  {label}: {row.seconds:.2f} s{' (scaled)' if row.scale > 1 else ''}")
    return row


def _floor(window: Window, service: Service) -> Row:
    seconds, (rows, columns) = best_schedule(window[2], window[3], 4, 8, service)
    return Row(FLOOR, seconds, note=f"computed: rectangles of {rows} × {columns} tiles")


def _peers(setting: Setting, on: Bench, whole: Window, sides: dict[str, int]) -> list[Row]:
    """The peers, each on a square of so many pixels a side."""
    labels = {
        "loop": "quickstart's loop",
        "ee_pool": "ee.data.getPixels, 40 threads",
        "geedim": "geedim 2.0.0",
        "xee": "xee 0.1.2",
        "edown": "edown 0.2.1",
        "cubexpress": "cubexpress 0.2.8",
        "eedai": "GDAL 3.10 EEDAI",
    }
    rows = []
    for name, side in sides.items():
        own = (0, 0, min(side, whole[2]), min(side, whole[3]))
        rows.append(_rival(setting, on, name, own, whole, labels[name], **(EDOWN if name == "edown" else {})))
    return rows


def _against(rows: list[Row], scenario: Scenario, ours: Row) -> None:
    """The ratios to the loop, to the official client in a pool, and to the best peer that stores the same pixels.

    The pool is no peer but a dozen lines of its user's: what it stores is an array without a place on the ground.
    """
    by_name = {row.name: row for row in rows if row.seconds and row is not ours}
    loop, pool = by_name.pop("quickstart's loop", None), by_name.pop("ee.data.getPixels, 40 threads", None)
    if loop is not None:
        scenario.ratios["wall ÷ quickstart's loop"] = ours.seconds / loop.seconds
        scenario.targets["wall ÷ quickstart's loop"] = 1 / 20
    if pool is not None:
        scenario.ratios["wall ÷ ee.data in 40 threads"] = ours.seconds / pool.seconds
    peers = [
        row for row in by_name.values() if row.pixels == "bit-exact" and not row.name.startswith("downloader")
    ]
    if peers:
        best = min(peers, key=lambda row: row.seconds or 0)
        scenario.ratios["wall ÷ best peer that stores"] = ours.seconds / best.seconds
        scenario.targets["wall ÷ best peer that stores"] = 1 / 2


def quota(setting: Setting) -> Scenario:
    """What the service's quota permits."""
    window, service = setting.window(10980, 4096), Service(0.25, 0.4)
    scenario = Scenario(
        "quota", f"250 ms + 400 ms/MB, 40 at once, 100 starts/s; {window[2]}² × 4 uint16 on disk"
    )
    with bench(service, setting.folder, quota_concurrency=40, quota_per_minute=6000) as on:
        floor, ours = _floor(window, service), _ours(setting, on, window, 3)
        # With a limit of requests, here one that is never reached, none is cut.
        uncut = _ours(setting, on, window, name="downloader, none cut", limits={"max_requests": 10**6})
        scenario.rows += [floor, ours, uncut]
        if not setting.alone:
            scenario.rows.append(_rival(setting, on, "discard", window, window, "fetch and discard, libcurl"))
            peers = {"loop": 1280, "ee_pool": 10980, "geedim": 10980, "xee": 1024, "edown": 4736}
            scenario.rows += _peers(setting, on, window, {**peers, "cubexpress": 5490, "eedai": 2048})
    scenario.ratios["wall ÷ best list schedule"] = ours.seconds / floor.seconds
    scenario.targets["wall ÷ best list schedule"] = 1.10
    scenario.ratios["CPU ms a MB"] = ours.cpu_ms_per_mb
    scenario.ratios["peak MB"] = ours.peak_mb
    if not setting.quick:
        scenario.ratios["slots idle at most"] = idle(ours.slots, service.concurrency)
        scenario.targets["slots idle at most"] = 4
    _against(scenario.rows, scenario, ours)
    return scenario


def idle(slots: list[float], concurrency: int) -> float:
    """The most slots that were idle in a quarter second, but for the first second, of starts, and the last, of ends."""
    return max(concurrency - used for used in slots[4:-4])


def far(setting: Setting) -> Scenario:
    """A service whose latency is everything."""
    window, service = setting.window(10980, 4096), Service(0.6, 0.04)
    scenario = Scenario("far", f"600 ms + 40 ms/MB, 40 at once; {window[2]}² × 4 uint16 on disk")
    with bench(service, setting.folder) as on:
        floor, ours = _floor(window, service), _ours(setting, on, window)
        scenario.rows += [floor, ours]
        fixed = [
            _ours(setting, on, window, name=f"downloader, request.tiles: {tiles}", request={"tiles": tiles})
            for tiles in ((4,) if setting.quick else (4, 8))
        ]
        scenario.rows += fixed
        if not setting.alone:
            scenario.rows += _peers(setting, on, window, {"loop": 512, "ee_pool": 10980})
    scenario.ratios["wall ÷ best list schedule"] = ours.seconds / floor.seconds
    scenario.ratios["auto ÷ best fixed request.tiles"] = ours.seconds / min(
        row.seconds for row in (ours, *fixed)
    )
    scenario.targets["auto ÷ best fixed request.tiles"] = 1.05
    _against(scenario.rows, scenario, ours)
    return scenario


def nodelay(setting: Setting) -> Scenario:
    """The client's own ceiling."""
    window = setting.window(10980, 4096)
    scenario = Scenario("nodelay", f"a service without delay; {window[2]}² × 4 uint16 on disk")
    # The rate is lifted: it would be the limit, and here the client is looked at.
    fast = {"limits": {"requests_per_second": 1000}}
    with bench(Service(0, 0), setting.folder) as on:
        plain = _ours(setting, on, window, name="downloader as configured")
        ours = _ours(setting, on, window, 3, **fast)
        bare = _ours(setting, on, window, 3, "downloader, codec none", **fast, mosaic={"compressor": "none"})
        scenario.rows += [plain, ours, bare]
        if not setting.alone:
            discards = [
                _rival(setting, on, "discard", window, window, "fetch and discard, libcurl") for _ in range(3)
            ]
            discard = sorted(discards, key=lambda row: row.cpu_ms_per_mb or 0)[1]
            scenario.rows.append(discard)
            if discard.cpu_ms_per_mb:
                scenario.ratios["CPU per MB ÷ fetch and discard, codec off"] = (
                    bare.cpu_ms_per_mb / discard.cpu_ms_per_mb
                )
                scenario.ratios["CPU per MB ÷ fetch and discard, codec on"] = (
                    ours.cpu_ms_per_mb / discard.cpu_ms_per_mb
                )
                scenario.targets["CPU per MB ÷ fetch and discard, codec off"] = 2
                scenario.targets["CPU per MB ÷ fetch and discard, codec on"] = 4
            peers = {
                "loop": 2560,
                "ee_pool": 10980,
                "geedim": 10980,
                "edown": 10980,
                "cubexpress": 10980,
                "eedai": 5490,
            }
            scenario.rows += _peers(setting, on, window, peers)
    if not setting.quick:
        scenario.ratios["seconds for the scene"] = plain.seconds
        scenario.targets["seconds for the scene"] = 6
    _against(scenario.rows, scenario, ours)
    # Where a service takes no time there is no quota to make the best of: these two are aims of the first scenario.
    for name in ("wall ÷ quickstart's loop", "wall ÷ best peer that stores"):
        scenario.targets.pop(name, None)
    return scenario


def chips(setting: Setting) -> Scenario:
    """Every date of many places."""
    places, days = (40, 10) if setting.quick else (1000, 50)
    service, chip, bands = Service(0.25, 0.4), 32, ("B4", "B8")
    rng = random.Random(3)
    # Where two of Sentinel-2's tiles overlap, so that each day has two images.
    corners = [(rng.randrange(10_202, 10_800), rng.randrange(1_500, 9_500)) for _ in range(places)]
    file = setting.folder / "points.csv"
    middles = [(499980 + 10 * (c + chip // 2) + 5, 4200000 - 10 * (r + chip // 2) - 5) for c, r in corners]
    file.write_text("id,x,y\n" + "".join(f"p{k},{x},{y}\n" for k, (x, y) in enumerate(middles)))
    dates = [date(2017, 4, 1) + timedelta(days=5 * k) for k in range(days)]
    stamps = [f"{day:%Y%m%d}T184921" for day in dates]
    collection = "COPERNICUS/S2_SR_HARMONIZED"
    images = [f"{collection}/{s}_{s}_T{tile}" for s in stamps for tile in ("10SEG", "10SFG")]
    options = {
        "collection": collection, "start": "2017-04-01", "end": str(dates[-1] + timedelta(days=1)),
        "points": str(file), "chip": chip,
    }  # fmt: skip
    scenario = Scenario(
        "chips",
        f"250 ms + 400 ms/MB, 40 at once, 100 starts/s; {places:,} places × {2 * days} dates × 2 uint16, {chip}²",
    )
    chunk_mb = places * len(images) * chip**2 * 4 / 1e6
    with bench(service, setting.folder, quota_concurrency=40, quota_per_minute=6000) as on:
        task = on.task(bands=bands, options=options)
        result = run("ours", "chips", task)
        stored = stored_chips(result.path, bands)
        wrong = sum(
            int(np.count_nonzero(stored[n, k] != chip_truth(images[k], bands, corners[n], chip)))
            for n, k in ((rng.randrange(places), rng.randrange(len(images))) for _ in range(20))
        )
        if wrong:
            raise DidNotRunError(f"the downloader's chips are wrong: {wrong:,} pixels differ")
        throw_away(task)
        cpu = result.cpu_s * 1e3 / chunk_mb
        ours = Row("downloader", result.seconds, cpu, result.peak_mb, result.more["requests"], "bit-exact")
        scenario.rows.append(ours)
        _say(f"  downloader: {ours.seconds:.2f} s")
        if not setting.alone:
            few = 4 if setting.quick else 10
            labels = {
                "ee_chips": "ee.data.getPixels, 40 threads",
                "cubexpress_chips": "cubexpress 0.2.8, 40 threads",
            }
            for name, label in labels.items():
                task = on.task(
                    bands=bands, options={"corners": corners[:few], "images": images, "chip": chip}
                )
                scenario.rows.append(_chips_of(name, label, task, stored[:few], places / few))
            pool = scenario.rows[1].seconds
            if pool is not None:
                scenario.ratios["wall ÷ ee.data in 40 threads"] = ours.seconds / pool
    if not setting.quick:
        scenario.ratios["seconds for 1,000 places × 100 dates"] = ours.seconds
        scenario.targets["seconds for 1,000 places × 100 dates"] = 30
    return scenario


def _chips_of(name: str, label: str, task: Task, stored: np.ndarray, scale: float) -> Row:
    """A rival on some of the places, scaled to all; no faster than the quota lets requests start."""
    try:
        result = rival(name, task)
    except DidNotRunError as error:
        throw_away(task)
        return Row(label, note=str(error))
    wrong = int(np.count_nonzero(np.memmap(result.path, "<u2", "r", shape=stored.shape) != stored))
    requests = round(stored.shape[0] * stored.shape[1] * scale)
    seconds = max(result.seconds * scale, requests / 100)
    cpu = result.cpu_s * 1e3 / (stored.nbytes / 1e6)
    throw_away(task)
    _say(f"  {label}: {seconds:.0f} s (scaled)")
    verdict = "bit-exact" if not wrong else f"{wrong:,} pixels differ"
    return Row(label, seconds, cpu, result.peak_mb, requests, verdict, scale, "a request for each date")


def slowdisk(setting: Setting) -> Scenario:
    """A disk slower than the network: back-pressure must hold memory."""
    window, rate = setting.window(5632, 4096), 40
    scenario = Scenario("slowdisk", f"no delay, a disk of {rate} MB/s, codec none; {window[2]}² × 4 uint16")
    limits = {"limits": {"memory": "400MiB", "requests_per_second": 1000}, "mosaic": {"compressor": "none"}}
    with bench(Service(0, 0), setting.folder) as on:
        task = with_job(on.task(window, options={"disk_mb_per_s": rate}), **limits)
        slow = _row(setting, "downloader, slow disk", task, run("ours", "downloader", task), window)
        fast = _ours(setting, on, window, name="downloader, this disk", **limits)
        disk = Row("the disk alone", _megabytes(on.task(window)) / rate, note="computed")
    scenario.rows += [disk, slow, fast]
    scenario.ratios["wall ÷ the disk's own time"] = slow.seconds / disk.seconds
    scenario.targets["wall ÷ the disk's own time"] = 1.10
    scenario.ratios["peak memory ÷ limits.memory"] = slow.peak_mb / (400 * 2**20 / 1e6)
    scenario.targets["peak memory ÷ limits.memory"] = 1
    return scenario


def small(setting: Setting) -> Scenario:
    """What each tile costs where there are many, and each request where they are small."""
    many = 10_000 if setting.quick else 100_000
    window = setting.window(10980, 4096)
    bands = ("B2",) if setting.quick else ("B2", "B3", "B4")
    scenario = Scenario("small", "no delay, one band: many tiles packed, and tiles one by one")
    out = tempfile.mkdtemp(dir=setting.folder)
    task = Task("", "", "", "", (), SCENE, out, options={"tiles": many, "disk": True})
    result = run("engine", "constant", task)
    shutil.rmtree(out)
    scenario.ratios["CPU ms a tile, packed"] = ms = result.cpu_s * 1e3 / many
    name, note = (
        f"{many:,} tiles of bytes, packed",
        f"constant, from an in-process source; {ms:.2f} ms CPU a tile",
    )
    scenario.rows.append(Row(name, result.seconds, peak_mb=result.peak_mb, note=note))
    jobs = {"limits": {"requests_per_second": 10_000}, "request": {"tiles": 1}}
    rows = []
    with bench(Service(0, 0), setting.folder) as on:
        for band in bands:
            task = with_job(on.task(window, bands=(band,)), **jobs)
            result = run("ours", "downloader", task)
            rows.append(_row(setting, band, task, result, window))
    tiles = sum(row.requests or 0 for row in rows)
    ms = (
        sum(row.cpu_ms_per_mb or 0 for row in rows)
        / len(rows)
        * window[2]
        * window[3]
        * 2e-6
        * len(rows)
        / tiles
    )
    scenario.ratios["CPU ms a tile, one by one"] = ms
    scenario.rows.append(
        Row(
            f"{tiles:,} tiles of uint16, one by one",
            sum(row.seconds or 0 for row in rows),
            sum(row.cpu_ms_per_mb or 0 for row in rows) / len(rows),
            max(row.peak_mb or 0 for row in rows),
            tiles,
            " and ".join(sorted({row.pixels for row in rows})),
            note=f"{len(bands)} jobs over a socket; {ms:.2f} ms CPU a tile",
        )
    )
    return scenario


def resume(setting: Setting) -> Scenario:
    """Finding out that 10⁶ tiles are done."""
    tiles = 10**5 if setting.quick else 10**6
    scenario = Scenario("resume", f"{tiles:,} tiles done, local disk: opening the mosaic again")
    out = tempfile.mkdtemp(dir=setting.folder)
    task = Task("", "", "", "", (), SCENE, out, options={"tiles": tiles})
    result = run("engine", "resume", task)
    shutil.rmtree(out)
    scenario.rows.append(
        Row("downloader", result.seconds, peak_mb=result.peak_mb, note=f"{result.more['objects']:,} objects")
    )
    scenario.ratios["seconds"] = result.seconds
    scenario.targets["seconds"] = 2
    return scenario


def plan(setting: Setting) -> Scenario:
    """How soon the first request of a plan of 10⁹ tiles goes out."""
    scenario = Scenario("plan", "10⁹ tiles: from the process's start to its first request for pixels")
    seconds, helps = [], []
    with bench(Service(0.02, 0), setting.folder) as on:
        for _ in range(3 if setting.quick else 7):
            task = on.task(options={"control": on.emulator.control_url, "since": len(on.calls())})
            seconds.append(run("engine", "first_request", task))
            throw_away(task)
        for _ in range(5):
            task = on.task()
            helps.append(run("engine", "help_text", task))
            throw_away(task)
    middle = sorted(seconds, key=lambda r: r.seconds)[len(seconds) // 2]
    help_ = sorted(helps, key=lambda r: r.seconds)[len(helps) // 2]
    scenario.rows.append(Row("downloader run", middle.seconds, note=f"median of {len(seconds)}"))
    scenario.rows.append(Row("downloader --help", help_.seconds, note="median of 5"))
    scenario.ratios |= {"first request, s": middle.seconds, "--help, s": help_.seconds}
    scenario.targets |= {"first request, s": 1, "--help, s": 0.3}
    return scenario


def memory(setting: Setting) -> Scenario:
    """Whether memory grows with the number of tiles."""
    scenario = Scenario("memory", "constant tiles from an in-process source, stored as holes")
    sizes = (10**3, 10**4, 10**5) if setting.quick else (10**3, 10**4, 10**5, 10**6)
    peaks = {}
    for tiles in sizes:
        out = tempfile.mkdtemp(dir=setting.folder)
        result = run("engine", "constant", Task("", "", "", "", (), SCENE, out, options={"tiles": tiles}))
        shutil.rmtree(out)
        peaks[tiles] = result.peak_mb
        ms = result.cpu_s * 1e3 / tiles
        scenario.rows.append(
            Row(f"{tiles:,} tiles", result.seconds, peak_mb=result.peak_mb, note=f"{ms:.3f} ms CPU a tile")
        )
        _say(f"  {tiles:,} tiles: {result.peak_mb:.0f} MB")
    largest, before = sizes[-1], sizes[-2]
    scenario.ratios[f"peak at {largest:,} tiles ÷ at {before:,}"] = peaks[largest] / peaks[before]
    scenario.targets[f"peak at {largest:,} tiles ÷ at {before:,}"] = 1.10
    return scenario


def series(setting: Setting) -> Scenario:
    """A long series of small images, and one pixel of it."""
    start, end = date(2010, 1, 1), date(2010, 7, 1) if setting.quick else date(2012, 1, 1)
    days, window = [start + timedelta(n) for n in range((end - start).days)], (720, 150, 51, 51)
    bands = ("mean_2m_air_temperature", "total_precipitation")
    scenario = Scenario(
        "series", f"250 ms + 400 ms/MB, 40 at once, 100 starts/s; {len(days)} days of 51² × 2 float32"
    )
    truth = np.stack(
        [[oracle_window(f"{PUBLIC}{DAYS}/{day:%Y%m%d}", band, *window) for day in days] for band in bands]
    )
    options = {"start": str(start), "end": str(end)}
    west, north = -180 + 0.25 * window[0], 90 - 0.25 * window[1]
    job = {
        "source": {"asset": None, "collection": DAYS, **options},
        "region": {"window": None, "bbox": [west + 0.1, north - 12.65, west + 12.65, north - 0.1]},
    }
    with bench(Service(0.25, 0.4), setting.folder, quota_concurrency=40, quota_per_minute=6000) as on:
        task = on.task(window, asset=DAYS, bands=bands, options=options)
        for name, contender in (("downloader", "downloader"), ("xee 0.1.2", "xee_series")):
            if setting.alone and contender != "downloader":
                continue
            own, before = replace(task, out=tempfile.mkdtemp(dir=setting.folder)), len(on.calls())
            try:
                ours = contender == "downloader"
                result = run("ours", contender, with_job(own, **job)) if ours else rival(contender, own)
            except DidNotRunError as error:
                if contender == "downloader":
                    raise
                scenario.rows.append(Row(name, note=str(error)))
                continue
            asked = [
                call for call in on.calls()[before:] if "ixels" in call["method"] and call["size"] != [1, 1]
            ]
            found, read_s = _series(result, bands)
            wrong = int(np.count_nonzero(found != truth)) if found.shape == truth.shape else -1
            pixels = "bit-exact" if not wrong else f"{wrong:,} pixels differ"
            note = f"one pixel's series in {read_s * 1e3:.0f} ms{'; ' + result.note if result.note else ''}"
            scenario.rows.append(
                Row(name, result.seconds, None, result.peak_mb, len(asked), pixels, note=note)
            )
            throw_away(own)
    ours, *others = scenario.rows
    if ours.pixels != "bit-exact":
        raise DidNotRunError(f"the downloader's series is wrong: {ours.pixels}")
    if not setting.quick:
        scenario.ratios[f"seconds for {len(days)} days"] = ours.seconds
    for row in others:
        if row.seconds:
            scenario.ratios["wall ÷ xee"] = ours.seconds / row.seconds
    return scenario


def _series(result: Result, bands: tuple[str, ...]) -> tuple[np.ndarray, float]:
    """Return what was stored, (bands, times, y, x), and the seconds in which one pixel of it is opened and read, warm."""
    if result.stored == "npy":
        begun = time.perf_counter()
        _ = np.load(result.path, mmap_mode="r")[0, :, 25, 25].copy()
        return np.load(result.path), time.perf_counter() - begun
    for _ in range(2):
        begun = time.perf_counter()
        _ = open_mosaic(result.path, chunks=None)[bands[0]][:, 25, 25].values
        read_s = time.perf_counter() - begun
    opened = open_mosaic(result.path, chunks=None)
    return np.stack([opened[band].values for band in bands]), read_s


SCENARIOS: dict[str, Callable[[Setting], Scenario]] = {
    scenario.__name__: scenario
    for scenario in (quota, far, chips, series, nodelay, slowdisk, small, resume, plan, memory)
}
