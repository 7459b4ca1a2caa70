"""Row 17 of the fault catalogue: an image that changes between runs, in mid-run, and what the job says to do with it.

The image is a raster of the emulator's: another file under the same name has other pixels and another `updateTime`. It
also makes another data set of the emulator, which a service has not; so that only the image differs, mosaics made from the
first file are told that they came from the second's emulator.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from earthengine_emulator import EmulatorProcess, arguments
from tests.harness import (
    QUICKSTART,
    cli,
    end,
    getpixels,
    job,
    ledger_lines,
    running,
    snapshot,
    wait_until,
    window,
    write_job,
)

rasterio = pytest.importorskip("rasterio")

ASSET = "projects/p-test-1/assets/changing"
HEIGHT, WIDTH = 700, 768
"""3×3 tiles, the last row clipped."""


@pytest.fixture(scope="module")
def versions(tmp_path_factory) -> list[tuple[Path, np.ndarray]]:
    """(file, pixels) of an image before and after a change; not a pixel is the same, and one tile is blank at first."""
    folder = tmp_path_factory.mktemp("versions")
    rng = np.random.default_rng(7)
    first = rng.integers(1, 30_000, (HEIGHT, WIDTH)).astype("u2")
    first[:256, :256] = 0
    found = []
    for number, pixels in enumerate((first, first + 30_000)):
        path = folder / f"v{number}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=WIDTH, height=HEIGHT, count=1, dtype="uint16", crs="EPSG:32610",
            transform=rasterio.Affine(10, 0, 500_000, 0, -10, 4_200_000), tiled=False,
        ) as file:  # fmt: skip
            file.write(pixels, 1)
        found.append((path, pixels))
    return found


@pytest.fixture(scope="module")
def emulators(versions: list[tuple[Path, np.ndarray]]) -> Iterator[list[EmulatorProcess]]:
    """For each of the versions an emulator that serves it as the image."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(EmulatorProcess(arguments(rasters={ASSET: file}, quota_per_minute=0)))
            for file, _ in versions
        ]


Serving = Callable[..., contextlib.AbstractContextManager[EmulatorProcess]]


@pytest.fixture
def serving(emulators: list[EmulatorProcess]) -> Serving:
    """Return the emulator that serves one of the versions as the image, as at its start but for some switches."""

    @contextlib.contextmanager
    def version(now: int, **switches: object) -> Iterator[EmulatorProcess]:
        emulators[now].reset()
        emulators[now].control("configure", switches)
        yield emulators[now]

    return version


def same_service(path: Path, emulator: EmulatorProcess) -> None:
    """Make a mosaic say that its pixels came from this emulator's data set, in its identity and in the copy of that."""
    marker, root = path / ".downloader/mosaic.json", path / "zarr.json"
    was = json.loads(marker.read_text())["service"]
    now = f"emulator {emulator.control('state')['data_set']}"
    assert was != now
    text = root.read_text()
    copy = path / json.loads(text)["attributes"]["downloader"]
    assert copy.read_bytes() == marker.read_bytes()
    content = marker.read_bytes().replace(was.encode(), now.encode())
    marker.write_bytes(content)
    changed = copy.with_name(f"mosaic-{hashlib.sha256(content).hexdigest()[:16]}.json")
    copy.rename(changed).write_bytes(content)
    root.write_text(text.replace(copy.name, changed.name))


def settings(emulator: EmulatorProcess, path: Path, **more: object) -> dict:
    values = job(emulator, path, region=None)
    values["source"] = {"asset": ASSET}
    values["request"] = {"tiles": 1}
    return values | more


def run(emulator: EmulatorProcess, path: Path, *more: object, **sections: object):
    job_file = write_job(path.parent, settings(emulator, path, **sections))
    return cli("run", job_file, "--report", path.parent / "report.json", *more)


def report(path: Path) -> dict:
    return json.loads((path.parent / "report.json").read_text())


def pixels_of(path: Path) -> np.ndarray:
    (array,) = (
        a
        for n, a in zarr.open_group(path, mode="r").arrays()
        if a.attrs.get("grid_mapping") and n not in "xy"
    )
    return array[:]


def coverage_of(path: Path) -> np.ndarray:
    return zarr.open_array(path / "coverage/tiles", mode="r")[:]


def attributes(path: Path) -> dict:
    return dict(zarr.open_group(path, mode="r").attrs)


def tile(pixels: np.ndarray, row: int, column: int) -> np.ndarray:
    return pixels[row * 256 : (row + 1) * 256, column * 256 : (column + 1) * 256]


def same_tiles(found: np.ndarray, wanted: np.ndarray) -> list[tuple[int, int]]:
    return [
        (r, c) for r in range(3) for c in range(3) if np.array_equal(tile(found, r, c), tile(wanted, r, c))
    ]


@pytest.fixture
def half(serving, tmp_path) -> Path:
    """A mosaic of which a run stored four tiles before the image changed."""
    path = tmp_path / "m"
    with serving(0) as emulator:
        ended = run(emulator, path, limits={"max_requests": 4, "concurrency": 1})
    assert ended.status == 4, ended
    assert (coverage_of(path) == 1).sum() == 4
    return path


def test_a_change_is_refused_with_the_ways_out(serving, half) -> None:
    with serving(1) as emulator:
        same_service(half, emulator)
        before = snapshot(half)
        ended = run(emulator, half)
        assert getpixels(emulator) == []
    assert ended.status == 5, ended
    assert "source.updateTime: " in ended.err
    assert "--accept updates" in ended.err
    assert "source.on_update=refetch" in ended.err
    after = snapshot(half)
    assert {k for k in after if after[k] != before.get(k)} <= {".downloader/lock"}


def test_keep_stores_what_is_missing_as_it_is_now_and_says_so(versions, serving, half) -> None:
    (_, old), (_, new) = versions
    was = attributes(half)["update_time"]
    first = same_tiles(pixels_of(half), old)
    with serving(1) as emulator:
        same_service(half, emulator)
        ended = run(emulator, half, "--accept", "updates")
        assert len(getpixels(emulator)) == 5
        assert ended.status == 0, ended
        assert any("what is stored stays" in notice for notice in report(half)["notices"])
        assert same_tiles(pixels_of(half), old) == first
        assert len(same_tiles(pixels_of(half), new)) == 5
        told = attributes(half)
        assert told["earlier_update_times"] == [was]
        assert told["update_time"] != was
        assert json.loads((half / ".downloader/mosaic.json").read_text())["kept"] == [was]
        # From now on that is what the mosaic is: no flag is needed, and nothing is fetched.
        again = run(emulator, half)
        assert again.status == 0, again
        assert len(getpixels(emulator)) == 5
        # It is also what the mosaic says when its own folder is lost.
        shutil.rmtree(half / ".downloader")
        assert run(emulator, half).status == 0
        assert json.loads((half / ".downloader/mosaic.json").read_text())["kept"] == [was]
        assert cli("verify", half).status == 0


def test_keep_in_the_job_file_does_the_same(versions, serving, half) -> None:
    with serving(1) as emulator:
        same_service(half, emulator)
        ended = run(emulator, half, source={"asset": ASSET, "on_update": "keep"})
    assert ended.status == 0, ended
    assert len(same_tiles(pixels_of(half), versions[1][1])) == 5


def test_refetch_fetches_everything_again(versions, serving, half) -> None:
    with serving(1) as emulator:
        same_service(half, emulator)
        ended = run(emulator, half, "--set", "source.on_update=refetch")
        assert ended.status == 0, ended
        assert len(getpixels(emulator)) == 9
        assert (pixels_of(half) == versions[1][1]).all()
        assert "earlier_update_times" not in attributes(half)
        assert json.loads((half / ".downloader/mosaic.json").read_text())["refetching"] is False
        assert run(emulator, half).status == 0
        assert len(getpixels(emulator)) == 9
    assert cli("verify", half).status == 0


@pytest.mark.parametrize(
    ("profile", "lost"),
    [
        ("sharded", None),
        ("sharded", ".downloader"),
        ("sharded", ".downloader/ledger"),
        ("plain", ".downloader"),
    ],
)
def test_no_pixel_of_before_is_taken_for_one_of_after_whatever_happens_in_between(
    versions, serving, tmp_path, profile, lost
) -> None:
    """Killed while it fetches again, and robbed of its own files: `coverage` calls stored only what is new."""
    (_, old), (_, new) = versions
    path = tmp_path / "m"
    mosaic = {"path": str(path), "profile": profile}
    with serving(0) as emulator:
        assert run(emulator, path, mosaic=mosaic).status == 0
    source = {"asset": ASSET, "on_update": "refetch"}
    with serving(1, latency_ms=150) as emulator:
        same_service(path, emulator)
        values = settings(emulator, path, source=source, mosaic=mosaic, limits={"concurrency": 1})
        job_file = write_job(tmp_path, values)
        with running("run", job_file) as process:
            assert wait_until(lambda: len(getpixels(emulator)) >= 4, process)
            process.send_signal(signal.SIGKILL)
            assert end(process).status == -9
        fetched = same_tiles(pixels_of(path), new)
        assert 0 < len(fetched) < 9
        # What is not new yet is old, and whole: each object is replaced at once.
        assert sorted(fetched + same_tiles(pixels_of(path), old)) == [
            (r, c) for r in range(3) for c in range(3)
        ]
        assert (coverage_of(path) == 1).sum() == 0
        looked = cli("verify", path, "--json").document
        assert looked["damaged"] == []
        assert looked["groups"][""]["stored"] <= len(fetched)
        if lost:
            shutil.rmtree(path / lost)
        # Without the flag: the change was taken, and its end is owed.
        ended = run(emulator, path, mosaic=mosaic)
        assert ended.status == 0, ended
        counts: dict[tuple, int] = {}
        for record in getpixels(emulator):
            if record["status"] == 200:
                counts[tuple(record["window"])] = counts.get(tuple(record["window"]), 0) + 1
        twice = sum(count - 1 for count in counts.values())
        # What the kill cut off may be asked for twice as well.
        assert (len(fetched) if lost else 0) <= twice <= (len(fetched) if lost else 0) + 2
    assert (pixels_of(path) == new).all()
    assert cli("verify", path).status == 0


def change_in_mid_run(emulator: EmulatorProcess, path: Path, *more: str, band: object = "B2"):
    values = job(emulator, path, region=window(0, 0, 1024, 1024), limits={"concurrency": 1})
    values["source"]["bands"] = [band]
    values["request"] = {"tiles": 1}
    with running("run", write_job(path.parent, values), *more) as process:
        wait_until(lambda: ledger_lines(path) > 2, process)
        emulator.control("configure", {"assets": {QUICKSTART: {"updateTime": "2031-05-06T07:08:09.5Z"}}})
        return end(process)


def test_a_change_in_mid_run_is_told_when_the_run_ends(emulator, tmp_path) -> None:
    emulator.control("configure", {"latency_ms": 100})
    ended = change_in_mid_run(emulator, tmp_path / "m")
    assert ended.status == 5, ended
    assert "changed while it was fetched" in ended.out + ended.err
    assert "2031-05-06T07:08:09.5Z" in ended.out + ended.err
    assert "--accept updates" in ended.out + ended.err
    # The tiles are stored all the same, under the time that the run was planned with.
    assert (coverage_of(tmp_path / "m") == 1).all()
    assert attributes(tmp_path / "m")["update_time"] != "2031-05-06T07:08:09.5Z"
    emulator.control("reset", {})
    emulator.control("configure", {"assets": {QUICKSTART: {"updateTime": "2031-05-06T07:08:09.5Z"}}})
    assert cli("run", tmp_path / "job.yaml").status == 5
    assert cli("run", tmp_path / "job.yaml", "--accept", "updates").status == 0
    assert getpixels(emulator) == []


def test_a_change_in_mid_run_that_is_kept_is_recorded(emulator, tmp_path) -> None:
    emulator.control("configure", {"latency_ms": 100})
    ended = change_in_mid_run(emulator, tmp_path / "m", "--accept", "updates")
    assert ended.status == 0, ended
    assert "kept as they are" in ended.err
    told = attributes(tmp_path / "m")
    assert told["update_time"] == "2031-05-06T07:08:09.5Z"
    assert len(told["earlier_update_times"]) == 1
    assert cli("run", tmp_path / "job.yaml").status == 0


def test_a_change_of_an_image_that_is_computed_is_told_as_well(emulator, tmp_path) -> None:
    emulator.control("configure", {"latency_ms": 100})
    ended = change_in_mid_run(emulator, tmp_path / "m", band={"twice": "2 * B2"})
    assert ended.status == 5, ended
    assert "changed while it was fetched" in ended.out + ended.err
    assert "--accept updates" in ended.out + ended.err


def test_an_image_that_cannot_be_looked_at_again_spoils_no_run(emulator, tmp_path) -> None:
    values = job(emulator, tmp_path / "m", region=window(0, 0, 512, 512))
    emulator.control("configure", {"faults": [{"fault": "permission-403", "on": "asset", "skip": 1}]})
    ended = cli("run", write_job(tmp_path, values), "--report", tmp_path / "report.json")
    assert ended.status == 0, ended
    (notice,) = report(tmp_path / "m")["notices"]
    assert "could not check whether source images changed" in notice


def test_blank_tiles_are_stored_counted_and_told(versions, serving, tmp_path) -> None:
    """Row 58."""
    with serving(0) as emulator:
        ended = run(emulator, tmp_path / "m")
    assert ended.status == 0, ended
    (notice,) = [n for n in report(tmp_path / "m")["notices"] if "all nodata or zero" in n]
    assert notice.startswith("1 tiles came back")
    assert (pixels_of(tmp_path / "m") == versions[0][1]).all()
    assert (coverage_of(tmp_path / "m") == 1).all()
