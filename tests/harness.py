"""The downloader as its user meets it: a job file, a real process, and an emulator that counts what it was asked.

Nothing here looks into the package: mosaics are read with zarr alone, pixels come from the oracle, and duplicates are
counted where they were served.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import zarr

from downloader.mosaic.format.header import ShardHeader
from earthengine_emulator import EmulatorProcess
from tests.forkserver import Forked
from tests.oracle import QUICKSTART, oracle_window

ROOT = Path(__file__).resolve().parents[1]
ASSET = "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG"
BANDS = ("B2", "B3", "B4", "B8")
TILE = 256
STATIC_TOKEN = "a-token-that-nobody-may-see-7Q2x"
"""The shared emulator takes it as it is; no output may show it."""
PATIENCE_S = 60.0
"""How long a test waits for something that takes a moment; only a broken program takes it all."""

_GOOGLE = ("GOOGLE_", "EARTHENGINE_", "CLOUDSDK_", "DOWNLOADER_")


# ---------------------------------------------------------------- jobs


def job(emulator: EmulatorProcess | None, path: str | Path = "mosaic.zarr", **sections: object) -> dict:
    """A job's values; sections replace the quickstart's, `None` leaves one out."""
    values: dict[str, object] = {
        "source": {"asset": ASSET, "bands": list(BANDS)},
        "region": {"window": {"column": 0, "row": 0, "width": 2048, "height": 2048}},
        "mosaic": {"path": str(path)},
        "service": {"endpoint": "emulator"},
    }
    if emulator is not None:
        values["service"] = {"endpoint": emulator.url, "project": "p-test-1"}
        values["auth"] = {"key_file": str(emulator.key_file)}
    for name, section in sections.items():
        if section is None:
            values.pop(name, None)
        elif name == "mosaic" and isinstance(section, dict):
            values[name] = {"path": str(path), **section}
        else:
            values[name] = section
    return values


def window(column: int, row: int, width: int, height: int) -> dict:
    """The region of so many pixels."""
    return {"window": {"column": column, "row": row, "width": width, "height": height}}


def write_job(folder: Path, values: dict, name: str = "job.yaml") -> Path:
    """A job file; JSON is YAML."""
    path = folder / name
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
    return path


# ---------------------------------------------------------------- processes


@dataclass
class Ended:
    """What a process left."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without anybody's credentials; home folders are empty ones."""
    left_out = (*_GOOGLE, "PYTHONUNBUFFERED")  # streams that hide nothing from the last flush
    kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    return kept | {"PYTHONPATH": str(ROOT), "NO_GCE_CHECK": "true", "HOME": "/nonexistent", **changes}


def start(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.Popen:
    """A `downloader` process, its output in pipes; `FAULTS` in `env` are flags of `tests.chaos.wrapped`."""
    faults = (env or {}).get("FAULTS", "").split()
    program = ["tests.chaos.wrapped", *faults, "--"] if faults else ["downloader"]
    return Forked(
        [sys.executable, "-m", *program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd or ROOT,
        env=environment(**(env or {})),
        text=True,
    )


def end(process: subprocess.Popen) -> Ended:
    """Wait for a process and collect what it said."""
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"did not end within {PATIENCE_S:g} s\n{out}\n{err}") from None
    return Ended(process.returncode, out, err)


def cli(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ended:
    """Run `downloader` to its end."""
    return end(start(*arguments, cwd=cwd, env=env))


def command(*arguments: object, env: dict[str, str] | None = None) -> Ended:
    """The same command in this process: for tests in which only its work matters, at a tenth of the start-up."""
    from downloader.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(**(env or {})), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = main([str(argument) for argument in arguments])
    return Ended(status, out.getvalue(), err.getvalue())


def wait_until(true: Callable[[], bool], process: subprocess.Popen | None = None) -> bool:
    """Wait until something holds; False when the process ended before it did."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if true():
            return True
        if process is not None and process.poll() is not None:
            return true()
        time.sleep(0.002)
    raise AssertionError(f"waited {PATIENCE_S:g} s in vain")


def ledger_lines(mosaic: Path) -> int:
    """Lines that all runs wrote into the ledger so far."""
    count = 0
    for file in (mosaic / ".downloader" / "ledger").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            count += file.read_bytes().count(b"\n")
    return count


def kill_after(job_file: Path, mosaic: Path, lines: int, delay_s: float) -> tuple[int, int]:
    """Start a run and SIGKILL it once the ledger grew by so many lines, and a moment later.

    Returns:
        The exit status (-9, or 0 when the run was quicker) and the lines by which the ledger grew.
    """
    before = ledger_lines(mosaic)
    process = start("run", job_file)
    with process:
        alive = wait_until(lambda: ledger_lines(mosaic) >= before + lines, process)
        if alive and process.poll() is None:
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
        ended = end(process)
    assert ended.status in (-9, 0), ended
    return ended.status, ledger_lines(mosaic) - before


# ---------------------------------------------------------------- what was asked and served


def getpixels(emulator: EmulatorProcess, since: int = 0) -> list[dict]:
    """Records of all pixel requests but the canaries'."""
    records = emulator.control(f"requests?since={since}")["requests"]
    return [r for r in records if r["method"] == "assets.getPixels" and r["size"] != [1, 1]]


Place = tuple[int, int]


def asked(emulator: EmulatorProcess, origin: Place | dict[str, Place] = (0, 0)) -> Counter:
    """How often each (asset, band, tile row, tile column) was asked for and not refused.

    A request that a kill cut off counts as well. `origin`: where the mosaic begins, in the band's pixels, or that by
    band.
    """
    counts: Counter = Counter()
    for record in getpixels(emulator):
        if record["status"] not in (200, None) or record["fault"]:
            continue
        assert record["window"] is not None, f"not on the band's lattice: {record}"
        for band in record["bands"]:
            left, top = origin[band] if isinstance(origin, dict) else origin
            column, row, width, height = record["window"]
            assert (column - left) % TILE == (row - top) % TILE == 0, f"not on the mosaic's tiles: {record}"
            for r in range((row - top) // TILE, -(-(row - top + height) // TILE)):
                for c in range((column - left) // TILE, -(-(column - left + width) // TILE)):
                    counts[record["resource"], band, r, c] += 1
    return counts


def repeated(emulator: EmulatorProcess, origin: Place | dict[str, Place] = (0, 0)) -> int:
    """Tiles, band by band, that were asked for again after a first time."""
    counts = asked(emulator, origin)
    assert counts, "nothing was asked for"
    return sum(count - 1 for count in counts.values())


@dataclass
class Duplicates:
    """The most that a kill may cost, in tiles of one band that are fetched again."""

    concurrency: int
    requests_per_shard: int
    tiles_per_shard: int
    bands: int

    def allowed(self, kills: int) -> int:
        """Tiles that so many kills may cost at most."""
        shards = math.ceil(self.concurrency / self.requests_per_shard) + 1
        return kills * shards * self.tiles_per_shard * self.bands


# ---------------------------------------------------------------- what is in the mosaic


def band_arrays(mosaic: Path) -> dict[str, zarr.Array]:
    """Array path → array, of all bands of all groups, read by zarr alone."""
    root = zarr.open_group(str(mosaic), mode="r")
    nodes = [("", root), *((f"{name}/", group) for name, group in root.groups())]
    return {
        f"{prefix}{name}": array
        for prefix, node in nodes
        for name, array in node.arrays()
        if array.attrs.get("grid_mapping")
    }


def compare(
    mosaic: Path, image: str = QUICKSTART, column: int = 0, row: int = 0, fill: dict[str, float] | None = None
) -> int:
    """Compare every pixel of a one-group mosaic with the oracle, bit by bit; the pixels compared.

    `column`, `row`: where the mosaic begins in the image. `fill`: what masked pixels hold, by band; else 0.
    """
    compared = 0
    for name, array in band_arrays(mosaic).items():
        band = str(array.attrs.get("band", name))
        height, width = array.shape
        wanted = oracle_window(image, band, column, row, width, height, (fill or {}).get(band, 0))
        same_bits(array[:], wanted, f"{mosaic.name} {name}")
        compared += wanted.size
    assert compared, f"{mosaic} has no bands"
    return compared


def same_bits(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    """Same type, shape and bytes."""
    assert found.dtype == wanted.dtype, f"{what}: {found.dtype} is not {wanted.dtype}"
    assert found.shape == wanted.shape, f"{what}: {found.shape} is not {wanted.shape}"
    bits = f"u{found.dtype.itemsize}"
    wrong = np.ascontiguousarray(found).view(bits) != np.ascontiguousarray(wanted).view(bits)
    if wrong.any():
        r, c = np.argwhere(wrong)[0]
        raise AssertionError(
            f"{what}: {wrong.sum():,} pixels differ, the first at row {r}, column {c}: {found[r, c]} is not {wanted[r, c]}"
        )


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


COPY = re.compile(r"(^|/)mosaic-[0-9a-f]{16}\.json$")
"""The key of the copy of a mosaic's identity, which holds its id."""


def without_ids(objects: dict[str, bytes]) -> dict[str, bytes]:
    """The same files but for the ids of their mosaics, in which two of them differ that hold the same."""
    return {
        key: data[ShardHeader.parse(data).nbytes :]
        if data.startswith(b"EEDSHARD")
        else re.sub(rb"mosaic-[0-9a-f]{16}", b"mosaic", data)
        if key.endswith("zarr.json")
        else data
        for key, data in objects.items()
        if not COPY.search(key)
    }


def key_of(emulator: EmulatorProcess) -> tuple[str, str]:
    """Flags for commands on a mosaic, whose own job chooses no credentials."""
    return "--key-file", str(emulator.key_file)


def leftovers(folder: Path) -> list[str]:
    """Staged files that nobody finished or removed."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*#*")]


LARGE = (100, 200, 3700, 3600)
"""Column, row, width, height of a region of 2×2 tiles to a shard, clipped at both edges."""
SMALL = (100, 200, 700, 520)


@dataclass
class MadeMosaic:
    """A complete mosaic that tests copy."""

    path: Path
    region: tuple[int, int, int, int]
    bands: tuple[str, ...]
    wanted: dict[str, np.ndarray]
    """Array → what it must hold, by the oracle."""

    def copy(self, to: Path) -> Path:
        """Copy it; the job inside still names the emulator."""
        return Path(shutil.copytree(self.path, to))

    @property
    def origin(self) -> tuple[int, int]:
        """Column and row of the image where the mosaic begins."""
        return self.region[:2]

    def check(self, mosaic: Path) -> None:
        """Assert that a mosaic holds what it must, bit by bit."""
        arrays = band_arrays(mosaic)
        assert arrays.keys() == self.wanted.keys()
        for name, array in arrays.items():
            same_bits(array[:], self.wanted[name], name)


class MosaicBuilder:
    """Makes mosaics by `downloader run`, one for each set of arguments.

    Args:
        emulator: serves the pixels; it is reset before each run.
        new_folder: returns an empty folder for a name.
    """

    def __init__(self, emulator: EmulatorProcess, new_folder: Callable[[str], Path]) -> None:
        self._emulator = emulator
        self._new_folder = new_folder
        self._made: dict[object, MadeMosaic] = {}

    def __call__(
        self,
        profile: str,
        region: tuple[int, int, int, int] = SMALL,
        bands: tuple[str, ...] = ("B2", "B3"),
        compressor: str = "lz4",
    ) -> MadeMosaic:
        """Return the mosaic of these arguments."""
        key = (profile, region, bands, compressor)
        if key not in self._made:
            self._emulator.reset()
            folder = self._new_folder("made")
            values = job(
                self._emulator,
                source={"asset": ASSET, "bands": list(bands)},
                region=window(*region),
                mosaic={"profile": profile, "compressor": compressor},
            )
            ended = cli("run", write_job(folder, values))
            assert ended.status == 0, ended
            wanted = {band: oracle_window(QUICKSTART, band, *region) for band in bands}
            made = self._made[key] = MadeMosaic(folder / "mosaic.zarr", region, bands, wanted)
            made.check(made.path)
        return self._made[key]


# ---------------------------------------------------------------- secrets


def secrets(key_file: Path) -> list[bytes]:
    """What must be seen nowhere: the body of the private key, its id, and the mark of every access token.

    Marks of signed tokens have eight bytes: shorter ones turn up in megabytes of compressed pixels by chance.
    """
    document = json.loads(key_file.read_text())
    pem = [line for line in document["private_key"].splitlines() if len(line) > 8 and "-----" not in line]
    marks = (b"ya29.", b"eyJ0eXAi", b"eyJhbGci", b"eyJraWQi", b"Bearer ")
    return [line.encode() for line in pem] + [document["private_key_id"].encode(), *marks]


def no_secret(words: Sequence[bytes], folder: Path, *ended: Ended) -> None:
    """Assert that none of the words is in any file of a folder, nor in what processes said."""
    places = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for number, one in enumerate(ended):
        places[f"output {number}"] = (one.out + one.err).encode()
    for place, content in places.items():
        for word in words:
            assert word not in content, f"{place} holds a secret that begins with {word[:8]!r}"


# ---------------------------------------------------------------- kills in a row


@dataclass
class Chain:
    """Runs of one job, killed again and again until one completes."""

    job_file: Path
    mosaic: Path
    rng: random.Random
    least: int = 1
    """Lines by which the ledger must grow before a kill."""
    most: int = 1
    delay_s: float = 0.05
    """The kill comes up to so long after that."""
    kills: int = 0
    growth: list[int] = field(default_factory=list)

    def run(self, kills: int) -> bool:
        """Kill up to so many runs; whether the job completed before."""
        for _ in range(kills):
            lines = self.rng.randint(self.least, self.most)
            status, grown = kill_after(self.job_file, self.mosaic, lines, self.rng.uniform(0, self.delay_s))
            if status == 0:
                return True
            self.kills += 1
            self.growth.append(grown)
        return False


@contextlib.contextmanager
def running(*arguments: object, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen]:
    """A `downloader` process that does not outlive the block."""
    process = start(*arguments, env=env)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
